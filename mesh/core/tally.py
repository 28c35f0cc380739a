"""What votes, locks and commits prove of one slot: a function of the set of entries.

Decisions 22 and 23 of docs/protocol.md.  The rules are Tendermint's (arXiv:1807.04938) with entries for messages.  A
lock counts if the votes it cites make a quorum, a commit if the locks it cites do; both are judged by what they cite
alone, so nothing that is learned later can undo them.  What cites an entry that is not here yet counts as soon as that
comes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mesh.core.ballots import Commit, Lock, Slot, Vote
from mesh.core.entries import Entry

Value = bytes | None


def quorum_of(voters: int) -> int:
    """Say how many of so many voters decide: more than two thirds, so that any two quorums share an honest one."""
    return 2 * voters // 3 + 1


@dataclass(frozen=True)
class Electorate:
    """Who decides on a slot: voters by the keys they sign with.  A voter that has changed its key has several.

    quorum: how many must agree; never fewer than `quorum_of` says.
    """

    voter_of: Mapping[bytes, bytes]
    quorum: int

    @property
    def size(self) -> int:
        """How many voters there are."""
        return len(set(self.voter_of.values()))


class Tally:
    """The votes, locks and commits of one slot.  Entries of others, and of other slots, change nothing."""

    def __init__(self, slot: Slot, electorate: Electorate, entries: Iterable[Entry] = ()) -> None:
        self.slot = slot
        self.electorate = electorate
        self._seen: set[bytes] = set()
        self._votes: dict[bytes, tuple[bytes, Vote]] = {}  # by entry id: the voter, and what it signed
        self._locks: dict[bytes, tuple[bytes, Lock]] = {}  # those that count: what counts once, counts for good
        self._decided: set[bytes] = set()
        self._waiting: defaultdict[bytes, list[tuple[bytes, bytes, Lock | Commit]]] = defaultdict(list)
        self._voted: defaultdict[int, defaultdict[Value, dict[bytes, bytes]]] = defaultdict(_by_value)
        self._locked: defaultdict[int, defaultdict[Value, dict[bytes, bytes]]] = defaultdict(_by_value)
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Take an entry; a second time it changes nothing."""
        body, voter = entry.body, self.electorate.voter_of.get(entry.author)
        if not isinstance(body, Vote | Lock | Commit) or body.slot != self.slot or entry.id in self._seen:
            return
        self._seen.add(entry.id)
        if isinstance(body, Commit):
            self._weigh(entry.id, b"", body)
        elif voter is not None and isinstance(body, Lock):
            self._weigh(entry.id, voter, body)
        elif voter is not None and isinstance(body, Vote):
            self._votes[entry.id] = voter, body
            _count(self._voted[body.round][body.value], voter, entry.id)
            self._here(entry.id)

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
    def decided(self) -> frozenset[bytes]:
        """The values that a certificate here stands for; more than one means that the community is forked."""
        return frozenset(self._decided)

    def _weigh(self, entry_id: bytes, voter: bytes, body: Lock | Commit) -> None:
        """Judge what cites others by those, once all of them are here."""
        cited, here = (body.votes, self._votes) if isinstance(body, Lock) else (body.locks, self._locks)
        missing = next((one for one in cited if one not in here), None)
        if missing is not None:
            self._waiting[missing].append((entry_id, voter, body))
        elif isinstance(body, Commit) and self._is_certified(body):
            self._decided.add(body.value)
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
        for voter, vote in (self._votes[vote_id] for vote_id in lock.votes):
            if vote.round != lock.round:
                return False
            voters[vote.value].add(voter)
        quorum = self.electorate.quorum
        if lock.value is not None:
            return set(voters) == {lock.value} and len(voters[lock.value]) >= quorum
        agreed = any(len(found) >= quorum for value, found in voters.items() if value is not None)
        return not agreed and len({voter for found in voters.values() for voter in found}) >= quorum

    def _is_certified(self, commit: Commit) -> bool:
        locks = [self._locks[lock_id] for lock_id in commit.locks]
        agrees = all((lock.round, lock.value) == (commit.round, commit.value) for _, lock in locks)
        return agrees and len({voter for voter, _ in locks}) >= self.electorate.quorum


def _by_value() -> defaultdict[Value, dict[bytes, bytes]]:
    return defaultdict(dict)


def _count(found: dict[bytes, bytes], voter: bytes, entry_id: bytes) -> None:
    """Note who said it, and the entry of the lowest id: which one came first makes no difference."""
    found[voter] = min(entry_id, found.get(voter, entry_id))
