"""Keys that are handed on: whose word counts, what was built on it, and what a key says after that."""

import pytest

from mesh.core.ballots import EPOCH, Recovery, Slot, Vote
from mesh.core.entries import Admit, RotateKey
from mesh.core.ledger import Ledger
from mesh.core.membership import OBSERVER
from tests.mesh.core.council import folded, refreshed, roles, voters
from tests.mesh.core.world import Person

ANNA, BEN, CLEO, DARA, ELI = (Person(name) for name in ("Anna", "Ben", "Cleo", "Dara", "Eli"))
PAPER = Person("Cleo's paper")


def with_a_paper() -> Ledger:
    """Three voters, and Cleo's paper is in the charter."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    CLEO.signs(ledger, Recovery(PAPER.public))
    refreshed(ledger, [ANNA, BEN, CLEO])
    return ledger


def test_a_key_that_was_handed_on_votes_no_more() -> None:
    """Before any decision has taken that up; the new one does."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    BEN.becomes(ledger, CLEO)
    BEN.signs(ledger, Vote(Slot(EPOCH, 2), 0, None))
    assert not ledger.epoch().tally.votes(0)
    CLEO.signs(ledger, Vote(Slot(EPOCH, 2), 0, None))
    assert [*ledger.epoch().tally.votes(0)[None]] == [BEN.public]


def test_nobody_but_the_paper_takes_over_for_a_voter_that_has_one() -> None:
    """Another member's word is worth what it was."""
    ledger = with_a_paper()
    BEN.signs(ledger, RotateKey(CLEO.public, DARA.statement))
    assert folded(ledger).voters[CLEO.public].public == CLEO.public


def test_a_key_that_is_handed_on_counts_once() -> None:
    """In the number too, whether its holder has a paper or not."""
    ledger = with_a_paper()
    before = folded(ledger).number
    CLEO.becomes(ledger, DARA)
    assert folded(ledger).number == before + 1


def test_keys_that_go_round_in_a_circle_end_the_look_for_what_a_paper_signed() -> None:
    """And nobody is left under them."""
    ledger = with_a_paper()
    CLEO.becomes(ledger, DARA)
    DARA.becomes(ledger, CLEO)
    assert roles(folded(ledger)) == {"Anna": "voter", "Ben": "voter"}


@pytest.mark.parametrize("number", range(5))
def test_a_papers_word_comes_before_the_keys_own(number: int) -> None:
    """Whichever has the lower id."""
    ledger = with_a_paper()
    CLEO.becomes(ledger, Person(f"thief {number}"))
    PAPER.signs(ledger, RotateKey(CLEO.public, DARA.statement))
    assert folded(ledger).voters[CLEO.public].public == DARA.public


def test_what_a_lost_board_signed_stands_as_far_as_its_paper_knows_of_it() -> None:
    """Whom it let in stays."""
    ledger = with_a_paper()
    CLEO.admits(ledger, ELI)
    PAPER.signs(ledger, RotateKey(CLEO.public, DARA.statement))
    assert roles(folded(ledger))["Eli"] == "observer"


def test_of_a_forked_feed_the_branch_stands_that_was_handed_on() -> None:
    """Not the other one, though the rotation knows of it."""
    ledger = ANNA.founds()
    place = ledger.next_place(ANNA.public)
    branches = [
        ANNA.signs(ledger, Admit(person.statement, person.name, OBSERVER), place=place) for person in (BEN, CLEO)
    ]
    rotation = ANNA.becomes(ledger, DARA)
    assert {rotation.place.prev, *rotation.place.deps} == {entry.id for entry in branches}
    kept = BEN if rotation.place.prev == branches[0].id else CLEO
    assert set(folded(ledger).members) == {DARA.raw_id, kept.raw_id}
