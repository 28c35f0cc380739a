"""What vectors say of who knows of what is what walking the graph says, and costs less."""

import random
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core.causality import Causality, parents_first
from mesh.core.entries import Admit, Entry, Place, Remove
from mesh.core.ledger import Ledger
from mesh.core.roll import fold
from tests.mesh.core.world import Person, copy_of, of_the_future

PEOPLE = [Person(name) for name in ("Anna", "Ben", "Cleo", "Dara")]
ANNA, BEN, CLEO, DARA = PEOPLE

# Who signs, on which of three copies of the ledger, beside how many of its own last entries (a fork, if not 0), and
# whether that copy hears of the next one first.
STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=18)


def lived(steps: list[tuple[int, int, int, bool]]) -> list[Entry]:
    """Let four sign on three copies of a ledger, with forks, and return all that was signed."""
    start = ANNA.founds()
    for person in PEOPLE[1:]:
        ANNA.admits(start, person)
    copies = [copy_of(start) for _ in range(3)]
    everything = {entry.id: entry for entry in start.entries}
    for number, (who, side, back, meets) in enumerate(steps):
        ledger, person = copies[side], PEOPLE[who]
        if meets:
            for entry in copies[(side + 1) % 3].missing_at(ledger.heads()):
                ledger.add(entry)
        place = ledger.next_place(person.public)
        own = {entry.seq: entry for entry in ledger.entries if entry.author == person.public}
        if back and place.seq - back in own:
            place = own[place.seq - back].place
        entry = person.signs(ledger, Remove(person.public, str(number)), place=place)
        everything[entry.id] = entry
    return [*everything.values()]


def ancestors(entry: Entry, among: dict[bytes, Entry]) -> set[bytes]:
    """Return the ids of all that an entry comes after, by walking there."""
    seen, stack = set[bytes](), [entry]
    while stack:
        for parent in stack.pop().parents:
            if parent in among and parent not in seen:
                seen.add(parent)
                stack.append(among[parent])
    return seen


def learned(among: dict[bytes, Entry], marked: set[bytes]) -> Causality:
    """Add entries, of which some are marked."""
    causality = Causality(among)
    for entry in parents_first(among):
        causality.add(entry, marked=entry.id in marked)
    return causality


@settings(max_examples=200, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_ledger_vectors_say_what_walking_says_in_any_order(
    steps: list[tuple[int, int, int, bool]], rng: random.Random
) -> None:
    """Of any entries and any others, forked feeds and gaps included, in whatever order they are looked at."""
    entries = lived(steps)
    rng.shuffle(entries)
    among = {entry.id: entry for entry in entries[: rng.randint(1, len(entries))]}
    asked_about = {entry_id for entry_id in among if rng.random() < 0.5}
    causality = learned(among, asked_about)
    for asker, entry in among.items():
        known = {other for other in asked_about if causality.knows(asker, other)}
        assert known == ancestors(entry, among) & asked_about


def test_a_branch_of_a_fork_is_not_known_by_its_seq() -> None:
    """Who built on one of two entries of a seq knows nothing of the other, nor of what follows that."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    elsewhere = copy_of(ledger)
    here = [BEN.signs(ledger, Remove(CLEO.public, f"here {number}")) for number in range(3)]
    there = [BEN.signs(elsewhere, Remove(CLEO.public, f"there {number}")) for number in range(2)]
    last = ANNA.admits(ledger, DARA)
    among = {entry.id: entry for entry in [*elsewhere.entries, *ledger.entries]}
    causality = learned(among, {entry.id for entry in here + there})
    assert [causality.knows(last.id, entry.id) for entry in here + there] == [True] * 3 + [False] * 2


def test_a_feed_of_many_thousand_entries_ends_no_stack() -> None:
    """Even when its last entry is looked at first."""
    ledger = ANNA.founds()
    entries = [ledger.genesis]
    for seq in range(1, 3000):
        entries.append(of_the_future(ANNA, ledger, 1, place=Place(seq, entries[-1].id, ())))
    causality = learned({entry.id: entry for entry in reversed(entries)}, {entries[1].id})
    assert causality.knows(entries[-1].id, entries[1].id)


def readmitted(length: int) -> Ledger:
    """Let a node in and out sixteen times after a history of so many entries."""
    ledger = ANNA.founds(budget=64)
    for number in range(length):
        ledger.add(of_the_future(ANNA, ledger, number % 2))
    for _ in range(16):
        ANNA.signs(ledger, Admit(BEN.statement, "Ben", "observer"))
        BEN.removes(ledger, BEN)
    return ledger


def peak(ledger: Ledger) -> int:
    """Return how many bytes a fold holds at the most."""
    entries = ledger.entries
    tracemalloc.start()
    try:
        fold(entries)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_admission_costs_no_memory_for_the_history_before_it() -> None:
    """A fold's memory grows with the entries, not with the entries times the admissions."""
    per_entry = (peak(readmitted(1500)) - peak(readmitted(500))) / 1000
    assert per_entry < 1000  # sixteen sets of ancestors alone would take more
