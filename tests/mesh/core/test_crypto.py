"""The primitives do what their names say, and refuse what does not hold."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import crypto
from mesh.errors import CryptoError

KEY = bytes(range(32))


@given(st.binary(max_size=100), st.binary(max_size=100), st.integers(0, 2**64 - 1))
def test_a_seal_opens(plaintext: bytes, associated: bytes, counter: int) -> None:
    """What is sealed opens under the same key, counter and associated data."""
    sealed = crypto.seal(KEY, counter, associated, plaintext)
    assert plaintext == crypto.unseal(KEY, counter, associated, sealed)


def test_a_seal_holds_against_every_change() -> None:
    """Another counter, another associated text, or a cut does not open."""
    sealed = crypto.seal(KEY, 1, b"ad", b"hearth")
    assert len(sealed) == 6 + crypto.TAG_BYTES
    with pytest.raises(CryptoError):
        crypto.unseal(KEY, 2, b"ad", sealed)
    with pytest.raises(CryptoError):
        crypto.unseal(KEY, 1, b"da", sealed)
    with pytest.raises(CryptoError):
        crypto.unseal(KEY, 1, b"ad", sealed[:10])


def test_signatures_count_only_where_they_belong() -> None:
    """Another kind, community, text or key does not verify."""
    public, community = crypto.ed25519_public(KEY), bytes(32)
    signature = crypto.sign(KEY, "entry", community, b"text")
    crypto.verify(public, signature, "entry", community, b"text")
    for arguments in (
        (public, signature, "advert", community, b"text"),
        (public, signature, "entry", b"\1" * 32, b"text"),
        (public, signature, "entry", community, b"tex"),
        (crypto.ed25519_public(bytes(32)), signature, "entry", community, b"text"),
        (public, signature[:-1], "entry", community, b"text"),
        (public[:-1], signature, "entry", community, b"text"),
    ):
        with pytest.raises(CryptoError):
            crypto.verify(*arguments)


def test_x25519_agrees_and_refuses_low_order() -> None:
    """Both ends get one secret; an all-zero point is refused."""
    one, two = b"\1" * 32, b"\2" * 32
    assert crypto.x25519(one, crypto.x25519_public(two)) == crypto.x25519(two, crypto.x25519_public(one))
    with pytest.raises(CryptoError):
        crypto.x25519(one, bytes(32))


@given(st.binary(min_size=32, max_size=32))
def test_node_ids_are_written_one_way(raw: bytes) -> None:
    """Fifty-two characters, and back."""
    text = crypto.node_id(raw)
    assert (52, raw) == (len(text), crypto.parse_node_id(text))


def test_the_seal_is_rfc_8439() -> None:
    """The test vector of appendix A.5: its nonce is four zero bytes, then 1..8 as a little-endian counter."""
    key = bytes.fromhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")
    sealed = bytes.fromhex("64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2")
    counter = int.from_bytes(bytes(range(1, 9)), "little")
    associated = bytes.fromhex("f33388860000000000004e91")
    assert crypto.seal(key, counter, associated, b"Internet-Drafts are draft documents")[:32] == sealed


@pytest.mark.parametrize("text", ["", "abc", "A" * 52, "a" * 51, "a" * 53, "1" * 52, "a" * 51 + "b", "ü" * 52])
def test_other_texts_are_no_node_ids(text: str) -> None:
    """Upper case, wrong length, wrong alphabet and loose last bits are refused."""
    with pytest.raises(CryptoError):
        crypto.parse_node_id(text)


def test_an_id_names_a_key() -> None:
    """The raw id is BLAKE2b-256 of the public key."""
    assert hashlib.blake2b(KEY, digest_size=32).digest() == crypto.raw_id(KEY)


def test_secrets_become_sixty_four_bytes() -> None:
    """Words are stretched, random secrets expanded; both depend on every character."""
    assert len(crypto.stretch("one two")) == 64
    assert crypto.stretch("one two") != crypto.stretch("one too")
    assert len(crypto.expand(b"x" * 16)) == 64
    assert crypto.keyed_digest(KEY, b"a") != crypto.keyed_digest(KEY, b"b")
