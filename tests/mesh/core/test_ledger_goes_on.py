"""What a ledger says goes on from where it was, can be taken back, and is always what the set of its entries says."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core.entries import Remove
from mesh.core.ledger import Ledger
from mesh.core.roll import fold
from tests.mesh.core.test_ledger_order import ACTIONS, lived
from tests.mesh.core.world import Person, copy_of

ANNA, BEN, CLEO, DARA = (Person(name) for name in ("Anna", "Ben", "Cleo", "Dara"))


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS, max_size=14), st.randoms(use_true_random=False))
def test_ledger_membership_is_that_of_the_set_in_any_order(
    actions: list[tuple[str, int, int, int]], rng: random.Random
) -> None:
    """Asked after each entry, or once; and when the last ones are forgotten, and come again."""
    entries = list(lived(actions).entries)
    ledger, rest = Ledger(entries[0]), entries[1:]
    rng.shuffle(rest)
    for entry in rest:
        before, mark, asked = ledger.entries, ledger.mark(), ledger.membership()
        heads = ledger.heads()
        ledger.add(entry)
        assert ledger.membership() == fold(ledger.entries)
        if rng.random() < 0.3:
            ledger.back_to(mark)
            assert (ledger.entries, ledger.membership(), ledger.heads()) == (before, asked, heads)
            ledger.add(entry)
    assert ledger.membership() == fold(entries)


def test_what_is_forgotten_can_come_again() -> None:
    """Forks, first entries of a feed, and what waits for its parents."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    mark, heads = ledger.mark(), ledger.heads()
    elsewhere = copy_of(ledger)
    added = [ANNA.admits(ledger, CLEO), BEN.removes(ledger, BEN), ANNA.removes(ledger, BEN)]
    added += [ANNA.admits(elsewhere, DARA), BEN.removes(elsewhere, DARA), DARA.removes(elsewhere, DARA)]
    for entry in added[3:]:
        ledger.add(entry)
    before, equivocations = set(ledger.entries), dict(ledger.equivocations)
    ledger.back_to(mark)
    assert ledger.heads() == heads
    assert not ledger.equivocations
    ledger.add(added[2])
    waiting = ledger.mark()
    ledger.add(added[1])
    ledger.back_to(waiting)
    assert all(entry.id not in ledger for entry in added)
    for entry in (added[0], added[1], *added[3:]):
        ledger.add(entry)
    assert set(ledger.entries) == before
    assert ledger.equivocations == equivocations
    assert ledger.membership() == fold(before)


@pytest.mark.parametrize("branches", [2, 3, 4])
def test_of_several_entries_of_one_place_the_last_can_be_forgotten(branches: int) -> None:
    """The others stay, and so does what is said of them; what was forgotten comes again."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    place = ledger.next_place(BEN.public)
    for number in range(branches - 1):
        BEN.signs(ledger, Remove(CLEO.public, str(number)), place=place)
    mark, heads, proofs = ledger.mark(), ledger.heads(), dict(ledger.equivocations)
    last = BEN.signs(ledger, Remove(CLEO.public, "the last"), place=place)
    assert len(ledger.heads()) == len(heads) + 1
    ledger.back_to(mark)
    assert (ledger.heads(), dict(ledger.equivocations), last.id in ledger) == (heads, proofs, False)
    assert ledger.next_place(BEN.public).prev == max(head.id for head in heads if head.author == BEN.public)
    assert ledger.add(last) == [last]


def test_what_does_not_concern_a_member_leaves_what_was_said_of_it() -> None:
    """Another's admission does; its own removal does not."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    said = ledger.membership().members[BEN.raw_id]
    ANNA.admits(ledger, CLEO)
    assert ledger.membership().members[BEN.raw_id] is said
    assert ledger.membership() is ledger.membership()
    BEN.removes(ledger, BEN)
    assert set(ledger.membership().members) == {ANNA.raw_id, CLEO.raw_id}
