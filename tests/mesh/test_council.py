"""Real nodes whose owners decide together: who votes, who goes, and what becomes of a lost or restored board."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.core import crypto
from mesh.core.attestation import Attestation
from mesh.core.ballots import MAKE_OBSERVER, MAKE_VOTER, SHOW_OUT, Amendment, Proposal, Recovery
from mesh.core.entries import Admit, Remove, write_entry
from mesh.core.membership import OBSERVER
from mesh.council import MAX_ACCUSED, ROUTINES
from mesh.errors import NotAllowedError, NotVoterError, UnknownNodeError, UnknownProposalError, WrongPaperError
from mesh.identity import Identity
from tests.mesh.nodes import Running, paired, running


def raw_id(one: Running) -> bytes:
    """A node's id in bytes."""
    return crypto.parse_node_id(one.node.node_id)


def roles(one: Running) -> dict[str, str]:
    """Who belongs, as this node sees it."""
    view = one.node.community()
    return {} if view is None else {member.name: member.role for member in view.members}


async def see(who: list[Running], expected: dict[str, str]) -> None:
    """Wait until all of them see the same."""
    await asyncio.gather(*(one.until(lambda one=one: roles(one) == expected) for one in who))  # type: ignore[misc]


async def agreed(who: list[Running], proposal: bytes) -> None:
    """Have each of these owners agree, once the proposal has come."""
    for one in who:
        await one.until(lambda one=one: any(m.id == proposal for m in one.node.council.agenda().motions))  # type: ignore[misc]
        one.node.council.answer(proposal, agrees=True)


@contextlib.asynccontextmanager
async def three(folder: Path) -> AsyncIterator[list[Running]]:
    """Three nodes of which each votes."""
    async with running(folder, "Anna") as anna, running(folder, "Ben") as ben, running(folder, "Cleo") as cleo:
        for other in (ben, cleo):
            await paired(anna, other)
        await asyncio.gather(ben.linked_to(cleo), cleo.linked_to(ben))
        anna.node.council.propose(MAKE_VOTER, raw_id(ben))
        await see([anna, ben, cleo], {"Anna": "voter", "Ben": "voter", "Cleo": "observer"})
        await agreed([ben], anna.node.council.propose(MAKE_VOTER, raw_id(cleo)).id)
        await see([anna, ben, cleo], {"Anna": "voter", "Ben": "voter", "Cleo": "voter"})
        yield [anna, ben, cleo]


async def test_three_voters_decide_only_together(tmp_path: Path) -> None:
    """Who refuses keeps the others from it; who changes its mind does not."""
    async with three(tmp_path) as (anna, ben, cleo):
        agenda = anna.node.council.agenda()
        assert (agenda.membership.charter.quorum, agenda.is_voter, agenda.motions) == (3, True, [])
        proposal = anna.node.council.propose(MAKE_OBSERVER, raw_id(cleo), "she asked").id
        await agreed([ben], proposal)
        await cleo.until(lambda: any(len(one.agreed) == 2 for one in cleo.node.council.agenda().motions))
        cleo.node.council.answer(proposal, agrees=False)
        cleo.node.council.act()
        [motion] = cleo.node.council.agenda().motions
        assert (len(motion.agreed), cleo.node.council.agenda().answers, roles(cleo)["Cleo"]) == (
            2,
            {proposal: False},
            "voter",
        )
        cleo.node.council.answer(proposal, agrees=True)
        await see([anna, ben, cleo], {"Anna": "voter", "Ben": "voter", "Cleo": "observer"})
        with pytest.raises(UnknownProposalError):
            ben.node.council.answer(proposal, agrees=True)
        with pytest.raises(NotVoterError):
            cleo.node.council.answer(proposal, agrees=True)
        with pytest.raises(NotVoterError):
            cleo.node.council.propose(SHOW_OUT, raw_id(anna))
        with pytest.raises(UnknownNodeError):
            anna.node.council.propose("promote", raw_id(ben))
        with pytest.raises(NotAllowedError):
            cleo.node.belonging.forget(anna.node.node_id)


