"""A release is what its publisher signed, to the byte, or it is nothing."""

import json
from typing import Any

import nacl.bindings as sodium
import nacl.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core import canonical_json
from models.core.card import Card, Parent
from models.core.manifest import Blob, Manifest
from models.core.release import MAX_RELEASE_BYTES, PREFIX, Release
from models.errors import InvalidReleaseError

WEIGHTS, TEMPLATE = Blob("gguf", "a" * 64, 98), Blob("template", "b" * 64, 7)
MANIFEST = Manifest.of([WEIGHTS, TEMPLATE])
TREES = {"a" * 64: "c" * 64, "b" * 64: "d" * 64}
CARD = Card(name="Cicero", licence="MIT", parents=(Parent(name="Catilina", relation="distilled"),))
PUBLIC, SECRET = sodium.crypto_sign_seed_keypair(bytes(32))
OTHER_PUBLIC, OTHER_SECRET = sodium.crypto_sign_seed_keypair(bytes([1]) * 32)


def sign(message: bytes, secret: bytes = SECRET) -> bytes:
    """Sign as a publisher does."""
    return bytes(sodium.crypto_sign(message, secret)[:64])


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Check a signature as any Ed25519 library does."""
    try:
        sodium.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def make(manifest: Manifest = MANIFEST, card: Card = CARD, **trees: str) -> Release:
    """Sign what an honest publisher signs."""
    return Release.make(manifest, trees or TREES, card, PUBLIC, sign=sign)


GOOD = make()
FIELDS: dict[str, Any] = json.loads(GOOD.to_bytes())


def forged(**changed: object) -> bytes:
    """A release with other fields, signed by its publisher all the same: a hostile publisher's."""
    fields = {name: value for name, value in (FIELDS | changed).items() if name != "signature"}
    signature = sign(PREFIX + canonical_json.dumps(fields))
    return canonical_json.dumps(fields | {"signature": signature.hex()})


def refused(data: bytes) -> str:
    """Why a release was refused."""
    with pytest.raises(InvalidReleaseError) as caught:
        Release.parse(data, verify=verify)
    return str(caught.value)


def test_a_release_survives_its_bytes() -> None:
    """What was signed comes out again, and the signature holds by a library that knows nothing of us."""
    release = Release.parse(GOOD.to_bytes(), verify=verify)
    assert release == GOOD
    assert GOOD.to_bytes() == forged()
    assert release.digest == MANIFEST.digest
    assert release.tree("b" * 64) == "d" * 64
    assert release.card == CARD
    assert verify(PUBLIC, bytes.fromhex(FIELDS["signature"]), release.message())


