"""Signatures that anybody can check."""

from mesh.core import crypto
from mesh.publishing import verify

SEED = bytes(range(32))


def test_a_plain_signature_is_what_rfc_8032_says() -> None:
    """Its first test vector: no prefix, no community."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"  # noqa: E501
    assert (crypto.ed25519_public(seed).hex(), crypto.sign_plainly(seed, b"").hex()) == (public, signature)
    assert verify(bytes.fromhex(public), bytes.fromhex(signature), b"")


def test_what_was_not_signed_so_does_not_hold() -> None:
    """Another message, key or length: no, and no exception."""
    public, signature = crypto.ed25519_public(SEED), crypto.sign_plainly(SEED, b"a")
    assert verify(public, signature, b"a")
    assert not verify(public, signature, b"b")
    assert not verify(bytes(32), signature, b"a")
    assert not verify(public, signature[:-1], b"a")
    assert not verify(b"", b"", b"a")
