"""The ledger: what an entry costs to take, a history to fold, to hold and to hand to a neighbour."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from mesh.community import CommunityStore
from mesh.core.entries import Admit, Entry, Genesis, Remove, RotateKey, write_genesis
from mesh.core.ledger import Ledger
from mesh.core.membership import INVITE_BUDGET, OBSERVER
from mesh.core.roll import fold
from mesh.identity import Identity
from tests.bench.rows import Row
from tests.bench.shaped_sharing import Member
from tests.mesh.core.world import Person, of_the_future
from tests.mesh_lab.nodes import settle

ENTRIES = 100_000
NOTES_EACH = 58  # what a feed of 16 KiB holds of such entries
NOTE_BYTES = 40
TAKEN = 5_000
MISSING = 10_000
ROUNDS = 5
BUDGET = 60_000  # a founder that lets in as many as a history of this size needs


def rows() -> list[Row]:
    """Measure everything of this area."""
    history = [*_history(ENTRIES)]
    return [*_taking(history), *_folding(history), _memory(history), *_on_disk(history), _handing_over()]


def _history(size: int) -> Iterator[bytes]:
    """Give a community's entries: members come and say much; some take another key, or leave and come again."""
    founder = Person("founder")
    ledger = Ledger(write_genesis(founder.seed, Genesis("Harbour", founder.statement, "founder", b"n" * 16, BUDGET)))
    yield ledger.genesis.raw
    given = 1
    for number in range(size):
        member = Person(f"member {number}")
        bodies: list[tuple[Person, Admit | Remove | RotateKey | None]] = [
            (founder, Admit(member.statement, member.name, OBSERVER)),
            *[(member, None)] * NOTES_EACH,
        ]
        if number % 16 == 1:
            bodies += [(member, Remove(member.public, "left")), (founder, Admit(member.statement, "again", OBSERVER))]
        if number % 16 == 2:
            bodies.append((member, RotateKey(member.public, Person(f"{member.name}, another key").statement)))
        for author, body in bodies:
            entry = of_the_future(author, ledger, NOTE_BYTES) if body is None else author.signs(ledger, body)
            ledger.add(entry)
            yield entry.raw
            given += 1
            if given == size:
                return


def _taking(history: list[bytes]) -> list[Row]:
    raws = history[:TAKEN]
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        Ledger.of(Entry.parse(raw) for raw in raws)
        taken.append((time.perf_counter() - began) / len(raws) * 1e6)
    began = time.perf_counter()
    Ledger.of(Entry.parse(raw) for raw in history).membership()
    whole_s = time.perf_counter() - began
    return [
        Row(name="verify and admit an entry", value=statistics.median(taken), unit="us", goal="<= 150"),
        Row(name=f"all {len(history):,}, as a newcomer verifies, admits and folds them", value=whole_s, unit="s"),
    ]


def _folding(history: list[bytes]) -> list[Row]:
    ledger = _ledger(history)
    began = time.perf_counter()
    members = len(fold(ledger.entries).members)
    whole_s = time.perf_counter() - began
    ledger.membership()
    notes_ms, admissions_ms = _growing(ledger)
    full = Ledger(ledger.genesis)
    for _ in range(INVITE_BUDGET - ROUNDS):
        _admit(full)
    return [
        Row(name=f"fold of {len(history):,} entries, {members:,} members", value=whole_s, unit="s", goal="<= 3"),
        Row(name="its update after one more entry", value=notes_ms, unit="ms", goal="<= 5"),
        Row(name="after one more admission", value=admissions_ms, unit="ms", goal="<= 5"),
        Row(name=f"after one of {INVITE_BUDGET} admissions", value=_growing(full)[1], unit="ms", goal="<= 5"),
    ]


def _growing(ledger: Ledger) -> tuple[float, float]:
    """Return the milliseconds that one more entry takes, and one more admission."""
    notes_ms, admissions_ms = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        newcomer = _admit(ledger)
        ledger.membership()
        admissions_ms.append((time.perf_counter() - began) * 1e3)
        note = of_the_future(newcomer, ledger, NOTE_BYTES)
        began = time.perf_counter()
        ledger.add(note)
        ledger.membership()
        notes_ms.append((time.perf_counter() - began) * 1e3)
    return statistics.median(notes_ms), statistics.median(admissions_ms)


