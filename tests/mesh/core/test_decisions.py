"""Who votes and who is shown out, when voters decide it: each rule of the charter, and each way round it."""

import pytest

from mesh.core.ballots import (
    EPOCH,
    MAKE_OBSERVER,
    MAKE_VOTER,
    REFRESH,
    SHOW_OUT,
    Amendment,
    Commit,
    Lock,
    Proposal,
    Recovery,
    Slot,
    Vote,
)
from mesh.core.charter import Rules
from mesh.core.entries import Remove, RotateKey, write_entry
from mesh.core.ledger import Ledger
from mesh.core.roll import fold
from tests.mesh.core.council import agree, amended, decided, folded, proposed, refreshed, roles, voters
from tests.mesh.core.world import Person, copy_of

NAMES = ("Anna", "Ben", "Cleo", "Dara", "Eli", "Finn", "Gus")
ANNA, BEN, CLEO, DARA, ELI, FINN, GUS = PEOPLE = [Person(name) for name in NAMES]


def merged(*ledgers: Ledger) -> Ledger:
    """Hold what all of these hold."""
    union = copy_of(ledgers[0])
    for ledger in ledgers[1:]:
        for entry in ledger.entries:
            union.add(entry)
    return union


@pytest.mark.parametrize(("number", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (7, 5)])
def test_voters_are_made_by_a_quorum(number: int, quorum: int) -> None:
    """Of those who vote already; of three all must agree, four can miss one."""
    ledger = voters(ANNA.founds(), *PEOPLE[:number])
    membership = folded(ledger)
    assert roles(membership) == dict.fromkeys(NAMES[:number], "voter")
    assert membership.charter.quorum == quorum
    assert membership.charter.number == number - 1
    assert set(membership.voters) == {person.public for person in PEOPLE[:number]}


def test_one_fewer_than_a_quorum_makes_nobody_a_voter() -> None:
    """However often they say so; then the one comes that was missing."""
    ledger = voters(ANNA.founds(), *PEOPLE[:5])
    ANNA.admits(ledger, FINN)
    proposal = proposed(ledger, ANNA, MAKE_VOTER, FINN)
    assert roles(agree(ledger, PEOPLE[:3], proposal))["Finn"] == "observer"
    assert roles(agree(ledger, PEOPLE[:4], proposal))["Finn"] == "voter"


def test_an_observers_ballots_count_nothing() -> None:
    """Two voters and an observer are two voters."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    for person in (CLEO, DARA):
        ANNA.admits(ledger, person)
    membership = decided(ledger, [ANNA, CLEO, DARA], SHOW_OUT, BEN)
    assert roles(membership)["Ben"] == "voter"


def test_a_voter_invites_within_its_budget_from_when_it_knows_that_it_votes() -> None:
    """What it let in before counts nothing, also after."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    early = BEN.admits(ledger, CLEO)
    decided(ledger, [ANNA], MAKE_VOTER, BEN)
    assert "Cleo" not in roles(folded(ledger))
    BEN.admits(ledger, DARA)
    membership = amended(ledger, [ANNA, BEN], Amendment(0, 0, 1, "fewer"))
    assert roles(membership) == {"Anna": "voter", "Ben": "voter", "Dara": "observer"}
    assert (membership.may_admit(ANNA.public), membership.may_admit(BEN.public)) == (True, False)
    BEN.admits(ledger, ELI)  # beyond the budget
    assert "Eli" not in roles(folded(ledger))
    assert membership.admitted.keys() == {BEN.public, DARA.public}
    assert early.id in ledger


