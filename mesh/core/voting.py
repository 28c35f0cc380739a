"""What an honest voter signs next for a slot, so that no two values of it can ever both be certified.

A round: vote for a value; lock it once a quorum has voted for it, or lock none once a quorum has voted without
agreeing.  A quorum of locks on a value is a commit; a quorum of locks without one opens the next round.  Who is locked
on a value votes for it in every later round, unless shown that a quorum voted for another one after that.

Why this holds with up to a third of dishonest voters: any two quorums share an honest one.  If a quorum locked v in a
round, then in the first later round in which a quorum votes for another value, an honest voter that was locked on v is
among them; it voted against its lock, so it was shown such a quorum in an earlier round: a contradiction.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mesh.core.ballots import Commit, Lock, Slot, Vote
from mesh.core.entries import Body
from mesh.core.tally import Tally, Value

TRIES: Final = 2


@dataclass(frozen=True)
class VotingLog:
    """What this voter has signed for the slot, by round.  It is on the disk before anybody sees it."""

    votes: Mapping[int, Value] = field(default_factory=dict)
    locks: Mapping[int, Value] = field(default_factory=dict)
    commits: frozenset[int] = frozenset()

    @classmethod
    def of(cls, slot: Slot, signed: Iterable[Body]) -> "VotingLog":
        """Read it from what this voter has signed, of whatever kind."""
        ballots = [body for body in signed if isinstance(body, Vote | Lock | Commit) and body.slot == slot]
        return cls(
            {body.round: body.value for body in ballots if isinstance(body, Vote)},
            {body.round: body.value for body in ballots if isinstance(body, Lock)},
            frozenset(body.round for body in ballots if isinstance(body, Commit)),
        )

    @property
    def last_round(self) -> int:
        """The latest round it took part in; 0 where there is none."""
        return max((*self.votes, *self.locks), default=0)

    @property
    def locked(self) -> tuple[int, bytes] | None:
        """The value it is locked on, and since which round."""
        return max(((number, value) for number, value in self.locks.items() if value is not None), default=None)

    def allows(self, body: Vote | Lock) -> bool:
        """Whether it may be signed after what was signed before: once a round, and nothing of an earlier round."""
        if isinstance(body, Vote):
            return body.round >= self.last_round and body.round not in {*self.votes, *self.locks}
        return body.round >= self.last_round and body.round not in self.locks


def next_step(
    tally: Tally,
    log: VotingLog,
    *,
    approved: Sequence[bytes] | None,
    noticed: Container[bytes] | None = None,
    impatient: bool = False,
) -> Vote | Lock | Commit | None:
    """Say what this voter signs next; None while there is nothing to do, or the slot is decided.

    approved: the values its owner agrees with, the likeliest first; empty: with none; None: the owner has yet to say.
    noticed: what enough voters have seen to be bound to it; None: anything.
    impatient: a quorum has voted and time enough has passed: whoever has not is not waited for.
    """
    if tally.decided:
        return None
    number = max(open_round(tally), log.last_round)
    commit = _commit(tally)
    if commit is not None:
        return None if commit.round in log.commits else commit
    lock = _lock(tally, number, impatient=impatient)
    if lock is not None and log.allows(lock):
        return lock if noticed is None or lock.value is None or lock.value in noticed else None
    if log.locked is None and not _may_vote(tally, log, number, approved):
        return None
    vote = Vote(tally.slot, number, _choice(tally, log, number, approved or ()))
    return vote if log.allows(vote) else None


def _may_vote(tally: Tally, log: VotingLog, number: int, approved: Sequence[bytes] | None) -> bool:
    """Whether a vote could lead anywhere; else owners who differ would open one round after another for ever.

    Each value is tried in TRIES rounds, and again whenever somebody else votes for it first.  None of them helps only
    to end a round in which others are divided.
    """
    if approved is None:
        return False
    others = {value for value in tally.votes(number) if value is not None}
    if not approved:
        return len(others) > 1
    return any(value in others or _tries(log, value) < TRIES for value in approved)


def _tries(log: VotingLog, value: bytes) -> int:
    return sum(voted == value for voted in log.votes.values())


def open_round(tally: Tally) -> int:
    """Return the first round that a quorum has not left without a winner, whatever anybody signs for later ones."""
    number = 0
    while number < tally.rounds and _is_lost(tally, number):
        number += 1
    return number


def _is_lost(tally: Tally, number: int) -> bool:
    locks = tally.locks(number)
    voters = {*tally.left, *(voter for voters in locks.values() for voter in voters)}
    return _agreed(tally, locks) is None and len(voters) >= tally.electorate.quorum


def _commit(tally: Tally) -> Commit | None:
    for number in tally.locked_rounds:
        value = _agreed(tally, tally.locks(number))
        if value is not None:
            return Commit(tally.slot, number, value, _cited(tally, tally.locks(number)[value]))
    return None


def _lock(tally: Tally, number: int, *, impatient: bool) -> Lock | None:
    votes, quorum = tally.votes(number), tally.electorate.quorum
    value = _agreed(tally, votes)
    if value is not None:
        return Lock(tally.slot, number, value, _cited(tally, votes[value]))
    one_of_each = {voter: entry_id for voters in votes.values() for voter, entry_id in voters.items()}
    one_of_each |= tally.left
    missing = len(tally.electorate.voters) - len(one_of_each)
    most = max(
        (len({*voters, *tally.left}) for value, voters in votes.items() if value is not None), default=len(tally.left)
    )
    if len(one_of_each) >= quorum and (impatient or most + missing < quorum):
        return Lock(tally.slot, number, None, _cited(tally, one_of_each))
    return None


def _choice(tally: Tally, log: VotingLog, number: int, approved: Sequence[bytes]) -> Value:
    if log.locked is not None:
        since, value = log.locked
        shown = [_agreed(tally, tally.votes(later)) for later in range(since + 1, number)]
        return next((other for other in reversed(shown) if other in approved), value)
    if not approved:
        return None
    here, before = tally.votes(number), tally.votes(number - 1)
    left = [value for value in approved if value in here or _tries(log, value) < TRIES]
    if number == 0:
        return left[0]
    # After a round that was lost, whoever agrees with several goes with most others: so they meet.  What lost though
    # everybody could have gone with it has too few who agree.
    return min(left, key=lambda value: (_failures(tally, value, number), -len(before.get(value, ())), value))


def _failures(tally: Tally, value: bytes, number: int) -> int:
    """Count the lost rounds in which most had voted for the value just before."""
    lost = 0
    for earlier in range(number - 1):
        votes = tally.votes(earlier)
        most = max((len(voters) for other, voters in votes.items() if other is not None), default=0)
        lost += most > 0 and len(votes.get(value, ())) == most
    return lost


def _agreed(tally: Tally, found: Mapping[Value, Mapping[bytes, bytes]]) -> Value:
    """Return the value that a quorum stands for; None where there is no such value."""
    quorum, left = tally.electorate.quorum, tally.left
    values = (value for value, voters in found.items() if value is not None and len({*voters, *left}) >= quorum)
    return min(values, default=None)


def _cited(tally: Tally, voters: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    """Give the entries to cite: those of a quorum, one of each voter, of those who have left their last."""
    return tuple(sorted({**voters, **tally.left}.values())[: tally.electorate.quorum])
