"""What can be decided on: what a voter proposed, was not decided yet, and would change something."""

from mesh.core.agenda import has_quorum_of_votes, own_log
from mesh.core.ballots import (
    EPOCH,
    MAKE_OBSERVER,
    MAKE_VOTER,
    MAX_ROUND,
    REFRESH,
    SHOW_OUT,
    Amendment,
    Proposal,
    Recovery,
    Slot,
    Vote,
)
from mesh.core.docket import MAX_PROPOSED
from mesh.core.ledger import Ledger
from tests.mesh.core.council import agree, decided, folded, proposed, voters
from tests.mesh.core.world import Person

ANNA, BEN, CLEO, DARA = (Person(name) for name in ("Anna", "Ben", "Cleo", "Dara"))


def agenda(ledger: Ledger) -> set[bytes]:
    """The ids of what can be decided on."""
    return {motion.id for motion in ledger.motions()}


def test_only_what_a_voter_proposed_and_would_change_something_is_on_it() -> None:
    """Roles that somebody has already, strangers, present rules and words of other versions are not."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    ANNA.admits(ledger, CLEO)
    useful = [
        proposed(ledger, ANNA, MAKE_VOTER, CLEO),
        proposed(ledger, BEN, MAKE_OBSERVER, ANNA),
        proposed(ledger, BEN, SHOW_OUT, CLEO),
        ANNA.signs(ledger, Amendment(1, 0, 16, "")),
    ]
    for what, whom in (
        (MAKE_VOTER, BEN),
        (MAKE_VOTER, DARA),
        (MAKE_OBSERVER, CLEO),
        (SHOW_OUT, DARA),
        ("reverse", BEN),
    ):
        proposed(ledger, ANNA, what, whom)
    proposed(ledger, CLEO, MAKE_VOTER, CLEO)
    proposed(ledger, ANNA, REFRESH)
    ANNA.signs(ledger, Amendment(0, 0, 16, ""))
    assert agenda(ledger) == {entry.id for entry in useful}
    assert not any(motion.is_routine for motion in ledger.motions())


def test_what_was_decided_is_on_it_no_more() -> None:
    """Though it could be done again: who wants that proposes it anew."""
    ledger = voters(ANNA.founds(), ANNA)
    ANNA.admits(ledger, BEN)
    proposal = proposed(ledger, ANNA, MAKE_VOTER, BEN)
    agree(ledger, [ANNA], proposal)
    decided(ledger, [ANNA, BEN], MAKE_OBSERVER, BEN)
    assert agenda(ledger) == set()
    again = proposed(ledger, ANNA, MAKE_VOTER, BEN)
    assert agenda(ledger) == {again.id}


def test_the_last_member_and_the_last_voter_stay() -> None:
    """There is nothing to decide about them."""
    ledger = ANNA.founds()
    proposed(ledger, ANNA, SHOW_OUT, ANNA)
    proposed(ledger, ANNA, MAKE_OBSERVER, ANNA)
    assert agenda(ledger) == set()


def test_what_needs_nobodys_consent_is_on_it_while_there_is_any() -> None:
    """A paper, a new key, a leaving; not what was taken up."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    assert not folded(ledger).is_stale
    BEN.signs(ledger, Recovery(Person("a paper").public))
    assert folded(ledger).is_stale
    refresh = proposed(ledger, ANNA, REFRESH)
    [motion] = ledger.motions()
    assert (motion.id, motion.is_routine) == (refresh.id, True)
    agree(ledger, [ANNA, BEN], refresh)
    assert (agenda(ledger), folded(ledger).is_stale) == (set(), False)
    BEN.becomes(ledger, CLEO)
    assert folded(ledger).is_stale


def test_a_motion_tells_who_votes_for_it_and_who_has_seen_it() -> None:
    """Seen by its author, and by who signs anything on top of it."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    proposal = ANNA.signs(ledger, Proposal(SHOW_OUT, CLEO.public, ""))
    slot = Slot(EPOCH, 3)
    steps = []
    for person, body in ((ANNA, None), (ANNA, Vote(slot, 0, proposal.id)), (BEN, Vote(slot, 0, None)), (CLEO, None)):
        if body is not None:
            person.signs(ledger, body)
        [motion] = ledger.motions()
        steps.append((motion.seen, len(motion.agreed), has_quorum_of_votes(ledger.epoch().tally)))
    assert steps == [(1, 0, False), (1, 1, False), (2, 1, False), (2, 1, False)]
    CLEO.signs(ledger, Vote(slot, 0, None))
    assert has_quorum_of_votes(ledger.epoch().tally)
    log = own_log(ledger.ballots(), ledger.epoch().tally, BEN.public)
    assert (log.votes, log.locks) == ({0: None}, {})


def test_one_voter_has_so_much_on_it_and_no_more() -> None:
    """What it proposed last; observers have nothing there."""
    ledger = voters(ANNA.founds(), ANNA)
    ANNA.admits(ledger, BEN)
    entries = [person.signs(ledger, Amendment(0, 0, number, "")) for number in range(40) for person in (BEN, ANNA)]
    last = [entry.id for entry in entries if entry.author == ANNA.public][-MAX_PROPOSED:]
    assert agenda(ledger) == {*last}


def test_who_votes_in_a_round_far_away_hides_nothing() -> None:
    """Nor does it cost anything: the round that is open is the one that counts."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    proposal = ANNA.signs(ledger, Amendment(1, 0, 16, ""))
    slot = Slot(EPOCH, 2)
    BEN.signs(ledger, Vote(slot, MAX_ROUND, None))
    ANNA.signs(ledger, Vote(slot, 0, proposal.id))
    [motion] = ledger.motions()
    assert motion.agreed == {ANNA.public}
    assert agree(ledger, [ANNA, BEN], proposal).charter.number == 1  # Ben has left the rounds before behind
    assert ledger.epoch().tally.rounds == MAX_ROUND + 1