def _admit(ledger: Ledger) -> Person:
    """Let somebody in, signature and all."""
    newcomer = Person(f"newcomer {len(ledger)}")
    Person("founder").signs(ledger, Admit(newcomer.statement, newcomer.name, OBSERVER))
    return newcomer


def _ledger(history: list[bytes]) -> Ledger:
    """Read entries as from the own disk."""
    return Ledger.of(Entry.parse(raw, trusted=True) for raw in history)


def _memory(history: list[bytes]) -> Row:
    """Hold the history in a process that holds nothing else, and look at what that took."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as name:
        sizes, entries = Path(name) / "sizes", Path(name) / "entries"
        sizes.write_text(json.dumps([len(raw) for raw in history]))
        entries.write_bytes(b"".join(history))
        command = [sys.executable, "-c", "from tests.bench.ledger import print_growth; print_growth()"]
        done = subprocess.run([*command, str(sizes), str(entries)], check=True, capture_output=True, text=True)
    return Row(name="memory of ledger and fold", value=float(done.stdout), unit="MB", goal="<= 60")


def print_growth() -> None:
    """Read entries, of the sizes in the first file, from the second one, and say what holding them takes."""
    sizes = json.loads(Path(sys.argv[1]).read_text())
    before = _resident_mb()
    with Path(sys.argv[2]).open("rb") as file:
        ledger = Ledger.of(Entry.parse(file.read(size), trusted=True) for size in sizes)
    ledger.membership()
    sys.stdout.write(f"{_resident_mb() - before:.1f}\n")


def _resident_mb() -> float:
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def _on_disk(history: list[bytes]) -> list[Row]:
    entries = [Entry.parse(raw, trusted=True) for raw in history[:MISSING]]
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as name:
        folder = Path(name)
        path = folder / "community.db"
        store = CommunityStore(path, Identity.open(folder / "identity"))
        store.ledger = Ledger(entries[0])
        before = path.stat().st_size
        store.take(entries[1:])
        store.close()
        each = (path.stat().st_size - before) / len(entries)
    signed = sum(len(entry.raw) for entry in entries) / len(entries)
    return [
        Row(name="an entry on disk", value=each, unit="bytes", goal="<= 400", peer="as signed", peer_value=signed),
    ]


def _handing_over() -> Row:
    """Let a node that has been away for long catch up with one that has not."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        here, there = (Member(folder / one, one) for one in ("ember", "spark"))
        settle(here, there)
        size = _write_notes(here, MISSING)
        command = [sys.executable, "-m", "tests.bench.ledger_node", name]
        nodes = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, one.name, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for one in (here, there)
        ]
        for node in nodes:
            _line(node)
        seconds = _line(nodes[1])["seconds"]
        for node in nodes:
            if node.stdin is not None:
                node.stdin.close()
    return Row(name=f"{MISSING:,} missing entries from a neighbour", value=float(seconds), unit="s", goal="<= 2")


def _line(node: "subprocess.Popen[str]") -> dict[str, float]:
    said: dict[str, float] = json.loads(node.stdout.readline() if node.stdout is not None else "")
    return said


def _write_notes(member: Member, count: int) -> int:
    """Sign so many entries as a node that does not run; return how many its ledger has then."""
    identity = Identity.open(member.data_dir / "mesh" / "identity")
    store = CommunityStore(member.data_dir / "mesh" / "community.db", identity)
    ledger = store.ledger
    if ledger is None:
        raise AssertionError("it has a community")
    author = Person("")
    author.seed, author.public = identity.seed, identity.public
    draft = Ledger(ledger.genesis)
    for entry in ledger.entries[1:]:
        draft.add(entry)
    notes = []
    for _ in range(count):
        notes.append(of_the_future(author, draft, 0))
        draft.add(notes[-1])
    taken = len(store.take(notes))
    store.close()
    if taken != count:
        raise AssertionError(f"{taken} of {count} entries found room in a feed")
    return len(draft)
