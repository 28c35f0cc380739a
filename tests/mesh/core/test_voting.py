"""Voters agree on one value at most, whatever comes in which order and whoever lies; and on one, where they want to."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core.ballots import Commit, Lock, Vote
from mesh.core.entries import Entry
from mesh.core.tally import Tally, quorum_of
from mesh.core.voting import VotingLog, next_step
from tests.sim.assembly import ALE, BEER, CIDER, SLOT, Assembly, Pen, electorate_of

APPROVALS = [[ALE], [BEER], [ALE, BEER], [BEER, ALE]]


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.integers(4, 7), st.lists(st.sampled_from(APPROVALS), min_size=1, max_size=7))
def test_liars_never_make_voters_decide_two_things(seed: int, size: int, approved: list[list[bytes]]) -> None:
    """As many as there may be of four to seven; whatever anybody signed is looked at together in the end."""
    liars = size - quorum_of(size)
    assembly = Assembly(size - liars, liars, chance=random.Random(seed), approved=approved)  # noqa: S311  drawn
    assembly.run()
    assembly.hurry()
    assert len(assembly.all.decided) <= 1
    assert all(voter.tally.decided <= assembly.all.decided for voter in assembly.voters)


@pytest.mark.parametrize("size", [4, 100])
def test_one_equivocator_forks_neither_four_nor_a_hundred(size: int) -> None:
    """Nor does it keep them from deciding."""
    chance = random.Random(size)  # noqa: S311  the same each time
    assembly = Assembly(size - 1, 1, chance=chance, approved=[[ALE, BEER], [BEER, ALE]])
    assembly.run()
    assembly.hurry(times=20)
    assert len(assembly.all.decided) == 1


def test_thirty_three_equivocators_do_not_fork_a_hundred() -> None:
    """As many as a hundred voters bear; for as long as they lie, nothing need come of it."""
    chance = random.Random(33)  # noqa: S311  the same each time
    assembly = Assembly(67, 33, chance=chance, approved=[[ALE, BEER], [BEER, ALE]])
    assembly.run()
    assembly.hurry()
    assert len(assembly.all.decided) <= 1


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 7))
def test_who_agrees_decides(seed: int, size: int) -> None:
    """However it comes; and each writes no more than a vote, a lock and a commit."""
    assembly = Assembly(size, 0, chance=random.Random(seed), approved=[[ALE]])  # noqa: S311  drawn
    assembly.run()
    assert {voter.tally.decided for voter in assembly.voters} == {frozenset({ALE})}
    assert all(set(voter.log.votes) == {0} for voter in assembly.voters)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(2, 7))
def test_who_agrees_with_several_meets_in_the_next_round(seed: int, size: int) -> None:
    """Half prefer one, half the other: the first round is lost, and they go with most."""
    assembly = Assembly(size, 0, chance=random.Random(seed), approved=[[ALE, BEER], [BEER, ALE]])  # noqa: S311  drawn
    assembly.run()
    assembly.hurry()
    assert len(assembly.all.decided) == 1


@pytest.mark.parametrize(
    "approved", [[[ALE], [BEER]], [[ALE], [ALE], []], [[ALE], [BEER], []], [[ALE], [BEER], [CIDER]]]
)
@pytest.mark.parametrize("size", [3, 6])
def test_who_differ_for_good_come_to_rest(approved: list[list[bytes]], size: int) -> None:
    """After a few rounds nobody signs anything more, until an owner thinks again."""
    assembly = Assembly(size, 0, chance=random.Random(1), approved=approved)  # noqa: S311  the same each time
    assembly.run()
    assert not assembly.all.decided
    assert assembly.all.rounds <= 5
    for voter in assembly.voters:
        voter.approved = [ALE, *(voter.approved or ())]
    assembly.run()
    assert assembly.all.decided == {ALE}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(3, 7))
def test_what_too_few_agree_with_makes_room_for_what_all_do(seed: int, size: int) -> None:
    """Though most prefer it."""
    many = quorum_of(size) - 1
    approved = [[ALE, BEER]] * many + [[BEER]] * (size - many)
    assembly = Assembly(size, 0, chance=random.Random(seed), approved=approved)  # noqa: S311  drawn
    assembly.run()
    assembly.hurry()
    assert assembly.all.decided == {BEER}


@pytest.mark.parametrize("approved", [[], None])
def test_who_agrees_with_nothing_keeps_nobody_from_it(approved: list[bytes] | None) -> None:
    """One of four says none, or nothing at all: the other three are enough."""
    assembly = Assembly(4, 0, chance=random.Random(1), approved=[[ALE]])  # noqa: S311  the same each time
    assembly.voters[0].approved = approved
    assembly.run()
    assert assembly.all.decided == {ALE}


def test_a_minority_decides_nothing() -> None:
    """Three of five, where four are needed, whatever they agree on and however long they wait."""
    assembly = Assembly(5, 0, chance=random.Random(1), approved=[[ALE]])  # noqa: S311  the same each time
    assembly.voters = assembly.voters[:3]
    assembly.run()
    assembly.hurry()
    assert not assembly.all.decided
    assert all(voter.log.locked is None for voter in assembly.voters)


class Table:
    """Four voters; a test says what each of them signs."""

    def __init__(self) -> None:
        self.pens = [Pen(number) for number in range(4)]
        self.tally = Tally(SLOT, electorate_of(self.pens))

    def votes(self, number: int, *values: bytes | None) -> list[Entry]:
        """Have the first ones vote."""
        bodies = [Vote(SLOT, number, value) for value in values]
        return self._signed(bodies)

    def locks(self, number: int, *values: bytes | None, citing: list[Entry]) -> list[Entry]:
        """Have the first ones lock, for what of it is a vote for the same; for none, for all of it."""
        return self._signed([Lock(SLOT, number, value, _ids(citing, value)) for value in values])

    def lose(self, number: int) -> None:
        """Spend a round in which all agree on nothing."""
        self.locks(number, None, None, None, citing=self.votes(number, None, None, None))

    def _signed(self, bodies: Sequence[Vote | Lock]) -> list[Entry]:
        entries = [pen.sign(body) for pen, body in zip(self.pens, bodies, strict=False)]
        for entry in entries:
            self.tally.add(entry)
        return entries


def _ids(citing: list[Entry], value: bytes | None) -> tuple[bytes, ...]:
    votes = [entry for entry in citing if isinstance(entry.body, Vote) and value in (None, entry.body.value)]
    return tuple(sorted(entry.id for entry in votes))


def _locked_on_ale() -> Table:
    """A round that some left locked on it, and some on nothing, for they saw other votes."""
    table = Table()
    votes = table.votes(0, ALE, ALE, ALE, BEER)
    table.locks(0, ALE, ALE, citing=votes)
    none = Lock(SLOT, 0, None, _ids([votes[0], votes[1], votes[3]], None))
    for pen in table.pens[2:]:
        table.tally.add(pen.sign(none))
    return table


def test_who_is_locked_votes_for_it_in_later_rounds() -> None:
    """Whatever its owner would rather have now, and also where its owner says nothing."""
    table = _locked_on_ale()
    log = VotingLog(votes={0: ALE}, locks={0: ALE})
    for approved in ([BEER], [], None):
        assert next_step(table.tally, log, approved=approved) == Vote(SLOT, 1, ALE)


def test_it_goes_over_to_what_a_quorum_voted_for_later_if_its_owner_agrees() -> None:
    """Being shown these votes is what sets it free; a vote that it was locked for is none."""
    table = _locked_on_ale()
    votes = table.votes(1, BEER, BEER, BEER, None)
    for pen in table.pens[1:]:
        table.tally.add(pen.sign(Lock(SLOT, 1, None, _ids(votes[1:], None))))
    log = VotingLog(votes={0: ALE, 1: ALE}, locks={0: ALE, 1: None})
    assert next_step(table.tally, log, approved=[BEER]) == Vote(SLOT, 2, BEER)
    assert next_step(table.tally, log, approved=[]) == Vote(SLOT, 2, ALE)
    again = VotingLog(votes={0: ALE, 1: ALE}, locks={0: None, 1: ALE})
    assert next_step(table.tally, again, approved=[BEER]) == Vote(SLOT, 2, ALE)


def test_a_round_it_took_no_part_in_is_left_behind() -> None:
    """Whoever slept goes on where the others are."""
    table = Table()
    table.lose(0)
    table.lose(1)
    assert next_step(table.tally, VotingLog(), approved=[ALE]) == Vote(SLOT, 2, ALE)
    assert next_step(table.tally, VotingLog(votes={4: ALE}), approved=[ALE]) is None


def test_what_was_signed_is_never_signed_otherwise() -> None:
    """Once a round, and nothing of a round that was left."""
    log = VotingLog(votes={0: ALE, 2: BEER}, locks={1: None})
    for body in (
        Vote(SLOT, 0, BEER),
        Vote(SLOT, 1, ALE),
        Vote(SLOT, 2, ALE),
        Lock(SLOT, 1, ALE, ()),
        Lock(SLOT, 0, ALE, ()),
    ):
        assert not log.allows(body)
    assert log.allows(Lock(SLOT, 2, ALE, ()))
    assert log.allows(Vote(SLOT, 3, ALE))


def test_once_it_is_decided_nothing_more_is_signed() -> None:
    """By those neither who come late."""
    table = Table()
    locks = table.locks(0, ALE, ALE, ALE, citing=table.votes(0, ALE, ALE, ALE))
    commit = next_step(table.tally, VotingLog(), approved=None)
    assert commit == Commit(SLOT, 0, ALE, tuple(sorted(lock.id for lock in locks)))
    assert isinstance(commit, Commit)
    table.tally.add(table.pens[3].sign(commit))
    assert next_step(table.tally, VotingLog(), approved=[BEER]) is None


def test_nobody_is_bound_before_notice() -> None:
    """What too few have seen is not locked, though enough have voted; none of them is noticed by everybody."""
    table = Table()
    table.votes(0, ALE, ALE, ALE)
    log = VotingLog(votes={0: ALE})
    assert next_step(table.tally, log, approved=[ALE], noticed=[]) is None
    lock = next_step(table.tally, log, approved=[ALE], noticed=[ALE])
    assert isinstance(lock, Lock)
    assert lock.value == ALE