def test_an_invitation_is_taken_back_by_who_gave_it_and_by_nobody_else() -> None:
    """Another voter needs a quorum for it."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    BEN.admits(ledger, CLEO)
    BEN.admits(ledger, DARA)
    membership = folded(ledger)
    assert [membership.may_remove(one.public, CLEO.public) for one in (ANNA, BEN, CLEO)] == [False, True, True]
    ANNA.removes(ledger, CLEO)
    assert "Cleo" in roles(folded(ledger))
    number = folded(ledger).number
    BEN.removes(ledger, CLEO)
    assert "Cleo" not in roles(folded(ledger))
    assert folded(ledger).number > number
    membership = decided(ledger, [ANNA, BEN], SHOW_OUT, DARA)
    assert roles(membership) == {"Anna": "voter", "Ben": "voter"}


def test_who_was_invited_twice_stays_when_one_takes_it_back() -> None:
    """The other's word stands."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    for inviter in (ANNA, BEN):
        inviter.admits(ledger, CLEO)
    assert not folded(ledger).may_remove(BEN.public, CLEO.public)
    BEN.removes(ledger, CLEO)
    assert roles(folded(ledger))["Cleo"] == "observer"


def test_no_inviter_shows_a_voter_out() -> None:
    """Who was made a voter belongs by that decision; as an observer again, too."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    assert not folded(ledger).may_remove(ANNA.public, BEN.public)
    ANNA.removes(ledger, BEN)
    assert roles(folded(ledger))["Ben"] == "voter"
    membership = decided(ledger, [ANNA, BEN, CLEO], MAKE_OBSERVER, BEN)
    assert roles(membership)["Ben"] == "observer"
    assert membership.charter.quorum == 2
    membership = decided(ledger, [ANNA, CLEO], SHOW_OUT, BEN)
    assert "Ben" not in roles(membership)


def test_whom_a_voter_let_in_while_it_was_shown_out_falls_out_with_it() -> None:
    """Unless the proposal knew of it: a removal outweighs what was signed at the same time."""
    ledger = voters(ANNA.founds(), *PEOPLE[:4])
    BEN.admits(ledger, ELI)
    elsewhere = copy_of(ledger)
    BEN.admits(elsewhere, FINN)
    before = folded(merged(ledger, elsewhere)).number
    decided(ledger, [ANNA, CLEO, DARA], SHOW_OUT, BEN)
    union = merged(ledger, elsewhere)
    BEN.admits(union, GUS)  # afterwards
    membership = folded(union)
    assert set(roles(membership)) == {"Anna", "Cleo", "Dara", "Eli"}
    assert membership.number > before
    BEN.removes(union, ELI)  # nor takes it anything back
    assert "Eli" in roles(folded(union))


def test_who_was_shown_out_comes_back_by_an_invitation_that_knows_of_the_decision() -> None:
    """One that was signed before it counts as little as one at the same time, and it comes back as an observer."""
    ledger = voters(ANNA.founds(), *PEOPLE[:4])
    proposal = proposed(ledger, ANNA, SHOW_OUT, DARA)
    BEN.admits(ledger, DARA)  # knows of the proposal, not of a decision
    assert "Dara" not in roles(agree(ledger, [ANNA, BEN, CLEO], proposal))
    BEN.admits(ledger, DARA)
    membership = folded(ledger)
    assert roles(membership)["Dara"] == "observer"
    assert len(membership.charter.seats) == 3


def test_voters_who_propose_each_others_removal_at_the_same_time_get_one_of_them() -> None:
    """One slot takes one value, and who is shown out votes on it like everybody."""
    ledger = voters(ANNA.founds(), *PEOPLE[:4])
    elsewhere = copy_of(ledger)
    one, other = proposed(ledger, ANNA, SHOW_OUT, BEN), proposed(elsewhere, BEN, SHOW_OUT, ANNA)
    union = merged(ledger, elsewhere)
    membership = agree(union, [CLEO, DARA, BEN, ANNA], one, other)
    assert len(membership.charter.seats) == 3
    assert ("Anna" in roles(membership)) != ("Ben" in roles(membership))
    # The other proposal has lost its slot; it takes a quorum of those who are left to show the other one out as well.
    left = [CLEO, DARA, ANNA if "Anna" in roles(membership) else BEN]
    membership = agree(union, left, other if "Anna" in roles(membership) else one)
    assert roles(membership) == {"Cleo": "voter", "Dara": "voter"}


def test_a_vote_belongs_to_its_epoch() -> None:
    """Votes of who came later, or went, count where they voted, whatever becomes of them."""
    ledger = voters(ANNA.founds(), *PEOPLE[:4])
    elsewhere = copy_of(ledger)
    decided(ledger, [ANNA, BEN, CLEO], SHOW_OUT, DARA)
    slot = Slot(EPOCH, 4)
    late = proposed(elsewhere, DARA, SHOW_OUT, ANNA)
    DARA.signs(elsewhere, Vote(slot, 0, late.id))
    union = merged(ledger, elsewhere)
    membership = folded(union)
    assert set(roles(membership)) == {"Anna", "Ben", "Cleo"}
    DARA.signs(union, Vote(Slot(EPOCH, 5), 0, late.id))  # for the next one it has no vote
    assert not union.epoch().tally.votes(0)


def test_a_voter_that_leaves_agrees_with_what_the_others_decide() -> None:
    """Two are no prisoners of each other: the one that is left decides alone, and counts alone once it has."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    number = folded(ledger).number
    ANNA.removes(ledger, ANNA)
    membership = folded(ledger)
    assert roles(membership) == {"Ben": "voter"}
    assert membership.number > number
    assert len(membership.charter.seats) == 2
    membership = refreshed(ledger, [BEN])
    assert len(membership.charter.seats) == 1
    BEN.admits(ledger, ANNA)
    assert roles(folded(ledger)) == {"Ben": "voter", "Anna": "observer"}
    membership = decided(ledger, [BEN], MAKE_VOTER, ANNA)
    assert roles(membership) == {"Ben": "voter", "Anna": "voter"}
    assert membership.charter.quorum == 2
    assert not ledger.epoch().tally.left  # it left before


