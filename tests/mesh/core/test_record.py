"""An exported record holds as it is, and in no other way: by our check, and by one that shares no line with it."""

import importlib.util
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core import merkle, notes
from mesh.core.entries import Entry, Place, Remove, write_entry
from mesh.core.ledger import Ledger
from mesh.core.notes import Checkpoint, Note
from mesh.core.record import RecordFile, leaf_of, snapshot_of
from mesh.core.record_check import CheckedRecord, RecordCheck
from mesh.core.tree_order import in_order
from mesh.errors import RecordRefusedError
from tests.mesh.core.test_ledger_order import ACTIONS, lived
from tests.mesh.core.world import Person, copy_of, of_the_future

ROOT = Path(__file__).resolve().parents[3]
ANNA, BEN, CLEO, DARA = (Person(name) for name in ("Anna", "Ben", "Cleo", "Dara"))
Verdict = Callable[[bytes], str]


def standalone() -> ModuleType:
    """The verifier of docs/verifier, loaded as the program it is."""
    spec = importlib.util.spec_from_file_location("verify_record", ROOT / "docs/verifier/verify_record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


STANDALONE = standalone()


def checked(data: bytes, *, piece: int = 1000) -> CheckedRecord:
    """Have our check read it in pieces."""
    check = RecordCheck()
    for start in range(0, len(data), piece):
        check.receive(data[start : start + piece])
    return check.finish()


def ours(data: bytes) -> str:
    """What our check has against it."""
    try:
        checked(data)
    except RecordRefusedError as error:
        return str(error)
    return ""


def theirs(data: bytes) -> str:
    """What the standalone verifier has against it."""
    try:
        STANDALONE.check(io.BytesIO(data))
    except STANDALONE.RefusedError as error:
        return str(error)
    return ""


both = pytest.mark.parametrize("verdict", [ours, theirs])


def exported(ledger: Ledger, *signers: Person) -> RecordFile:
    """The record of all that is in a ledger, signed by Anna or by these."""
    return of_entries(in_order(ledger.entries), *signers)


def of_entries(entries: Sequence[Entry], *signers: Person, checkpoint: Checkpoint | None = None) -> RecordFile:
    """The record of these entries, in this order."""
    note = Note(checkpoint or snapshot_of(entries))
    for person in signers or (ANNA,):
        note = note.signed(person.seed, name=notes.key_name(entries[0].community))
    return RecordFile(entries, note)


def written(record: RecordFile) -> bytes:
    """The file."""
    return b"".join(record.pieces())


def small() -> Ledger:
    """A community of two, in which each has signed."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    BEN.removes(ledger, CLEO)
    return ledger


def test_the_format_is_what_it_was() -> None:
    """The example, which others may have written verifiers against, is still written byte for byte."""
    assert written(exported(small(), ANNA, BEN)) == (ROOT / "docs/verifier/example.record").read_bytes()


def test_what_a_record_tells() -> None:
    """How much by whom, who belongs, what was signed and by whom, and whose key signed twice for one place."""
    ledger = small()
    ANNA.admits(ledger, CLEO)
    CLEO.becomes(ledger, DARA)
    BEN.signs(ledger, Remove(CLEO.public, "another"), place=Place(0, None, (ledger.community,)))
    of_the_future(BEN, ledger, 100)
    record = exported(ledger, ANNA, DARA)
    found = checked(written(record))
    assert (len(found.history), found.authors) == (6, 3)
    assert [member.name for member in found.membership.members.values()] == ["Anna", "Cleo", "Ben"]
    assert found.checkpoint == snapshot_of(record.entries)
    assert set(found.signers) == {ANNA.public, DARA.public}
    assert [(proof.author, proof.seq) for proof in found.equivocations.values()] == [(BEN.public, 0)]
    assert len(written(record)) == record.size_bytes
    assert theirs(written(record)) == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=12), st.integers(1, 3000))
def test_whatever_a_ledger_holds_can_be_exported(actions: list[tuple[str, int, int, int]], piece: int) -> None:
    """Forks, strangers let in by others and all, in pieces of any size; both verifiers take it."""
    ledger = lived(actions)
    data = written(exported(ledger))
    assert theirs(data) == ""
    try:
        assert len(checked(data, piece=piece).history) == len(ledger)
    except RecordRefusedError as error:  # Anna may have left, or gone on under another key
        assert "nobody who signed it is a member" in str(error)  # noqa: PT017  either will do


def test_any_byte_altered_is_refused_and_its_entry_named() -> None:
    """At every position of the file, with another value each time, by both verifiers."""
    data = written(exported(small(), ANNA, BEN))
    entries = data.count(b"\n", 0, data.index(b"\ncheckpoint\n"))
    for at, byte in enumerate(data):
        altered = data[:at] + bytes([byte ^ (1 + 37 * at % 255)]) + data[at + 1 :]
        line = data.count(b"\n", 0, at)
        for verdict in (ours, theirs):
            what = verdict(altered)
            if 1 <= line <= entries:
                assert what.startswith(f"entry {line - 1}"), (at, what)
            else:
                assert what, at


@both
def test_no_part_of_the_file_can_be_left_out_or_repeated(verdict: Verdict) -> None:
    """Neither its end, at whatever place it is cut, nor a line, nor anything behind it."""
    data = written(exported(small()))
    assert verdict(data) == ""
    assert all(verdict(data[:at]) for at in range(len(data)))
    lines = data.splitlines(keepends=True)
    for at, line in enumerate(lines):
        assert verdict(b"".join([*lines[:at], *lines[at + 1 :]])), line
        assert verdict(b"".join([*lines[:at], line, *lines[at:]])), line
    assert verdict(data + b"\n")


@both
def test_an_entry_stands_where_it_may(verdict: Verdict) -> None:
    """After those it follows and whoever let its author in, once, in its own community; whoever signed the tree."""
    ledger = small()
    genesis, admission, last = ledger.entries
    stranger = write_entry(DARA.seed, ledger.community, Place(0, None, (genesis.id,)), Remove(DARA.public, ""))
    foreign_prev = write_entry(BEN.seed, ledger.community, Place(1, admission.id, ()), Remove(BEN.public, ""))
    skipping = write_entry(ANNA.seed, ledger.community, Place(2, genesis.id, ()), Remove(BEN.public, ""))
    elsewhere = ANNA.founds("Other")
    cases: list[tuple[Sequence[Entry], str]] = [
        ([genesis, last, admission], "entry 1 "),
        ([genesis, stranger], "nobody before it let its author in"),
        ([genesis, admission, last, last], "stands here twice"),
        ([genesis, admission, foreign_prev], "predecessor is not its author's"),
        ([genesis, skipping], "predecessor is not its author's"),
        ([genesis, elsewhere.genesis], "genesis" if verdict is ours else "another community"),
        ([genesis, ANNA.admits(elsewhere, BEN)], "another community"),
        ([admission], "genesis"),
    ]
    for entries, why in cases:
        assert why in verdict(written(of_entries(entries)))
    later = BEN.removes(copy_of(ledger), DARA)
    assert "does not stand before it" in verdict(written(of_entries([genesis, admission, later])))


@both
def test_the_note_must_be_of_these_entries(verdict: Verdict) -> None:
    """Of their number and root and this community, signed by keys of the record and by each once."""
    entries = small().entries
    right = snapshot_of(entries)
    name = notes.key_name(entries[0].community)
    assert verdict(written(of_entries(entries, checkpoint=Checkpoint(name, 3, right.root)))) == ""
    for wrong in (
        Checkpoint(right.origin, 2, right.root),
        Checkpoint(right.origin, 3, merkle.root_of([leaf_of(entries[0])])),
        Checkpoint(notes.key_name(bytes(32)), 3, right.root),
        Checkpoint(notes.snapshot_origin(entries[0].community, bytes(32)), 3, right.root),
    ):
        assert verdict(written(of_entries(entries, checkpoint=wrong))).startswith("checkpoint: ")
    assert verdict(written(of_entries(entries, CLEO))).startswith("checkpoint: ")
    assert verdict(written(of_entries(entries, ANNA, CLEO))).startswith("checkpoint: ")
    both_signed = of_entries(entries, ANNA, BEN)
    assert verdict(written(both_signed)) == ""
    twice = Note(right, both_signed.note.signatures[:1] * 2)
    assert verdict(written(RecordFile(entries, twice))).startswith("checkpoint: ")


def test_one_who_has_left_does_not_vouch_alone() -> None:
    """Ours knows the community's rules; a member's signature beside it is enough."""
    ledger = small()
    BEN.removes(ledger, BEN)
    assert "nobody who signed it is a member" in ours(written(exported(ledger, BEN)))
    assert ours(written(exported(ledger, ANNA, BEN))) == ""


@both
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n" * 100,
        b"hearthmesh/record/2\n",
        b"hearthmesh/record/1\n",
        b"hearthmesh/record/1\n\n",
        b"hearthmesh/record/1\ncheckpoint\n",
        b"hearthmesh/record/1\n" + b"A" * 200_000 + b"\n",
        b"hearthmesh/record/1\n" + b"A" * 4000 + b"\n",
        b"hearthmesh/record/1\n" + b"m" * 4000 + b"\n",
        b"hearthmesh/record/1\n" + b"n///////////" * 100 + b"\n",
        b"hearthmesh/record/1\n\xff\xff\xff\xff\n",
        b"\x89PNG" + bytes(200_000),
    ],
)
def test_other_files_are_no_records(verdict: Verdict, data: bytes) -> None:
    """Empty, of another version, or full of something else: a reason, no more."""
    assert verdict(data)


@both
@given(data=st.binary(max_size=300))
def test_no_entry_makes_a_verifier_stumble(verdict: Verdict, data: bytes) -> None:
    """Whatever bytes it is made of, the entry is refused by its number."""
    line = b"hearthmesh/record/1\n" + STANDALONE.base64.b64encode(data) + b"\n"
    assert verdict(line + b"checkpoint\n").startswith("entry 0")


def test_a_record_has_a_limit() -> None:
    """Of entries, of bytes, and of what is held while the end of a line or of the note does not come."""
    data = written(exported(small()))
    check = RecordCheck(max_entries=2)
    with pytest.raises(RecordRefusedError, match="more than 2 entries") as raised:
        check.receive(data)
    assert raised.value.position == 2
    with pytest.raises(RecordRefusedError, match="larger than any"):
        RecordCheck(max_bytes=len(data) - 1).receive(data)
    RecordCheck(max_bytes=len(data)).receive(data)
    for start in (b"", b"hearthmesh/record/1\n", data):
        check = RecordCheck()
        check.receive(start)
        with pytest.raises(RecordRefusedError, match="longer than any"):
            check.receive(b"A" * 320 * 1024)


def test_a_refusal_says_which_entry() -> None:
    """Its number, id and author, for people and for programs."""
    record = exported(small())
    last = record.entries[2]
    with pytest.raises(RecordRefusedError) as raised:
        checked(written(of_entries([*record.entries[:2], last, last])))
    error = raised.value
    assert (error.position, error.entry_id, error.author) == (3, last.id, BEN.public)
    assert str(error).startswith(f"entry 3 ({last.id.hex()[:12]}, by {BEN.statement.node_id[:8]}): ")
