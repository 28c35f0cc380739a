"""What a node exports is all it holds, as anybody can check it."""

from pathlib import Path

import pytest

from mesh.core.record import Record
from mesh.core.record_check import CheckedRecord, RecordCheck
from mesh.errors import BoardChangedError, NoCommunityError
from mesh.recording import Recorder
from tests.mesh.core.world import Person
from tests.mesh.test_community import admit, identity_of, store_of

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")


def checked(record: Record) -> CheckedRecord:
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
        ben.enter(anna.ledger.entries, [])
        ours = await Recorder(identity_of(ANNA), anna).record()
        theirs = await Recorder(identity_of(BEN), ben).record()
        assert ours.note.checkpoint == theirs.note.checkpoint
        both = Record(ours.entries, ours.note.with_signatures(theirs.note.signatures))
        found = checked(both)
        assert (len(found.history), set(found.signers)) == (2, {ANNA.public, BEN.public})


async def test_what_was_decided_on_stays_where_it_is(tmp_path: Path) -> None:
    """After a frontier new entries only follow."""
    with store_of(ANNA, tmp_path) as store:
        store.found("Harbour", "Anna")
        admit(store, BEN)
        assert store.ledger is not None
        frontier = store.ledger.heads()
        before = await Recorder(identity_of(ANNA), store).record()
        for person in (CLEO, BEN, CLEO):
            admit(store, person)
        after = await Recorder(identity_of(ANNA), store).record([frontier])
        assert after.entries[:2] == before.entries
        assert len(checked(after).history) == 5


async def test_who_has_no_record_or_may_not_sign_exports_none(tmp_path: Path) -> None:
    """Alone, or on another board than the identity's."""
    with store_of(ANNA, tmp_path) as store:
        recorder = Recorder(identity_of(ANNA), store)
        with pytest.raises(NoCommunityError):
            await recorder.record()
        store.found("Harbour", "Anna")
        store.may_sign = False
        with pytest.raises(BoardChangedError):
            await recorder.record()