def test_the_last_voter_can_not_be_made_an_observer() -> None:
    """A community that can decide nothing more would be none."""
    ledger = ANNA.founds()
    assert roles(decided(ledger, [ANNA], MAKE_OBSERVER, ANNA)) == {"Anna": "voter"}
    assert folded(ledger).charter.number == 1


def test_what_was_decided_and_can_not_be_done_changes_nothing() -> None:
    """A voter twice, somebody that nobody let in, a proposal of another version, something that is no proposal."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    for what, whom in ((MAKE_VOTER, BEN), (MAKE_VOTER, CLEO), ("reverse", BEN), (MAKE_OBSERVER, DARA)):
        decided(ledger, [ANNA, BEN], what, whom)
    assert roles(folded(ledger)) == {"Anna": "voter", "Ben": "voter"}
    note = ANNA.publishes(ledger, "tiny")
    assert agree(ledger, [ANNA, BEN, CLEO], note).charter.number == 6


def test_a_decision_waits_for_what_was_decided_on() -> None:
    """Certificates may come before the proposal they are for."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    ANNA.admits(ledger, CLEO)
    elsewhere = copy_of(ledger)
    proposal = proposed(elsewhere, CLEO, MAKE_VOTER, CLEO)
    agree(ledger, [ANNA, BEN], proposal)  # they know its id from somewhere
    assert folded(ledger).charter.number == 1
    ledger.add(proposal)
    assert roles(folded(ledger))["Cleo"] == "voter"


def test_rules_are_changed_by_decision() -> None:
    """More must agree than two thirds, never fewer, and never more than there are."""
    ledger = voters(ANNA.founds(), *PEOPLE[:4])
    assert folded(ledger).charter.quorum == 3
    charter = amended(ledger, PEOPLE[:3], Amendment(1, 4, 2, "all")).charter
    assert (charter.quorum, charter.rules) == (4, Rules(margin=1, notice=4, invitations=2))
    ANNA.admits(ledger, ELI)
    proposal = proposed(ledger, ANNA, MAKE_VOTER, ELI)
    assert "Eli" not in {one.name for one in agree(ledger, PEOPLE[:3], proposal).voters.values()}
    assert roles(agree(ledger, PEOPLE[:4], proposal))["Eli"] == "voter"
    assert amended(ledger, PEOPLE[:5], Amendment(100, 0, 2, "")).charter.quorum == 5


