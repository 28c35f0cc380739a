"""A manifest's bytes are canonical, its digest is theirs, and nothing else parses."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core import canonical_json
from models.core.manifest import MAX_MANIFEST_BYTES, Blob, Manifest
from models.errors import InvalidManifestError

WEIGHTS = Blob("gguf", "a" * 64, 98)
TEMPLATE = Blob("template", "b" * 64, 7)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(digests, digests, st.integers(0, 2**43), st.booleans())
def test_a_manifest_survives_its_bytes(weights: str, template: str, size: int, with_template: bool) -> None:  # noqa: FBT001  drawn by hypothesis
    """Whatever order the blobs are given in, the same bytes and digest come out."""
    blobs = [Blob("gguf", weights, size), *([Blob("template", template, size)] if with_template else [])]
    manifest = Manifest.of(reversed(blobs))
    assert Manifest.parse(manifest.to_bytes()) == manifest == Manifest.of(blobs)
    assert manifest.digest == hashlib.sha256(manifest.to_bytes()).hexdigest()


def test_the_format_is_fixed() -> None:
    """Digests are compared between nodes of different versions: this line may never change."""
    expected = (
        b'{"blobs":[{"role":"gguf","sha256":"' + b"a" * 64 + b'","size":98},'
        b'{"role":"template","sha256":"' + b"b" * 64 + b'","size":7}],"format":"hearthmesh-model/1"}'
    )
    manifest = Manifest.of([TEMPLATE, WEIGHTS])
    assert expected == manifest.to_bytes()
    assert manifest.size_bytes == 105
    assert manifest.gguf == WEIGHTS
    assert manifest.blob("template") == TEMPLATE
    assert Manifest.of([WEIGHTS]).blob("template") is None


GOOD = json.loads(Manifest.of([WEIGHTS]).to_bytes())
BLOB = GOOD["blobs"][0]
CHANGES: tuple[dict[str, object], ...] = (
    {"format": "hearthmesh-model/2"},
    {"more": 1},
    {"blobs": []},
    {"blobs": [1]},
    {"blobs": [BLOB, BLOB]},
    {"blobs": [BLOB | {"role": "code"}]},
    {"blobs": [BLOB | {"role": "template"}]},
    {"blobs": [BLOB | {"sha256": "../etc/passwd"}]},
    {"blobs": [BLOB | {"sha256": "/" + "a" * 63}]},
    {"blobs": [BLOB | {"sha256": "A" * 64}]},
    {"blobs": [BLOB | {"size": -1}]},
    {"blobs": [BLOB | {"size": True}]},
    {"blobs": [BLOB | {"size": 2**80}]},
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 4000,
        b"null",
        b" " * (MAX_MANIFEST_BYTES + 1),
        b'{"blobs":[' + b",".join([b"{}"] * 1_000_000) + b'],"format":"hearthmesh-model/1"}',
        json.dumps(GOOD).encode(),  # with spaces
        *(canonical_json.dumps(GOOD | changed) for changed in CHANGES),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    """A neighbour's manifest is canonical or it is nothing."""
    with pytest.raises(InvalidManifestError):
        Manifest.parse(data)
