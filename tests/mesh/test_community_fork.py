"""Real nodes that begin their community anew, because too many boards are lost to decide anything."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from mesh.community import CommunityStore
from mesh.community_fork import CommunityFork
from mesh.core.ballots import MAKE_VOTER
from mesh.core.community_fork import Fork, nonce_of
from mesh.core.entries import Admit, Entry, Genesis, Place, write_entry, write_genesis
from mesh.core.membership import OBSERVER
from mesh.core.record_check import RecordCheck
from mesh.errors import NoCommunityError, UnknownNodeError, UnknownProposalError
from mesh.identity import Identity
from mesh.record import Record
from tests.mesh.core.world import Person
from tests.mesh.nodes import Running, running
from tests.mesh.test_council import raw_id, roles, see, three


async def test_two_go_on_without_a_lost_voter(tmp_path: Path) -> None:
    """Of three voters one is dead and has no paper; one begins anew, the other goes along, and they decide again."""
    async with three(tmp_path) as (anna, ben, cleo):
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))  # who is not in reach hears nothing of it
        lost = raw_id(cleo)
        old = community(anna)
        anna_knew = anna.node.record.view().entries
        kept = await anna.node.fork.begin([lost])
        assert roles(anna) == {"Anna": "voter", "Ben": "observer"}
        assert community(anna) != old
        await ben.until(lambda: bool(ben.node.fork.offered()))
        [offer] = ben.node.fork.offered()
        assert offer.members == ("Anna", "Ben")
        with pytest.raises(UnknownProposalError):
            await ben.node.fork.choose(bytes(32))
        await ben.node.fork.choose(offer.id)
        await see([anna, ben], {"Anna": "voter", "Ben": "observer"})
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        anna.node.council.propose(MAKE_VOTER, raw_id(ben))
        await see([anna, ben], {"Anna": "voter", "Ben": "voter"})
        assert community(ben) == community(anna)
        assert not cleo.node.fork.offered()  # it was not asked to come
        check = RecordCheck()
        check.receive(kept.read_bytes())
        assert {one.id for one in check.finish().history} >= {one.id for one in anna_knew}


async def test_nobody_begins_without_a_community_or_without_strangers(tmp_path: Path) -> None:
    """Nothing is changed then."""
    async with running(tmp_path, "Anna") as anna:
        with pytest.raises(NoCommunityError):
            await anna.node.fork.begin([])
        with pytest.raises(NoCommunityError):
            await anna.node.fork.choose(bytes(32))
        await anna.node.open_offer()
        with pytest.raises(UnknownNodeError):
            await anna.node.fork.begin([bytes(32)])
        assert roles(anna) == {"Anna": "voter"}


GOOD, WRONG = "good", ("nonce", "author", "order", "signature", "nothing", "without us")


@pytest.mark.parametrize("kind", [GOOD, *WRONG])
def test_only_a_fork_that_holds_is_offered(tmp_path: Path, kind: str) -> None:
    """Not one with a foreign nonce or genesis, with a missing or an altered entry, or without this node."""
    own, mallory, eve = Identity.make(), Person("Mallory"), Person("Eve")
    with contextlib.closing(CommunityStore(tmp_path / "community.db", own)) as store:
        store.found("Harbour", "Anna")
        store.sign(Admit(mallory.statement, "Mallory", OBSERVER))
        ledger = store.ledger
        assert ledger is not None
        place = ledger.next_place(mallory.public)
        nonce = bytes(16) if kind == "nonce" else nonce_of(ledger.community, place.deps)
        pen = eve if kind == "author" else mallory
        genesis = write_genesis(pen.seed, Genesis("Harbour", pen.statement, "Mallory", nonce, 8))
        admit = write_entry(pen.seed, genesis.id, Place(1, genesis.id, ()), Admit(own.statement, "Anna", OBSERVER))
        raws = {
            "order": (admit.raw, genesis.raw),
            "signature": (genesis.raw, admit.raw[:-1] + bytes([admit.raw[-1] ^ 1])),
            "nothing": (),
            "without us": (genesis.raw,),
        }.get(kind, (genesis.raw, admit.raw))
        store.take([write_entry(mallory.seed, ledger.community, place, Fork(raws))])
        record = Record(own, store, spread=lambda _: None, on_change=lambda: None)
        anew = CommunityFork(
            own, "Anna", store, record, tmp_path, spread=lambda _: None, farewell=_at_once, on_ledger=lambda: None
        )
        assert [offer.members for offer in anew.offered()] == ([("Mallory", "Anna")] if kind == GOOD else [])


async def _at_once(_reason: str, *_before: Entry) -> None:
    """There are no neighbours to wait for."""


def community(one: Running) -> str:
    """The id of a node's community."""
    view = one.node.community()
    assert view is not None
    return view.id