def test_a_voter_goes_on_under_a_new_key_at_once() -> None:
    """Its votes count under the new key, and the old one loses its own with the next decision."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    BEN.becomes(ledger, CLEO)
    assert roles(folded(ledger)) == {"Anna": "voter", "Ben": "voter"}
    membership = refreshed(ledger, [ANNA, CLEO])
    assert [seat.key for seat in membership.charter.seats] == [ANNA.public, CLEO.public]
    assert membership.voters[BEN.public].public == CLEO.public
    assert membership.may_admit(CLEO.public)
    CLEO.admits(ledger, DARA)
    membership = decided(ledger, [ANNA, CLEO], MAKE_VOTER, DARA)
    assert membership.charter.quorum == 3
    assert not ledger.epoch().tally.votes(0)
    BEN.signs(ledger, Vote(Slot(EPOCH, 4), 0, None))
    assert not ledger.epoch().tally.votes(0)


def test_who_goes_on_under_another_voters_key_gets_no_second_vote() -> None:
    """Nor does the other one, and nothing that was decided is undone."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    CLEO.becomes(ledger, BEN)
    decided(ledger, [ANNA, BEN], SHOW_OUT, CLEO)
    assert folded(ledger).charter.number == 2
    assert len({*folded(ledger).charter.seats}) == 3
    assert ledger.epoch().tally.votes(0).keys() != set()
    assert [set(found) for found in ledger.epoch().tally.votes(0).values()] == [{ANNA.public, BEN.public}]


def test_a_paper_gives_a_lost_boards_seat_to_another_board() -> None:
    """Of three voters one is lost: without it nothing can be decided, until its owner types the words elsewhere."""
    paper = Person("Cleo's paper")
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    CLEO.signs(ledger, Recovery(paper.public))
    refreshed(ledger, [ANNA, BEN, CLEO])
    ANNA.admits(ledger, DARA)  # the new board
    number = folded(ledger).number
    paper.signs(ledger, RotateKey(CLEO.public, DARA.statement))
    membership = folded(ledger)
    assert roles(membership) == {"Anna": "voter", "Ben": "voter", "Dara": "voter"}
    assert membership.voters[CLEO.public].public == DARA.public
    assert membership.number > number
    membership = decided(ledger, [ANNA, BEN, DARA], REFRESH)
    assert [seat.key for seat in membership.charter.seats] == [ANNA.public, BEN.public, DARA.public]


def test_a_paper_that_no_decision_knew_gives_nobody_a_seat() -> None:
    """Nor does another's, or an observer's own."""
    paper, other = Person("Cleo's paper"), Person("another paper")
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    BEN.signs(ledger, Recovery(other.public))
    refreshed(ledger, [ANNA, BEN, CLEO])
    CLEO.signs(ledger, Recovery(paper.public))
    for thief in (paper, other):
        thief.signs(ledger, RotateKey(CLEO.public, DARA.statement))
    assert folded(ledger).voters[CLEO.public].public == CLEO.public
    DARA.signs(ledger, Vote(Slot(EPOCH, 4), 0, None))
    assert not ledger.epoch().tally.votes(0)


def test_a_thief_of_a_key_loses_it_to_the_paper() -> None:
    """It goes on under its own key, even with a decision that knows of that; the paper's word comes first."""
    paper, thief = Person("Cleo's paper"), Person("a thief")
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    CLEO.signs(ledger, Recovery(paper.public))
    refreshed(ledger, [ANNA, BEN, CLEO])
    CLEO.becomes(ledger, thief)
    membership = refreshed(ledger, [ANNA, BEN, thief])
    assert membership.voters[CLEO.public].public == thief.public
    thief.signs(ledger, Recovery(Person("a thief's paper").public))
    refreshed(ledger, [ANNA, BEN, thief])
    late = thief.admits(copy_of(ledger), ELI)
    ANNA.admits(ledger, DARA)
    paper.signs(ledger, RotateKey(thief.public, DARA.statement))
    ledger.add(late)  # signed at the same time: ignored
    membership = folded(ledger)
    assert membership.voters[CLEO.public].public == DARA.public
    assert "Eli" not in roles(membership)
    membership = refreshed(ledger, [ANNA, BEN, DARA])
    assert [seat.key for seat in membership.charter.seats] == [ANNA.public, BEN.public, DARA.public]


