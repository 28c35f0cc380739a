"""What a node publishes is signed so that anybody can check it, and only members are believed."""

from pathlib import Path

import pytest
from nacl.signing import VerifyKey

from mesh.core import crypto
from mesh.errors import BoardChangedError
from mesh.publishing import RELEASE, verify
from models.core.release import PREFIX
from tests.mesh.nodes import paired, running

MESSAGE = RELEASE + b"{}"
SEED = bytes(range(32))


async def test_anybody_can_check_what_a_node_publishes(tmp_path: Path) -> None:
    """By RFC 8032 alone; another text or key does not hold."""
    async with running(tmp_path, "Anna") as anna:
        publisher = anna.node.publisher
        signature = publisher.sign(MESSAGE)
        assert VerifyKey(publisher.public).verify(MESSAGE, signature) == MESSAGE
        assert verify(publisher.public, signature, MESSAGE)
        assert not verify(publisher.public, signature, MESSAGE + b" ")
        assert not verify(publisher.public, signature[:-1], MESSAGE)
        assert not verify(bytes(32), signature, MESSAGE)


def test_what_is_signed_begins_as_releases_do() -> None:
    """The models write them, the mesh signs them, and neither knows the other."""
    assert RELEASE == PREFIX


async def test_nothing_else_is_signed_so(tmp_path: Path) -> None:
    """Neither what may be an entry of the ledger, nor anything on another board than the identity's."""
    async with running(tmp_path, "Anna") as anna:
        with pytest.raises(ValueError, match="only releases"):
            anna.node.publisher.sign(b"hearthmesh/entry/1\0")
        anna.node._store.may_sign = False
        with pytest.raises(BoardChangedError):
            anna.node.publisher.sign(MESSAGE)


async def test_members_are_believed(tmp_path: Path) -> None:
    """And the node itself; strangers and blocked nodes are not."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        ours, theirs = anna.node.publisher, ben.node.publisher
        assert (ours.believes(ours.public), ours.believes(theirs.public)) == (True, False)
        await paired(anna, ben)
        assert ours.believes(theirs.public)
        anna.node.belonging.block(ben.node.node_id)
        assert not ours.believes(theirs.public)


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
