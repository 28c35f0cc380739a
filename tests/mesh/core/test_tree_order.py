"""A community's tree only grows, and is the same for all who hold the same entries."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core.entries import Place, Remove
from mesh.core.record import checkpoint_of
from mesh.core.tree_order import fixed, in_order
from mesh.errors import MalformedError
from tests.mesh.core.test_ledger_order import ACTIONS, lived
from tests.mesh.core.world import Person, copy_of

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=16), st.lists(st.integers(0, 40), max_size=4), st.randoms(use_true_random=False))
def test_ledger_tree_only_grows_whatever_the_order_of_arrival(
    actions: list[tuple[str, int, int, int]], places: list[int], rng: random.Random
) -> None:
    """Each later decision appends; copies that took the entries in another order, forks too, have the same tree."""
    ledger = lived(actions)
    entries = ledger.entries
    decided = [entries[place % len(entries)].id for place in places]
    tree = in_order(entries, decided)
    assert {entry.id for entry in tree} == {entry.id for entry in entries}
    for count in range(len(decided) + 1):
        part = fixed(entries, decided[:count])
        assert tree[: len(part)] == part
    shuffled = [*entries, *entries[:3]]
    rng.shuffle(shuffled)
    assert in_order(shuffled, decided) == tree
    seen, let_in = set[bytes](), {ledger.genesis.author}
    for entry in tree:
        assert seen.issuperset(entry.parents)
        assert entry.author in let_in
        seen.add(entry.id)
        let_in.add(entry.lets_in or b"")


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS, max_size=14), st.randoms(use_true_random=False))
def test_ledger_order_of_what_was_decided_is_one_order(
    actions: list[tuple[str, int, int, int]], rng: random.Random
) -> None:
    """What a ledger decides on fixes the same tree wherever that is known, and each tree goes on from the last."""
    ledger = lived(actions)
    decided = ledger.membership().decided
    shuffled = [*ledger.entries]
    rng.shuffle(shuffled)
    roots = [checkpoint_of(fixed(ledger.entries, decided[:count])) for count in range(1, len(decided) + 1)]
    assert roots == [checkpoint_of(fixed(shuffled, decided[:count])) for count in range(1, len(decided) + 1)]
    assert [one.size for one in roots] == sorted(one.size for one in roots)


def test_of_what_could_come_next_the_lowest_id_does() -> None:
    """Three entries that know nothing of one another stand in the order of their ids."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, CLEO)
    side = copy_of(ledger)
    free = [BEN.removes(copy_of(ledger), CLEO), CLEO.removes(copy_of(ledger), BEN), ANNA.removes(side, BEN)]
    for entry in free:
        ledger.add(entry)
    tree = in_order(ledger.entries)
    assert tree[3:] == sorted(free, key=lambda entry: entry.id)


def test_an_author_comes_after_whoever_let_it_in() -> None:
    """Also where its first entry does not say that it knows of that."""
    ledger = ANNA.founds()
    for _ in range(4):
        ANNA.removes(ledger, CLEO)
    admission = ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, BEN)
    early = BEN.signs(ledger, Remove(CLEO.public, ""), place=Place(0, None, (ledger.community,)))
    tree = in_order(ledger.entries)
    assert tree.index(early) > tree.index(admission)


def test_a_branch_that_turns_up_later_comes_later() -> None:
    """A decision knows entries, so a second entry at a place that it knows is not fixed by it."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    place = ledger.next_place(BEN.public)
    last = BEN.removes(ledger, CLEO)
    before = fixed(ledger.entries, [last.id])
    rival = BEN.signs(ledger, Remove(CLEO.public, "another"), place=place)
    assert fixed(ledger.entries, [last.id]) == before
    assert in_order(ledger.entries, [last.id]) == [*before, rival]


def test_whom_nobody_let_in_yet_waits_with_all_that_follow() -> None:
    """A decision need not know of an author's admission; once one does, nothing that was fixed before moves."""
    ledger = ANNA.founds()
    admission = ANNA.admits(ledger, BEN)
    early = BEN.signs(ledger, Remove(CLEO.public, ""), place=Place(0, None, (ledger.community,)))
    follower = BEN.signs(ledger, Remove(CLEO.public, "again"), place=Place(1, early.id, ()))
    assert fixed(ledger.entries, [follower.id]) == [ledger.genesis]
    assert fixed(ledger.entries, [follower.id, admission.id]) == [ledger.genesis, admission, early, follower]
    assert in_order(ledger.entries, [follower.id]) == [ledger.genesis, admission, early, follower]


def test_what_was_decided_must_be_held_whole() -> None:
    """The entry, what that follows; and all authors must have been let in by somebody."""
    ledger = ANNA.founds()
    admission = ANNA.admits(ledger, BEN)
    last = BEN.signs(ledger, Remove(CLEO.public, ""), place=Place(0, None, (ledger.community,)))
    for entries in ([ledger.genesis, admission], [admission, last]):
        with pytest.raises(MalformedError, match="is not here"):
            fixed(entries, [last.id])
    with pytest.raises(MalformedError, match="nobody let in"):
        in_order([ledger.genesis, last])


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS, max_size=16), st.randoms(use_true_random=False))
def test_ledger_order_of_all_is_one_order(actions: list[tuple[str, int, int, int]], rng: random.Random) -> None:
    """That of the tree in which nothing was fixed before, however the entries came, and however often."""
    ledger = lived(actions)
    shuffled = [*ledger.entries, *ledger.entries[:3]]
    rng.shuffle(shuffled)
    assert in_order(shuffled) == in_order(ledger.entries)