async def test_who_is_shown_out_by_decision_is_cut_off(tmp_path: Path) -> None:
    """The first step is a proposal, where one owner alone cannot do it."""
    async with three(tmp_path) as (anna, ben, cleo):
        assert not anna.node.belonging.forget(cleo.node.node_id)
        [motion] = anna.node.council.agenda().motions
        await agreed([ben, cleo], motion.id)  # she agrees to go
        await see([anna, ben], {"Anna": "voter", "Ben": "voter"})
        await cleo.until(lambda: cleo.node.community() is None)
        await anna.until(lambda: anna.state_of(cleo) is None)
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))


async def test_a_key_that_signed_twice_is_proposed_for_removal_and_its_fate_is_the_owners(tmp_path: Path) -> None:
    """By the boards of voters, once for each key and a few at a time; nobody is shown out before the owners agree."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        store, council = anna.node._store, anna.node.council
        assert store.ledger is not None
        keys = [Identity.open(tmp_path / f"key {number}") for number in range(MAX_ACCUSED)]
        for identity in keys:
            store.sign(Admit(identity.statement, "guest", OBSERVER))
        for identity in (ben.node._identity, *keys):
            place = store.ledger.next_place(identity.public)
            bodies = [Remove(bytes(32), "one"), Remove(bytes(32), "two")]
            store.take([write_entry(identity.seed, store.ledger.community, place, body) for body in bodies])

        def are_accused() -> bool:
            council.act()  # it does nothing before its neighbour has said what it signed before
            return len(council.agenda().motions) == MAX_ACCUSED

        await anna.until(are_accused)
        council.act()
        motions = council.agenda().motions
        accused = {one.entry.body.public for one in motions if isinstance(one.entry.body, Proposal)}
        assert len(motions) == len(accused) == MAX_ACCUSED
        assert accused < {identity.public for identity in (ben.node._identity, *keys)}
        assert len(council.agenda().membership.members) == 2 + MAX_ACCUSED
        refused, *rest = motions
        council.answer(refused.id, agrees=False)
        for motion in rest:
            council.answer(motion.id, agrees=True)
        # One place is free now for the one that was not named before; what was refused stands there still.
        [left] = {one.id for one in council.agenda().motions} - {one.id for one in motions}
        council.answer(left, agrees=True)
        assert [one.id for one in council.agenda().motions] == [refused.id]
        assert len(council.agenda().membership.members) == 2


async def test_a_voter_that_leaves_leaves_the_others_free(tmp_path: Path) -> None:
    """Their boards take that up by themselves, and two decide from then on."""
    async with three(tmp_path) as (anna, ben, cleo):
        await cleo.node.belonging.leave()
        await see([anna, ben], {"Anna": "voter", "Ben": "voter"})
        await anna.until(lambda: len(anna.node.council.agenda().membership.charter.seats) == 2)
        await agreed([ben], anna.node.council.amend(Amendment(0, 2, 3, "")).id)
        await ben.until(lambda: ben.node.council.agenda().membership.charter.rules.invitations == 3)
        assert [len(one.node.council.agenda().membership.charter.seats) for one in (anna, ben)] == [2, 2]


async def test_boards_decide_by_themselves_only_so_often(tmp_path: Path) -> None:
    """One voter could have the others sign on and on, of what nobody was asked for, until their feeds are full."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        council, store = anna.node.council, anna.node._store
        await anna.until(lambda: anna.node._exchange.knows_own_feed)
        papers = [anna.node._identity, *(Identity.open(tmp_path / f"paper {number}") for number in range(ROUTINES + 1))]

        def hand_on(number: int) -> None:
            """Have each paper name the next: the charter is to have the newest."""
            assert store.ledger is not None
            old, new = papers[number : number + 2]
            place = store.ledger.next_place(old.public)
            store.take([write_entry(old.seed, store.ledger.community, place, Recovery(new.public))])

        def decided() -> int:
            council.act()
            return len(council.agenda().membership.decided) - 1

        for number in range(ROUTINES):
            hand_on(number)
            assert decided() == number + 1
        hand_on(ROUTINES)
        assert decided() == ROUTINES
        assert council.agenda().membership.is_stale
        council.propose(MAKE_VOTER, raw_id(ben))  # what an owner agrees with is decided all the same
        await anna.until(lambda: decided() == ROUTINES + 1)


