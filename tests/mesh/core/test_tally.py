"""What counts as a lock and as a certificate: what is cited, and nothing else."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.ballots import Commit, Lock, Proposal, Slot, Vote
from mesh.core.entries import Entry, Remove
from mesh.core.tally import Tally, quorum_of
from tests.sim.assembly import ALE, BEER, SLOT, Pen, electorate_of

PENS = [Pen(number) for number in range(5)]
FOUR = electorate_of(PENS[:4])
VOTES = [pen.sign(Vote(SLOT, 0, ALE)) for pen in PENS[:3]]
IDS = tuple(sorted(vote.id for vote in VOTES))
LOCKS = [pen.sign(Lock(SLOT, 0, ALE, IDS)) for pen in PENS[:3]]
LOCK_IDS = tuple(sorted(lock.id for lock in LOCKS))
COMMIT = PENS[4].sign(Commit(SLOT, 0, ALE, LOCK_IDS))  # anybody may write it down
STRAY = PENS[3].sign(Vote(SLOT, 0, BEER))
ALL = [*VOTES, *LOCKS, COMMIT, STRAY]


@pytest.mark.parametrize(("voters", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (100, 67)])
def test_more_than_two_thirds_decide(voters: int, quorum: int) -> None:
    """So that two quorums share more than a third."""
    assert quorum_of(voters) == quorum
    assert 3 * (2 * quorum - voters) > voters


@given(st.permutations(ALL), st.lists(st.sampled_from(ALL), max_size=8))
def test_the_order_makes_no_difference(entries: list[Entry], again: list[Entry]) -> None:
    """What cites something waits for it; what comes twice counts once."""
    tally = Tally(SLOT, FOUR, [*again, *entries])
    assert tally.decided == {ALE}
    assert tally.votes(0) == {ALE: {vote.author: vote.id for vote in VOTES}, BEER: {STRAY.author: STRAY.id}}
    assert tally.locks(0) == {ALE: {lock.author: lock.id for lock in LOCKS}}
    assert (tally.rounds, tally.votes(1), tally.locks(1)) == (1, {}, {})


def test_without_any_one_of_them_nothing_is_decided() -> None:
    """Three of four are needed, and what they cite."""
    for left_out in ALL[:-1]:
        assert not Tally(SLOT, FOUR, [entry for entry in ALL if entry is not left_out]).decided


@pytest.mark.parametrize(
    "lock",
    [
        Lock(SLOT, 0, ALE, IDS[:2]),  # fewer than a quorum
        Lock(SLOT, 0, BEER, IDS),  # votes for something else
        Lock(SLOT, 1, ALE, IDS),  # of another round
        Lock(SLOT, 0, None, IDS),  # agreed, and says that they did not
        Lock(SLOT, 0, None, ()),
        Lock(SLOT, 0, ALE, (*sorted([*IDS, STRAY.id]),)),  # and another vote among them
        Lock(SLOT, 0, ALE, tuple(sorted([*IDS[1:], b"?" * 32]))),  # one that nobody has seen
        Lock(replace(SLOT, number=2), 0, ALE, IDS),  # another slot's
        Lock(replace(SLOT, series="another"), 0, ALE, IDS),
    ],
)
def test_a_lock_that_its_votes_do_not_prove_counts_nothing(lock: Lock) -> None:
    """Whoever signs it."""
    tally = Tally(SLOT, FOUR, [*VOTES, STRAY, PENS[3].sign(lock)])
    assert not any(itertools.chain(tally.locks(0).values(), tally.locks(1).values()))


def test_a_lock_on_nothing_counts_once_a_quorum_has_voted_without_agreeing() -> None:
    """However the cited votes are mixed."""
    lock = PENS[3].sign(Lock(SLOT, 0, None, tuple(sorted([*IDS[:2], STRAY.id]))))
    assert Tally(SLOT, FOUR, [*VOTES, STRAY, lock]).locks(0) == {None: {lock.author: lock.id}}


@pytest.mark.parametrize(
    "commit",
    [
        Commit(SLOT, 0, ALE, LOCK_IDS[:2]),
        Commit(SLOT, 0, BEER, LOCK_IDS),
        Commit(SLOT, 1, ALE, LOCK_IDS),
        Commit(SLOT, 0, ALE, IDS),  # votes are no locks
        Commit(SLOT, 0, ALE, ()),
        Commit(replace(SLOT, number=2), 0, ALE, LOCK_IDS),
    ],
)
def test_a_commit_that_its_locks_do_not_prove_decides_nothing(commit: Commit) -> None:
    """Whoever signs it."""
    tally = Tally(SLOT, FOUR, [*VOTES, *LOCKS, PENS[0].sign(commit)])
    assert not tally.decided
    assert not tally.certificates(commit.value)


def test_who_has_no_vote_is_not_counted() -> None:
    """Its votes and locks are as if they were not there."""
    vote = PENS[4].sign(Vote(SLOT, 0, ALE))
    cited = tuple(sorted([*IDS[:2], vote.id]))
    lock = PENS[4].sign(Lock(SLOT, 0, ALE, IDS))
    tally = Tally(SLOT, FOUR, [*VOTES, vote, lock, PENS[0].sign(Lock(SLOT, 0, ALE, cited))])
    assert len(tally.votes(0)[ALE]) == 3
    assert not tally.locks(0)
    assert not Tally(SLOT, FOUR, [PENS[0].sign(Proposal("promote", bytes(32), ""))]).rounds


def test_a_voter_with_two_keys_has_one_vote() -> None:
    """Of two votes of a value it is the one with the lower id that is shown; two values make no two voters of it."""
    anna, ben = PENS[1], PENS[2]
    electorate = electorate_of([anna, ben], (PENS[0], anna))
    assert (len(electorate.voters), electorate.quorum) == (2, 2)
    votes = [PENS[0].sign(Vote(SLOT, 0, ALE)), PENS[1].sign(Vote(SLOT, 0, ALE))]
    lock = PENS[2].sign(Lock(SLOT, 0, ALE, tuple(sorted(vote.id for vote in votes))))
    tally = Tally(SLOT, electorate, [*votes, lock])
    assert tally.votes(0) == {ALE: {anna.public: min(vote.id for vote in votes)}}
    assert not tally.locks(0)


def _leaving(*pens: Pen) -> list[Entry]:
    return [pen.sign(Remove(pen.public, "left")) for pen in pens]


def test_each_who_has_left_is_one_who_agrees() -> None:
    """Two of four who left and one vote are three; who voted before it left is still one."""
    gone = _leaving(PENS[2], PENS[3])
    lock = PENS[0].sign(Lock(SLOT, 0, BEER, (*sorted([STRAY.id, *(entry.id for entry in gone)]),)))
    tally = Tally(SLOT, FOUR, [STRAY, *gone, lock])
    assert tally.left == {entry.author: entry.id for entry in gone}
    assert not tally.locks(0)  # Pen 3's vote and its leaving, and another's leaving: two voters
    lock = PENS[0].sign(Lock(SLOT, 0, ALE, (*sorted([VOTES[0].id, *(entry.id for entry in gone)]),)))
    tally = Tally(SLOT, FOUR, [VOTES[0], *gone, lock])
    assert tally.locks(0) == {ALE: {lock.author: lock.id}}


def test_two_certificates_are_a_fork() -> None:
    """Only more than a third of liars can make them; then both are seen."""
    votes = [pen.sign(Vote(SLOT, 0, BEER)) for pen in PENS[:3]]
    ids = tuple(sorted(vote.id for vote in votes))
    locks = [pen.sign(Lock(SLOT, 0, BEER, ids)) for pen in PENS[:3]]
    commit = PENS[0].sign(Commit(SLOT, 0, BEER, tuple(sorted(lock.id for lock in locks))))
    assert Tally(SLOT, FOUR, [*ALL, *votes, *locks, commit]).decided == {ALE, BEER}


def test_slots_are_ordered() -> None:
    """By series, then by number."""
    assert Slot("a", 2) < Slot("a", 10) < Slot("b", 1)


def test_what_is_found_out_after_a_commit_undoes_nothing() -> None:
    """All of them turn out to have voted, and locked, for something else too: the certificate cites what it cites."""
    tally = Tally(SLOT, FOUR, ALL)
    second = [pen.sign(Vote(SLOT, 0, BEER)) for pen in PENS[:4]]
    ids = tuple(sorted(vote.id for vote in second[:3]))
    for entry in [*second, *(pen.sign(Lock(SLOT, 0, BEER, ids)) for pen in PENS[:4])]:
        tally.add(entry)
        assert tally.decided == {ALE}


def test_what_is_found_out_before_a_commit_leaves_who_lied_one_vote() -> None:
    """Two votes of one voter are two proofs against it, and never a second voter for either value."""
    tally = Tally(SLOT, FOUR, VOTES[:2])
    for value in (ALE, BEER, ALE):
        tally.add(PENS[3].sign(Vote(SLOT, 0, value)))
    assert len(tally.votes(0)[ALE]) == 3
    assert len(tally.votes(0)[BEER]) == 1
