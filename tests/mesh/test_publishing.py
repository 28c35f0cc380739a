"""What a node publishes is signed so that anybody can check it, and only members are believed."""

from pathlib import Path

import pytest
from nacl.signing import VerifyKey

from mesh.errors import BoardChangedError
from mesh.publishing import RELEASE, verify
from tests.mesh.nodes import paired, running

MESSAGE = RELEASE + b"{}"


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
        await anna.node.block(ben.node.node_id)
        assert not ours.believes(theirs.public)