def test_a_paper_can_be_replaced_by_itself_alone() -> None:
    """What was registered first counts; the paper names the next."""
    papers = [Person(f"paper {number}") for number in range(3)]
    ledger = ANNA.founds()
    ANNA.signs(ledger, Recovery(papers[0].public))
    assert refreshed(ledger, [ANNA]).charter.seats[0].recovery == papers[0].public
    ANNA.signs(ledger, Recovery(papers[1].public))
    assert refreshed(ledger, [ANNA]).charter.seats[0].recovery == papers[0].public
    papers[0].signs(ledger, Recovery(papers[2].public))
    assert refreshed(ledger, [ANNA]).charter.seats[0].recovery == papers[2].public


def split(first: str, second: str) -> tuple[Ledger, Ledger]:
    """Three voters sign two certificates for one slot, which takes that all of them lie."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    ANNA.admits(ledger, DARA)
    elsewhere = copy_of(ledger)
    decided(ledger, [ANNA, BEN, CLEO], first, DARA)
    decided(elsewhere, [ANNA, BEN, CLEO], second, DARA)
    return ledger, elsewhere


def test_a_fork_leaves_the_last_common_epoch_in_force() -> None:
    """Whoever sees both certificates; nothing after it counts, and the number never falls."""
    ledger, elsewhere = split(MAKE_VOTER, SHOW_OUT)
    ANNA.admits(ledger, ELI)  # after she signed two entries for one place
    decided(ledger, [ANNA, BEN, CLEO, DARA], MAKE_VOTER, ELI)
    sides = [folded(ledger), folded(elsewhere)]
    assert [roles(side).get("Dara") for side in sides] == ["voter", None]
    union = merged(ledger, elsewhere)
    membership = folded(union)
    assert len(membership.rivals) == 2
    assert membership.charter.number == 2
    assert roles(membership) == dict.fromkeys(NAMES[:3], "voter") | {"Dara": "observer"}
    assert membership.number > max(side.number for side in sides)
    assert not folded(ledger).rivals


def test_ballots_that_prove_nothing_change_nothing() -> None:
    """Locks and commits out of thin air, of slots far away, by nobody."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    before = folded(ledger)
    for number in (0, 1, 2, 3, 2**40):
        slot = Slot(EPOCH, number)
        ANNA.signs(ledger, Lock(slot, 0, b"?" * 32, ()))
        BEN.signs(ledger, Commit(slot, 0, b"?" * 32, ()))
    BEN.signs(ledger, Commit(Slot("another", 2), 0, b"?" * 32, ()))
    assert folded(ledger) == before


def test_a_voters_removal_by_a_stranger_is_not_its_leaving() -> None:
    """Only its own word is."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    ANNA.signs(ledger, Remove(BEN.public, "left"))
    assert not ledger.epoch().tally.left
    assert decided(ledger, [ANNA], SHOW_OUT, BEN).charter.number == 1


@pytest.mark.parametrize("what", ["another voter's key", "a circle", "a circle of papers", "a way into a circle"])
def test_no_voter_keeps_the_others_deciding_for_ever(what: str) -> None:
    """What was taken up needs to be taken up no more, wherever somebody's keys and papers lead."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    papers = [Person(f"paper {number}") for number in range(2)]
    if what == "another voter's key":
        BEN.becomes(ledger, ANNA)
    elif what == "a circle of papers":
        BEN.signs(ledger, Recovery(papers[0].public))
        papers[0].signs(ledger, Recovery(papers[1].public))
        papers[1].signs(ledger, Recovery(papers[0].public))
    else:
        BEN.becomes(ledger, CLEO)
        CLEO.becomes(ledger, DARA)
        DARA.becomes(ledger, BEN if what == "a circle" else CLEO)
    if what == "a circle of papers":
        assert refreshed(ledger, [ANNA, BEN]).charter.seats[1].recovery == papers[0].public
    assert not folded(ledger).is_stale


