"""What votes, locks and commits prove of one slot: a function of the set of entries.

Decisions 22 and 23 of docs/protocol.md.  The rules are Tendermint's (arXiv:1807.04938) with entries for messages.  A
lock counts if the votes it cites make a quorum, a commit if the locks it cites do; both are judged by what they cite
alone, so nothing that is learned later can undo them.  What cites an entry that is not here yet counts as soon as that
comes.  A voter who has left agrees with whatever the others decide: the removal it signed of itself is its vote and its
lock, in every round.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mesh.core.ballots import Commit, Lock, Slot, Vote
from mesh.core.entries import Entry, Remove

Value = bytes | None


def quorum_of(voters: int) -> int:
    """Say how many of so many voters decide: more than two thirds, so that any two quorums share an honest one."""
    return 2 * voters // 3 + 1


@dataclass(frozen=True)
class Electorate:
    """Who decides on a slot.

    voters: each by the key it was chosen under; quorum: how many must agree, never fewer than `quorum_of` says;
    voter_of: whose ballot an entry is, None if nobody's; it must say the same whatever else is known.
    """

    voters: frozenset[bytes]
    quorum: int
    voter_of: Callable[[Entry], bytes | None]


class Tally:
    """The votes, locks and commits of one slot.  Entries of others, and of other slots, change nothing."""

    def __init__(self, slot: Slot, electorate: Electorate, entries: Iterable[Entry] = ()) -> None:
        self.slot = slot
        self.electorate = electorate
        self._votes: dict[bytes, tuple[bytes, Vote | Remove]] = {}  # by entry id: the voter, and what it signed
        self._locks: dict[bytes, tuple[bytes, Lock | Remove]] = {}  # those that count, and they count for good
        self._left: dict[bytes, bytes] = {}
        self._decided: defaultdict[bytes, set[bytes]] = defaultdict(set)
        self._waiting: defaultdict[bytes, list[tuple[bytes, bytes, Lock | Commit]]] = defaultdict(list)
        self._voted: defaultdict[int, defaultdict[Value, dict[bytes, bytes]]] = defaultdict(_by_value)
        self._locked: defaultdict[int, defaultdict[Value, dict[bytes, bytes]]] = defaultdict(_by_value)
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Take an entry; a second time it changes nothing.  A removal is a voter's own, who votes no more."""
        body = entry.body
        if not isinstance(body, Vote | Lock | Commit | Remove):
            return
        if not isinstance(body, Remove) and body.slot != self.slot:
            return
        voter = b"" if isinstance(body, Commit) else self.electorate.voter_of(entry)
        if voter is None:
            return
        if isinstance(body, Lock | Commit):
            self._weigh(entry.id, voter, body)
            return
        self._votes[entry.id] = voter, body
        if isinstance(body, Vote):
            _count(self._voted[body.round][body.value], voter, entry.id)
        else:
            self._locks[entry.id] = voter, body
            _count(self._left, voter, entry.id)
        self._here(entry.id)

    @property
    def left(self) -> Mapping[bytes, bytes]:
        """The voters who have left, and an entry of each that says so."""
        return self._left

    def votes(self, number: int) -> Mapping[Value, Mapping[bytes, bytes]]:
        """Give the votes of a round: by value, the voters and an entry of each that says so."""
        return self._voted.get(number, {})

    def locks(self, number: int) -> Mapping[Value, Mapping[bytes, bytes]]:
        """Give the locks of a round that count, in the same way."""
        return self._locked.get(number, {})

    @property
    def rounds(self) -> int:
        """The first round in which nobody has voted or locked."""
        return 1 + max((*self._voted, *self._locked), default=-1)

    @property
    def locked_rounds(self) -> list[int]:
        """The rounds of which a lock counts here, the first one first."""
        return sorted(self._locked)

    @property
    def decided(self) -> frozenset[bytes]:
        """The values that a certificate here stands for; more than one means that the community is forked."""
        return frozenset(self._decided)

    def certificates(self, value: bytes) -> frozenset[bytes]:
        """Give the ids of the commits here that stand for a value."""
        return frozenset(self._decided.get(value, ()))

    def _weigh(self, entry_id: bytes, voter: bytes, body: Lock | Commit) -> None:
        """Judge what cites others by those, once all of them are here."""
        cited, here = (body.votes, self._votes) if isinstance(body, Lock) else (body.locks, self._locks)
        missing = next((one for one in cited if one not in here), None)
        if missing is not None:
            self._waiting[missing].append((entry_id, voter, body))
        elif isinstance(body, Commit) and self._is_certified(body):
            self._decided[body.value].add(entry_id)
        elif isinstance(body, Lock) and self._is_justified(body):
            self._locks[entry_id] = voter, body
            _count(self._locked[body.round][body.value], voter, entry_id)
            self._here(entry_id)

    def _here(self, entry_id: bytes) -> None:
        for waiting in self._waiting.pop(entry_id, []):
            self._weigh(*waiting)

    def _is_justified(self, lock: Lock) -> bool:
        """Whether the cited votes are a quorum for the value; for none: a quorum's, and none has a quorum in them."""
        voters: defaultdict[Value, set[bytes]] = defaultdict(set)
        left = set[bytes]()
        for voter, vote in (self._votes[vote_id] for vote_id in lock.votes):
            if isinstance(vote, Remove):
                left.add(voter)
            elif vote.round == lock.round:
                voters[vote.value].add(voter)
            else:
                return False
        quorum = self.electorate.quorum
        if lock.value is not None:
            return set(voters) <= {lock.value} and len(voters[lock.value] | left) >= quorum
        agreed = any(len(found | left) >= quorum for value, found in voters.items() if value is not None)
        return not agreed and len(left.union(*voters.values())) >= quorum

    def _is_certified(self, commit: Commit) -> bool:
        locks = [self._locks[lock_id] for lock_id in commit.locks]
        agrees = all(
            isinstance(lock, Remove) or (lock.round, lock.value) == (commit.round, commit.value) for _, lock in locks
        )
        return agrees and len({voter for voter, _ in locks}) >= self.electorate.quorum


def _by_value() -> defaultdict[Value, dict[bytes, bytes]]:
    return defaultdict(dict)


def _count(found: dict[bytes, bytes], voter: bytes, entry_id: bytes) -> None:
    """Note who said it, and the entry of the lowest id: which one came first makes no difference."""
    found[voter] = min(entry_id, found.get(voter, entry_id))
