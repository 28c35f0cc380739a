"""Two entries that one key signed for one place are found by everyone who holds both."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core.entries import Entry, Remove
from mesh.core.equivocation import Equivocation, equivocations
from mesh.core.ledger import Ledger
from mesh.core.roll import fold
from tests.mesh.core.world import Person

PEOPLE = [Person(name) for name in ("Anna", "Ben", "Cleo")]
ANNA, BEN, CLEO = PEOPLE

# Who signs, on which of two sides of a partition, and in how many versions for one place.
STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(1, 3)), max_size=10)


def start() -> Ledger:
    """Anna's community, with Ben and Cleo."""
    ledger = ANNA.founds()
    for person in (BEN, CLEO):
        ANNA.admits(ledger, person)
    return ledger


def apart(steps: list[tuple[int, int, int]]) -> list[Ledger]:
    """Let three sign on either side of a partition, now and then several entries for one place."""
    sides = [start(), start()]
    for number, (who, side, versions) in enumerate(steps):
        place = sides[side].next_place(PEOPLE[who].public)
        for version in range(versions):
            body = Remove(b"\7" * 32, f"{number} {side} {version}")
            PEOPLE[who].signs(sides[side], body, place=place)
    return sides


def expected(entries: list[Entry]) -> dict[bytes, Equivocation]:
    """Say by counting who signed more than one entry of a seq, where first, and which two have the lowest ids."""
    found = {}
    for author in {entry.author for entry in entries}:
        for seq in range(max(entry.seq for entry in entries), -1, -1):
            ids = sorted(entry.id for entry in entries if (entry.author, entry.seq) == (author, seq))
            if len(ids) > 1:
                found[author] = Equivocation(author, seq, (ids[0], ids[1]))
    return found


def test_the_first_fork_is_the_proof_whenever_it_is_found() -> None:
    """Who forks a branch again has not done less before."""
    ledger = start()
    forked = []
    for _ in range(2):
        place = ledger.next_place(BEN.public)
        forked += [BEN.signs(ledger, Remove(b"\7" * 32, f"{place.seq} {version}"), place=place) for version in "ab"]
    one, two = sorted(entry.id for entry in forked[:2])
    for entries in (forked, forked[::-1]):
        assert equivocations(entries) == {BEN.public: Equivocation(BEN.public, 0, (one, two))}


@settings(max_examples=150, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_ledger_proofs_are_the_same_in_any_order(steps: list[tuple[int, int, int]], rng: random.Random) -> None:
    """A healed partition and any order of arrival, with repetitions, give one set of proofs, and one membership."""
    one, two = apart(steps)
    among = {entry.id: entry for entry in [*one.entries, *two.entries]}
    shuffled = [*among.values(), *one.entries]
    for ours, theirs in ((one, two), (two, one), (one, two)):  # a branch whose other is longer comes the second time
        for entry in theirs.missing_at(ours.heads()):
            ours.add(entry)
    rng.shuffle(shuffled)
    other = Ledger(one.genesis)
    for entry in shuffled:
        other.add(entry)
    proofs = expected([*among.values()])
    assert other.equivocations == one.equivocations == two.equivocations == proofs
    membership = fold(other.entries)
    assert membership == fold(one.entries) == fold(two.entries)
    assert membership.equivocations == {
        person.raw_id: proofs[person.public] for person in PEOPLE if person.public in proofs
    }
    assert membership.members.keys() == {person.raw_id for person in PEOPLE}
    assert membership.may_admit(ANNA.public) == (ANNA.public not in proofs)


def test_one_side_of_a_partition_proves_nothing() -> None:
    """Only both entries are a proof; each alone is an entry like others."""
    one, two = apart([(1, 0, 1), (1, 1, 1)])
    assert one.equivocations == two.equivocations == {}
    for entry in two.entries:
        one.add(entry)
    assert one.equivocations.keys() == {BEN.public}