def test_two_rotations_by_one_paper_stand_in_one_order() -> None:
    """Whichever of them came first."""
    ledger = voters(ANNA.founds(), ANNA)
    paper = Person("Anna's paper")
    ANNA.signs(ledger, Recovery(paper.public))
    refreshed(ledger, [ANNA])
    place = ledger.next_place(paper.public)
    for person in (BEN, CLEO):
        paper.signs(ledger, RotateKey(ANNA.public, person.statement), place=place)
    *before, one, other = ledger.entries
    assert fold([*before, one, other]) == fold([*before, other, one])


def test_a_paper_is_not_lost_with_a_key_that_was_replaced_at_once() -> None:
    """It was registered before the rotation; whoever registers one under the old key afterwards gets nothing."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    paper, thief = Person("Ben's paper"), Person("a thief's paper")
    place = ledger.next_place(BEN.public)
    BEN.signs(ledger, Recovery(paper.public))
    BEN.becomes(ledger, DARA)
    BEN.signs(ledger, Recovery(thief.public), place=place)
    [_, seat] = refreshed(ledger, [ANNA, DARA]).charter.seats
    assert (seat.key, seat.recovery) == (DARA.public, paper.public)
    assert not folded(ledger).is_stale


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_an_old_proposal_finds_whom_it_names_under_the_seat_of_that_time(moves: int) -> None:
    """Whoever went on under another key meanwhile, and was no longer under the first when it was named."""
    ledger = voters(ANNA.founds(), *PEOPLE[:4])
    named = DARA
    for number in range(moves):
        following = Person(f"Dara, key {number}")
        named.becomes(ledger, following)
        named = following
    old = ANNA.signs(ledger, Proposal(SHOW_OUT, named.public, ""))
    named.becomes(ledger, ELI)
    refreshed(ledger, [ANNA, BEN, CLEO])
    membership = agree(ledger, [ANNA, BEN, CLEO], old)
    assert roles(membership) == {"Anna": "voter", "Ben": "voter", "Cleo": "voter"}


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7])
def test_dead_boards_up_to_the_limit_stop_nothing_and_one_more_stops_everything(number: int) -> None:
    """As many as a quorum leaves over; with one more nothing is decided until it is back."""
    ledger = voters(ANNA.founds(), *PEOPLE[:number])
    quorum = folded(ledger).charter.quorum
    assert amended(ledger, PEOPLE[:quorum], Amendment(0, 0, 5, "")).charter.rules.invitations == 5
    proposal = ANNA.signs(ledger, Amendment(0, 0, 6, ""))
    assert agree(ledger, PEOPLE[: quorum - 1], proposal).charter.rules.invitations == 5
    assert agree(ledger, PEOPLE[:quorum], proposal).charter.rules.invitations == 6


@pytest.mark.parametrize("late", [False, True], ids=["before the commit", "after the commit"])
def test_who_votes_twice_has_one_vote_for_each_and_undoes_nothing(*, late: bool) -> None:
    """One of four, with one entry for one place of its feed each; whoever sees both has the proof."""
    ledger = voters(ANNA.founds(), *PEOPLE[:4])
    for person in (ELI, FINN):
        ANNA.admits(ledger, person)
    values = [proposed(ledger, ANNA, MAKE_VOTER, person) for person in (ELI, FINN)]
    slot, place = ledger.epoch().tally.slot, ledger.next_place(DARA.public)
    votes = [write_entry(DARA.seed, ledger.community, place, Vote(slot, 0, value.id)) for value in values]
    if not late:
        for vote in votes:
            ledger.add(vote)
        found = ledger.epoch().tally.votes(0)
        assert {value: set(who) for value, who in found.items()} == {value.id: {DARA.public} for value in values}
    membership = agree(ledger, [ANNA, BEN, CLEO], values[0])
    for vote in votes:
        ledger.add(vote)
    assert ledger.equivocations.keys() == {DARA.public}
    assert (folded(ledger).charter, folded(ledger).rivals) == (membership.charter, ())
    assert (roles(membership)["Eli"], roles(membership)["Finn"]) == ("voter", "observer")
