"""The record as the device reads, exports and signs it: what one node signs, the other has, and anybody can check."""

import contextlib
from pathlib import Path

import pytest

from mesh.community import CommunityStore
from mesh.core.attestation import Attestation
from mesh.core.ballots import MAKE_VOTER, Proposal
from mesh.core.contributions import Amount, Contribution
from mesh.core.entries import PublishModel, RetireModel, write_entry
from mesh.core.ledger import Ledger
from mesh.core.record import RecordFile
from mesh.core.record_check import CheckedRecord, RecordCheck
from mesh.core.standing import Standing
from mesh.errors import (
    BoardChangedError,
    CryptoError,
    FeedFullError,
    KeyInDisputeError,
    NoCommunityError,
    NothingSignedError,
)
from mesh.record import Record
from tests.mesh.core.council import agree
from tests.mesh.core.world import Person
from tests.mesh.nodes import paired, running
from tests.mesh.test_community import admit, identity_of, store_of

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")
MODEL = PublishModel(b"\1" * 32, b"\2" * 32, "tiny", "MIT")


async def test_what_one_signs_the_other_reads(tmp_path: Path) -> None:
    """It counts there too, and both are told that something has changed."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        changes = list[str]()
        ben.node.on_change(lambda: changes.append("Ben"))
        entry = ben.node.record.sign(MODEL)
        assert changes == ["Ben"]
        await anna.until(lambda: entry in anna.node.record.view().entries)
        view = anna.node.record.view()
        assert Standing(view.entries, view.membership).counts(entry)
        assert view == ben.node.record.view()


async def test_without_a_community_there_is_no_record(tmp_path: Path) -> None:
    """Nothing to read, and nothing is signed."""
    async with running(tmp_path, "Anna") as anna:
        with pytest.raises(NoCommunityError):
            anna.node.record.view()
        with pytest.raises(NoCommunityError):
            anna.node.record.sign(MODEL)


async def test_both_ends_put_a_contribution_on_the_record(tmp_path: Path) -> None:
    """The giver signs for a receiver of its community, and the receiver the entry; without one nothing is signed."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        amount = Amount(1, 300, 0)
        with pytest.raises(NoCommunityError):
            anna.node.record.counter_sign(ben.node.record.own, 0, amount)
        await paired(anna, ben)
        signature = anna.node.record.counter_sign(ben.node.record.own, 0, amount)
        entry = ben.node.record.sign(Contribution(anna.node.record.own, 0, amount, signature))
        await anna.until(lambda: entry in anna.node.record.view().entries)
        with pytest.raises(CryptoError):
            ben.node.record.sign(Contribution(anna.node.record.own, 1, amount, signature))
        assert ben.node.record.view() == anna.node.record.view()


async def test_who_was_removed_can_still_read(tmp_path: Path) -> None:
    """Why, for example; but signs no more."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        anna.node.belonging.forget(ben.node.node_id)
        await ben.until(lambda: ben.node.community() is None)
        assert len(ben.node.record.view().entries) == 3
        with pytest.raises(NoCommunityError):
            ben.node.record.sign(RetireModel(b"\1" * 32, ""))


async def test_a_feed_holds_so_much(tmp_path: Path) -> None:
    """Then nothing more is signed into it but leaving; what was signed stands."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        signed = 0
        with contextlib.suppress(FeedFullError):
            while signed < 100:
                ben.node.record.sign(MODEL)
                signed += 1
        with pytest.raises(FeedFullError):
            ben.node.record.sign(MODEL)
        assert len(ben.node.record.view().entries) == 2 + signed
        assert 40 < signed < 80
        await ben.node.belonging.leave()


async def test_a_key_in_dispute_signs_nothing(tmp_path: Path) -> None:
    """It would not count."""
    async with running(tmp_path, "Anna") as anna:
        await anna.node.open_offer()
        store = anna.node._store
        assert store.ledger is not None
        place = store.ledger.next_place(store._identity.public)
        forks = [RetireModel(bytes([number]) * 32, "") for number in range(2)]
        store.take([write_entry(store._identity.seed, store.ledger.community, place, body) for body in forks])
        with pytest.raises(KeyInDisputeError):
            anna.node.record.sign(MODEL)


def record_of(person: Person, store: CommunityStore) -> Record:
    """A record that nobody else hears of."""
    return Record(identity_of(person), store, spread=lambda _: None, on_change=lambda: None)


def checked(record: RecordFile) -> CheckedRecord:
    """Read it as a stranger does."""
    check = RecordCheck()
    for piece in record.pieces():
        check.receive(piece)
    return check.finish()


async def test_members_with_the_same_entries_sign_the_same_note(tmp_path: Path) -> None:
    """So that what either of them signed counts for the other's file too."""
    with store_of(ANNA, tmp_path) as anna, store_of(BEN, tmp_path) as ben:
        anna.found("Harbour", "Anna")
        admit(anna, BEN)
        assert anna.ledger is not None
        ben.enter(Ledger.of(anna.ledger.entries), [])
        ours = await record_of(ANNA, anna).export()
        theirs = await record_of(BEN, ben).export()
        assert ours.note.checkpoint == theirs.note.checkpoint
        both = RecordFile(ours.entries, ours.note.with_signatures(theirs.note.signatures))
        found = checked(both)
        assert (len(found.history), set(found.signers)) == (2, {ANNA.public, BEN.public})


async def test_what_was_decided_on_stays_where_it_is(tmp_path: Path) -> None:
    """After a decision new entries only follow, and what it fixed can be exported alone, with who signed it."""
    with store_of(ANNA, tmp_path) as store:
        store.found("Harbour", "Anna")
        admit(store, BEN)
        ledger, record = store.ledger, record_of(ANNA, store)
        assert ledger is not None
        proposal = store.sign(Proposal(MAKE_VOTER, BEN.public, ""))
        agree(ledger, [ANNA], proposal)
        last = await record.checkpoints.latest()
        store.sign(Attestation.of(last.decided, last.checkpoint, ANNA.seed))
        for person in (CLEO, BEN, CLEO):
            admit(store, person)
        before, after = await record.export(fixed_only=True), await record.export()
        assert [*before.entries] == [*ledger.entries[:2], proposal] == [*after.entries[:3]]
        assert set(after.entries) == {*ledger.entries}
        assert checked(before).signers == (ANNA.public,)
        last = await record.checkpoints.latest()
        assert (last.number, {*last.signed}, {*last.disputed}) == (1, {ANNA.public}, set[bytes]())


async def test_who_has_no_record_or_may_not_sign_exports_none(tmp_path: Path) -> None:
    """Alone, or on another board than the identity's."""
    with store_of(ANNA, tmp_path) as store:
        record = record_of(ANNA, store)
        with pytest.raises(NoCommunityError):
            await record.export()
        store.found("Harbour", "Anna")
        store.may_sign = False
        with pytest.raises(BoardChangedError):
            await record.export()


async def test_only_who_is_named_in_what_was_fixed_signs_it(tmp_path: Path) -> None:
    """A member let in since adds no signature that nobody could check; where there is none at all, that is said."""
    with store_of(ANNA, tmp_path) as anna, store_of(BEN, tmp_path) as ben:
        anna.found("Harbour", "Anna")
        admit(anna, BEN)
        assert anna.ledger is not None
        ben.enter(Ledger.of(anna.ledger.entries), [])
        assert checked(await record_of(ANNA, anna).export(fixed_only=True)).signers == (ANNA.public,)
        with pytest.raises(NothingSignedError):
            await record_of(BEN, ben).export(fixed_only=True)
