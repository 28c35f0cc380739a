"""What four people sign on two copies of a ledger that meet only at the end: histories for what a record folds to."""

import random
from collections.abc import Callable

from hypothesis import strategies as st

from mesh.core.entries import Entry
from mesh.core.ledger import Ledger
from tests.mesh.core.world import Person, copy_of

PEOPLE = [Person(name) for name in ("Anna", "Ben", "Cleo", "Dara")]
ANNA, BEN, CLEO, DARA = PEOPLE

Step = tuple[str, int, int, int]  # what, who, whom, on which copy
Says = Callable[[Ledger, Person, str, int, int, int], None]  # ledger, who, what, whom, on which copy, step


def steps(*sayings: str) -> st.SearchStrategy[list[Step]]:
    """Draw who lets in, shows out, rotates, forks its feed, or says any of these."""
    kinds = st.sampled_from([*sayings, "admit", "remove", "rotate", "fork"])
    return st.lists(st.tuples(kinds, st.integers(0, 3), st.integers(0, 3), st.integers(0, 1)), max_size=16)


def lived(drawn: list[Step], says: Says) -> Ledger:
    """Let them act, and return the union of both copies; `says` signs what is not about membership."""
    sides = [ANNA.founds(), ANNA.founds()]
    everything = copy_of(sides[0])
    for number, (what, author, subject, side) in enumerate(drawn):
        ledger, person, other = sides[side], PEOPLE[author], PEOPLE[subject]
        acts = {"admit": person.admits, "remove": person.removes, "rotate": person.becomes}
        if what in acts:
            acts[what](ledger, other)
        else:
            says(ledger, person, what, subject, side, number)
    for ledger in sides:
        for entry in ledger.entries:
            everything.add(entry)
    return everything


def shuffled(ledger: Ledger, rng: random.Random) -> list[Entry]:
    """Return the entries in another order, some of them twice."""
    entries = [*ledger.entries, *ledger.entries[::2]]
    rng.shuffle(entries)
    return entries
