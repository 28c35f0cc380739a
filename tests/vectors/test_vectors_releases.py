"""Releases give the committed bytes, are refused where the file says so, and are checked without our code."""

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mesh.publishing import verify
from models.core.card import Card
from models.core.release import Release
from models.errors import InvalidReleaseError
from tests.vectors.reading import Case, cases, data_of, invalid, title


@pytest.mark.parametrize("case", cases("releases"), ids=title)
def test_a_release_is_made_and_read(case: Case) -> None:
    """The same bytes from its parts, and the parts from the bytes."""
    release = Release.parse(data_of(case), verify=verify)
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(case["seed"]))
    again = Release.make(release.manifest, dict(release.trees), release.card, release.publisher, sign=key.sign)
    assert again.to_bytes() == data_of(case)
    assert (release.digest, release.publisher.hex()) == (case["manifest_digest"], case["public"])
    assert (release.message().hex(), release.signature.hex()) == (case["message"], case["signature"])
    assert release.card == Card.from_fields(case["card"])


@pytest.mark.parametrize("case", cases("releases"), ids=title)
def test_a_third_party_checks_a_release(case: Case) -> None:
    """As the document tells them, with another library and nothing of ours."""
    fields = json.loads(data_of(case))
    signature = bytes.fromhex(fields.pop("signature"))
    message = b"hearthmesh release/1\n" + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    assert message.hex() == case["message"]
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(fields["publisher"])).verify(signature, message)
    manifest = json.dumps(fields["manifest"], sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(manifest).hexdigest() == case["manifest_digest"]


@pytest.mark.parametrize("case", invalid("releases"), ids=title)
def test_what_is_no_release(case: Case) -> None:
    """Is refused, however well it is signed."""
    with pytest.raises(InvalidReleaseError):
        Release.parse(data_of(case), verify=verify)