async def test_a_lost_voter_is_survived_by_its_paper(tmp_path: Path) -> None:
    """Of three the one that wrote it down is gone; another board takes its seat, and decides with the others."""
    async with three(tmp_path) as (anna, ben, cleo):
        words = cleo.node.council.make_paper()
        await cleo.until(lambda: not cleo.node.council.agenda().membership.is_stale)
        with pytest.raises(WrongPaperError):
            cleo.node.council.make_paper()
        for one in (anna, ben):
            await one.until(lambda one=one: one.node.council.agenda().membership.charter.seats[-1].recovery is not None)  # type: ignore[misc]
        with pytest.raises(NotVoterError):
            ben.node.council.recover(words)
        with pytest.raises(WrongPaperError):
            ben.node.council.recover("abandon " * 11 + "about")
        async with running(tmp_path, "Dara") as dara:
            await paired(anna, dara)
            holder = dara.node.council.recover(words.upper().replace(" ", "-"))
            assert (holder.name, holder.role) == ("Dara", "voter")
            await see([anna, ben, dara], {"Anna": "voter", "Ben": "voter", "Dara": "voter"})
            await cleo.until(lambda: cleo.node.community() is None)
            await dara.until(lambda: not dara.node.council.agenda().membership.is_stale)
            await asyncio.gather(dara.linked_to(anna), anna.linked_to(dara))
            await agreed([ben, dara], anna.node.council.amend(Amendment(0, 0, 3, "")).id)
            await dara.until(lambda: dara.node.council.agenda().membership.charter.rules.invitations == 3)


async def test_a_restored_backup_goes_on_without_forking_its_feed(tmp_path: Path) -> None:
    """What it signed after the backup comes back from a neighbour before it signs any ballot of its own accord."""
    async with running(tmp_path, "Anna") as anna:
        async with running(tmp_path, "Ben") as ben:
            await paired(anna, ben)
            anna.node.council.propose(MAKE_VOTER, raw_id(ben))
            await see([anna, ben], {"Anna": "voter", "Ben": "voter"})
        shutil.copytree(tmp_path / "Ben", tmp_path / "backup")
        async with running(tmp_path, "Ben") as ben:
            await asyncio.gather(ben.linked_to(anna), anna.linked_to(ben))
            for invitations in (4, 5):
                await agreed([ben], anna.node.council.amend(Amendment(0, 0, invitations, "")).id)
                await anna.until(
                    lambda: anna.node.council.agenda().membership.charter.rules.invitations == invitations  # noqa: B023  at once
                )
        proposal = anna.node.council.amend(Amendment(0, 0, 6, "")).id
        shutil.rmtree(tmp_path / "Ben")
        shutil.copytree(tmp_path / "backup", tmp_path / "Ben")
        async with running(tmp_path, "Ben") as ben:
            assert ben.node.council.agenda().membership.charter.rules.invitations == 16
            await agreed([ben], proposal)
            await anna.until(lambda: anna.node.council.agenda().membership.charter.rules.invitations == 6)
            assert not anna.node.council.agenda().membership.equivocations
            assert not ben.node.council.agenda().membership.equivocations


async def test_voters_sign_what_they_decided(tmp_path: Path) -> None:
    """By themselves, soon after; whoever signs another tree than the others is told of by everybody's doctor."""
    async with three(tmp_path) as (anna, ben, cleo):
        nodes = (anna, ben, cleo)
        for one in nodes:
            await one.until(lambda one=one: len(one.node._store.ledger.attestations()) == 3)  # type: ignore[misc]
        fixed = [await one.node.record.checkpoints.latest() for one in nodes]
        assert len({one.checkpoint for one in fixed}) == 1
        assert [(one.number, len(one.signed), len(one.disputed)) for one in fixed] == [(2, 3, 0)] * 3
        record = await cleo.node.record.export(fixed_only=True)
        assert (len(record.entries), len(record.note.signatures)) == (fixed[0].checkpoint.size, 3)
        liar, last = anna.node._store, fixed[0]
        lie = Attestation.of(last.decided, replace(last.checkpoint, root=bytes(32)), liar._identity.seed)
        anna.node.council._sign(lie)
        await ben.until(lambda: len(ben.node._store.ledger.attestations()) == 4)  # type: ignore[union-attr]
        assert (await ben.node.diagnose()).disputed == (("Anna", anna.node.node_id),)
        assert not (await ben.node.diagnose()).forked