def test_what_is_signed_is_the_object_without_its_signature() -> None:
    """The documented message, made by hand."""
    del (fields := dict(FIELDS))["signature"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    assert b"hearthmesh release/1\n" + text.encode() == GOOD.message()


@given(st.data())
def test_no_byte_may_change(data: st.DataObject) -> None:
    """A release with one other byte anywhere is refused."""
    release = bytearray(GOOD.to_bytes())
    at = data.draw(st.integers(0, len(release) - 1))
    release[at] ^= data.draw(st.integers(1, 255))
    refused(bytes(release))


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    """Whatever comes, the answer is an error of ours."""
    refused(noise)
    refused(b'{"format":"hearthmesh-release/1",' + noise)


def test_nobody_signed_it() -> None:
    """It is said that the signature is missing, not merely that the release is wrong."""
    del (fields := dict(FIELDS))["signature"]
    assert "nobody signed" in refused(canonical_json.dumps(fields))
    assert "not hearthmesh-release/1" in refused(canonical_json.dumps(fields | {"format": "hearthmesh-release/2"}))


def test_somebody_else_signed_it() -> None:
    """The publisher named inside has to be who signed."""
    assert "not its publisher's" in refused(canonical_json.dumps(FIELDS | {"publisher": OTHER_PUBLIC.hex()}))
    other = sign(GOOD.message(), OTHER_SECRET).hex()
    assert "not its publisher's" in refused(canonical_json.dumps(FIELDS | {"signature": other}))


BLOB = {"role": "gguf", "sha256": "a" * 64, "size": 98}


def manifest_of(*blobs: object, **more: object) -> dict[str, object]:
    """A manifest's object, whatever is in it."""
    return {"format": "hearthmesh-model/1", "blobs": list(blobs), **more}


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "hearthmesh-release/2"},
        {"format": 1},
        {"more": 1},
        {"manifest": manifest_of()},
        {"manifest": manifest_of(BLOB, BLOB)},
        {"manifest": manifest_of(*[BLOB] * 400)},
        {"manifest": manifest_of(BLOB, path="../../etc/passwd")},
        {"manifest": manifest_of(BLOB | {"sha256": "../" * 21 + "a"})},
        {"manifest": manifest_of(BLOB | {"sha256": "A" * 64})},
        {"manifest": manifest_of(BLOB | {"role": "/etc/passwd"})},
        {"manifest": manifest_of(BLOB | {"size": -1})},
        {"manifest": manifest_of(BLOB | {"size": 10**400})},
        {"manifest": manifest_of(BLOB | {"size": True})},
        {"manifest": manifest_of(BLOB | {"size": 98.0})},
        {"manifest": []},
        {"trees": {}},
        {"trees": {"a" * 64: "c" * 64}},
        {"trees": TREES | {"e" * 64: "e" * 64}},
        {"trees": TREES | {"b" * 64: "d" * 63}},
        {"trees": TREES | {"b" * 64: None}},
        {"trees": {str(n): "c" * 64 for n in range(700)}},
        {"card": {}},
        {"card": FIELDS["card"] | {"more": 1}},
        {"card": FIELDS["card"] | {"name": "\ud800"}},
        {"card": FIELDS["card"] | {"name": "a\x1b[2J"}},
        {"card": FIELDS["card"] | {"parameters": 10**4000}},
        {"publisher": ""},
        {"publisher": PUBLIC.hex().upper()},
        {"publisher": PUBLIC.hex()[:-2]},
        {"publisher": "x" * 64},
        {"publisher": None},
        {"\ud800": 1},
    ],
)
def test_a_hostile_publisher_is_refused(changed: dict[str, object]) -> None:
    """A good signature makes nothing good."""
    refused(forged(**changed))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[" * 60_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"1" * 60_000,
        b" " * (MAX_RELEASE_BYTES + 1),
        GOOD.to_bytes() + b"\n",
        json.dumps(FIELDS).encode(),
        GOOD.to_bytes().replace(b'"format":"hearthmesh-release/1"', b'"format":"hearthmesh-release/1",' * 2)[:-1],
        GOOD.to_bytes().replace(b'{"card":', b'{"card":{},"card":'),
        GOOD.to_bytes().decode().encode("utf-16"),
        canonical_json.dumps(FIELDS | {"signature": FIELDS["signature"].upper()}),
        canonical_json.dumps(FIELDS | {"signature": FIELDS["signature"][:-2]}),
        canonical_json.dumps(FIELDS | {"signature": ""}),
        canonical_json.dumps(FIELDS | {"signature": 1}),
    ],
)
def test_other_writings_are_refused(data: bytes) -> None:
    """The same content in another form is another thing: one model, one writing."""
    refused(data)


def test_only_a_whole_release_is_signed() -> None:
    """A publisher cannot sign by mistake what everybody would refuse."""
    with pytest.raises(InvalidReleaseError):
        Release.make(MANIFEST, {"a" * 64: "c" * 64}, CARD, PUBLIC, sign=sign)
    with pytest.raises(InvalidReleaseError):
        Release.make(MANIFEST, TREES, CARD, PUBLIC[:-1], sign=sign)
    with pytest.raises(InvalidReleaseError):
        Release.make(MANIFEST, TREES, CARD, PUBLIC, sign=lambda _: b"")


def test_the_greatest_card_fits() -> None:
    """What a card may hold at most, a release can carry."""
    card = Card(name="n", licence_text="\U0001f600" * 3900)
    release = make(card=card)
    assert len(release.to_bytes()) < MAX_RELEASE_BYTES
    assert Release.parse(release.to_bytes(), verify=verify) == release
