"""A community's tree only grows, and is the same for all who hold the same entries."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core.entries import Entry, Place, Remove
from mesh.core.ledger import Ledger
from mesh.core.tree_order import in_order, ordered
from mesh.errors import MalformedError
from tests.mesh.core.test_ledger_order import ACTIONS, lived
from tests.mesh.core.world import Person, copy_of

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=16), st.lists(st.integers(1, 16), max_size=4), st.randoms(use_true_random=False))
def test_ledger_tree_only_grows_whatever_the_order_of_arrival(
    actions: list[tuple[str, int, int, int]], sizes: list[int], rng: random.Random
) -> None:
    """Each later frontier appends; copies that took the entries in another order, forks too, have the same tree."""
    ledger = lived(actions)
    grown, frontiers = Ledger(ledger.genesis), []
    for count, entry in enumerate(ledger.entries, 1):
        grown.add(entry)
        if count in sizes:
            frontiers.append(grown.heads())
    frontiers.append(ledger.heads())
    tree = ordered(ledger.entries, frontiers)
    assert {entry.id for entry in tree} == {entry.id for entry in ledger.entries}
    for count in range(len(frontiers)):
        part = ordered(ledger.entries, frontiers[:count])
        assert tree[: len(part)] == part
    shuffled = [*ledger.entries]
    rng.shuffle(shuffled)
    other = Ledger(ledger.genesis)
    for entry in shuffled:
        other.add(entry)
    frontiers[-1] = other.heads()
    assert ordered(shuffled, [sorted(one, key=lambda _: rng.random()) for one in frontiers]) == tree
    seen = set[bytes]()
    for entry in tree:
        assert seen.issuperset(entry.parents)
        seen.add(entry.id)


def test_of_what_could_come_next_the_lowest_id_does() -> None:
    """Three entries that know nothing of one another stand in the order of their ids."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, CLEO)
    side = copy_of(ledger)
    free = [BEN.removes(copy_of(ledger), CLEO), CLEO.removes(copy_of(ledger), BEN), ANNA.removes(side, BEN)]
    for entry in free:
        ledger.add(entry)
    tree = ordered(ledger.entries, [ledger.heads()])
    assert tree[3:] == sorted(free, key=lambda entry: entry.id)


def test_an_author_comes_after_whoever_let_it_in() -> None:
    """Also where its first entry does not say that it knows of that."""
    ledger = ANNA.founds()
    for _ in range(4):
        ANNA.removes(ledger, CLEO)
    admission = ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, BEN)
    early = BEN.signs(ledger, Remove(CLEO.public, ""), place=Place(0, None, (ledger.community,)))
    tree = ordered(ledger.entries, [ledger.heads()])
    assert tree.index(early) > tree.index(admission)


def test_a_branch_that_turns_up_later_comes_later() -> None:
    """A frontier names entries, so a second entry at a place below it is not below it."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    place = ledger.next_place(BEN.public)
    BEN.removes(ledger, CLEO)
    frontier = ledger.heads()
    before = ordered(ledger.entries, [frontier])
    rival = BEN.signs(ledger, Remove(CLEO.public, "another"), place=place)
    assert ordered(ledger.entries, [frontier]) == before
    assert ordered(ledger.entries, [frontier, ledger.heads()]) == [*before, rival]


def test_a_frontier_must_be_held_whole() -> None:
    """What it names, what that follows, and who let its authors in."""
    ledger = ANNA.founds()
    admission = ANNA.admits(ledger, BEN)
    last = BEN.signs(ledger, Remove(CLEO.public, ""), place=Place(0, None, (ledger.community,)))
    heads = ledger.heads()

    def refused(entries: list[Entry], frontier: list[object], why: str) -> None:
        with pytest.raises(MalformedError, match=why):
            ordered(entries, [frontier])  # type: ignore[list-item]  # heads

    refused([ledger.genesis, admission], [*heads], "names an entry")
    refused([admission, last], [*heads], "below a frontier")
    refused([*ledger.entries], [replace(heads[0], seq=7)], "names an entry")
    refused([ledger.genesis, last], [head for head in heads if head.author == BEN.public], "let in")


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS, max_size=16), st.randoms(use_true_random=False))
def test_ledger_order_of_all_is_one_order(actions: list[tuple[str, int, int, int]], rng: random.Random) -> None:
    """That of the tree in which nothing was fixed before, however the entries came, and however often."""
    ledger = lived(actions)
    shuffled = [*ledger.entries, *ledger.entries[:3]]
    rng.shuffle(shuffled)
    assert in_order(shuffled) == ordered(ledger.entries, [ledger.heads()])
