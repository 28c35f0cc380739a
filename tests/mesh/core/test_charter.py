"""Whose a ballot is, and what a decision takes up: keys that were handed on, papers, and who has left."""

from collections.abc import Sequence

import pytest

from mesh.core.acts import Acts
from mesh.core.ballots import EPOCH, MAKE_VOTER, MAX_VOTERS, REFRESH, Recovery, Slot, Vote
from mesh.core.causality import Causality
from mesh.core.charter import Charter, Seat, Succession
from mesh.core.entries import RotateKey
from mesh.core.ledger import Ledger
from tests.mesh.core.council import agree, decided, proposed, refreshed, roles, voters
from tests.mesh.core.world import Person, copy_of

ANNA, BEN, CLEO, DARA, ELI, FINN = (Person(name) for name in ("Anna", "Ben", "Cleo", "Dara", "Eli", "Finn"))


def who_voted(ledger: Ledger, number: int = 0) -> set[bytes]:
    """The seats that have voted in a round on what comes next."""
    return {voter for found in ledger.epoch().tally.votes(number).values() for voter in found}


def votes(ledger: Ledger, person: Person, number: int = 0) -> None:
    """Have somebody vote on what comes next, for nothing."""
    person.signs(ledger, Vote(Slot(EPOCH, ledger.epoch().charter.number + 1), number, None))


@pytest.mark.parametrize("order", [(ANNA, BEN), (BEN, ANNA)])
def test_two_voters_who_go_on_under_one_key_have_the_vote_of_the_first_seat(order: Sequence[Person]) -> None:
    """Whichever of them did so first."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    for person in order:
        person.becomes(ledger, CLEO)
    votes(ledger, CLEO)
    assert who_voted(ledger) == {ANNA.public}


def test_a_ballot_counts_for_a_voter_if_it_knows_that_the_key_is_that_voters() -> None:
    """What the key signed at the same time is nobody's, also once both are here."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    ANNA.admits(ledger, CLEO)
    elsewhere = copy_of(ledger)
    BEN.becomes(ledger, CLEO)
    votes(elsewhere, CLEO)
    ledger.add(elsewhere.entries[-1])
    assert not who_voted(ledger)
    votes(ledger, CLEO, 1)
    assert who_voted(ledger, 1) == {BEN.public}


def test_a_key_that_came_out_of_a_circle_of_keys_is_no_voters() -> None:
    """Looking for whose it was comes to an end."""
    ledger = voters(ANNA.founds(), ANNA)
    for person in (CLEO, DARA):
        ANNA.admits(ledger, person)
    place = ledger.next_place(CLEO.public)
    CLEO.becomes(ledger, DARA)
    DARA.becomes(ledger, CLEO)
    CLEO.signs(ledger, RotateKey(CLEO.public, ELI.statement), place=place)
    votes(ledger, ELI)
    assert not who_voted(ledger)


def keys(ledger: Ledger) -> list[bytes]:
    """The key of each seat, as the charter in force has it."""
    return [seat.key for seat in ledger.epoch().charter.seats]


def test_two_voters_do_not_go_on_under_one_key() -> None:
    """The first seat gets it; the other one keeps the key it had, whose words are over."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO, DARA)
    for person in (ANNA, BEN):
        person.becomes(ledger, ELI)
    refreshed(ledger, [CLEO, DARA, ELI])
    assert keys(ledger) == [ELI.public, BEN.public, CLEO.public, DARA.public]


def test_a_decision_takes_up_who_left_before_it_was_asked_for() -> None:
    """Not who did so at the same time: whoever holds one without the other must get the same charter."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO, DARA)
    proposal = proposed(copy_of(ledger), ANNA, REFRESH)
    DARA.removes(ledger, DARA)
    ledger.add(proposal)
    agree(ledger, [ANNA, BEN, CLEO], proposal)
    assert keys(ledger) == [ANNA.public, BEN.public, CLEO.public, DARA.public]
    assert set(ledger.epoch().tally.left) == {DARA.public}  # and it agrees with what comes next
    refreshed(ledger, [ANNA, BEN, CLEO])
    assert keys(ledger) == [ANNA.public, BEN.public, CLEO.public]


def test_who_becomes_a_voter_has_the_paper_it_registered_before() -> None:
    """As far as the proposal knows of it."""
    paper, late = Person("Ben's paper"), Person("Cleo's paper")
    ledger = voters(ANNA.founds(), ANNA)
    assert [seat.recovery for seat in ledger.epoch().charter.seats] == [None]
    for person in (BEN, CLEO):
        ANNA.admits(ledger, person)
    BEN.signs(ledger, Recovery(paper.public))
    elsewhere = copy_of(ledger)
    decided(ledger, [ANNA], MAKE_VOTER, BEN)
    assert [seat.recovery for seat in ledger.epoch().charter.seats] == [None, paper.public]
    proposal = proposed(ledger, ANNA, MAKE_VOTER, CLEO)
    ledger.add(CLEO.signs(elsewhere, Recovery(late.public)))
    agree(ledger, [ANNA, BEN], proposal)
    assert [seat.recovery for seat in ledger.epoch().charter.seats] == [None, paper.public, None]


@pytest.mark.parametrize(("before", "after"), [(MAX_VOTERS - 1, MAX_VOTERS), (MAX_VOTERS, MAX_VOTERS)])
def test_there_are_no_more_voters_than_a_certificate_can_cite(before: int, after: int) -> None:
    """What would make one more changes nothing."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    proposal = proposed(ledger, ANNA, MAKE_VOTER, BEN)
    entries = {entry.id: entry for entry in ledger.entries}
    acts, causality = Acts(), Causality(entries)
    for entry in ledger.entries:
        causality.add(entry, marked=False)
        acts.add(entry)
    keys = (bytes([number]) * 32 for number in range(before))
    charter = Charter(0, ledger.community, tuple(Seat(key, key, ledger.community) for key in keys))
    following = Succession(entries, acts, causality).following(charter, proposal, [])
    assert (following.number, len(following.seats)) == (1, after)


def test_a_decision_takes_up_the_keys_that_it_knows_of() -> None:
    """Not one that a voter went on under at the same time; the next one does."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO, DARA)
    proposal = proposed(copy_of(ledger), ANNA, REFRESH)
    DARA.becomes(ledger, ELI)
    ledger.add(proposal)
    agree(ledger, [ANNA, BEN, CLEO], proposal)
    assert keys(ledger) == [ANNA.public, BEN.public, CLEO.public, DARA.public]
    refreshed(ledger, [ANNA, BEN, CLEO])
    assert keys(ledger) == [ANNA.public, BEN.public, CLEO.public, ELI.public]


def test_nobody_but_a_voter_and_its_paper_hands_on_its_seat() -> None:
    """Another member signs what it likes."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    BEN.signs(ledger, RotateKey(CLEO.public, DARA.statement))
    refreshed(ledger, [ANNA, BEN, CLEO])
    assert keys(ledger) == [ANNA.public, BEN.public, CLEO.public]


def test_who_goes_on_under_another_key_becomes_a_voter_under_that() -> None:
    """It was let in under the one before; a proposal that does not know of the rotation names nobody."""
    ledger = voters(ANNA.founds(), ANNA)
    ANNA.admits(ledger, BEN)
    proposal = proposed(copy_of(ledger), ANNA, MAKE_VOTER, CLEO)
    BEN.becomes(ledger, CLEO)
    ledger.add(proposal)
    assert roles(agree(ledger, [ANNA], proposal)) == {"Anna": "voter", "Ben": "observer"}
    assert roles(decided(ledger, [ANNA], MAKE_VOTER, CLEO)) == {"Anna": "voter", "Ben": "voter"}


@pytest.mark.parametrize("number", range(5))
def test_of_two_ways_to_go_on_the_papers_is_taken_up(number: int) -> None:
    """Whichever was signed first, and whichever has the lower id: who has the key may be a thief."""
    paper, thief = Person("Cleo's paper"), Person(f"thief {number}")
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO, DARA)
    CLEO.signs(ledger, Recovery(paper.public))
    refreshed(ledger, [ANNA, BEN, DARA])
    CLEO.becomes(ledger, thief)
    paper.signs(ledger, RotateKey(CLEO.public, ELI.statement))
    refreshed(ledger, [ANNA, BEN, DARA])
    assert keys(ledger) == [ANNA.public, BEN.public, ELI.public, DARA.public]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 2, 1)])
def test_of_several_papers_the_one_registered_first_counts(order: Sequence[int]) -> None:
    """Of two for one place in the feed the one of the lower id, whichever came first."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    place, elsewhere = ledger.next_place(BEN.public), copy_of(ledger)
    entries = [BEN.signs(elsewhere, Recovery(Person(f"paper {number}").public), place=place) for number in range(2)]
    entries.append(BEN.signs(elsewhere, Recovery(Person("a later paper").public)))
    for number in order:
        ledger.add(entries[number])
    first = min(entries[:2], key=lambda entry: entry.id)
    refreshed(ledger, [ANNA, BEN])
    assert isinstance(first.body, Recovery)
    assert ledger.epoch().charter.seats[1].recovery == first.body.public


def test_a_ballot_that_decides_nothing_costs_no_fold() -> None:
    """It is kept for the decision that is open, and who belongs is not worked out anew."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    before = ledger.membership()
    assert not [*ledger.ballots()]
    votes(ledger, BEN)
    assert [entry.author for entry in ledger.ballots()] == [BEN.public]
    assert ledger.membership() is before
