"""What entries take away and hand on: removals, and turns from one key to another.

Membership and standing are both made of these, which only grow as entries come in, whoever forks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.core.ballots import Recovery
from mesh.core.entries import Entry, Remove, RotateKey
from mesh.core.statement import IdentityStatement


@dataclass(frozen=True, slots=True)
class Turn:
    """A rotation: entry id, the key it replaces, the new one; paper: the recovery key that signed it, if one did."""

    id: bytes
    old: bytes
    new: IdentityStatement
    paper: bytes | None


@dataclass(frozen=True, slots=True)
class Paper:
    """A registration of a recovery key: entry id, its place in its author's feed, the key."""

    id: bytes
    seq: int
    public: bytes


class Acts:
    """Removals and rotations; entries are added one by one, those of one author in the order of its feed."""

    def __init__(self) -> None:
        self.papers: dict[bytes, list[Paper]] = {}
        """By who registered them."""
        self.accepted: Mapping[bytes, Sequence[Turn]] = {}
        """By old key: what recovery keys signed that may; set by whoever knows the voters."""
        self._own: dict[bytes, list[Turn]] = {}  # by old key
        self._foreign: dict[bytes, list[Turn]] = {}  # by old key: signed by others, who may be a recovery key
        self._to: dict[bytes, list[Turn]] = {}  # all of them, by new key
        self._removals: dict[bytes, list[Entry]] = {}  # by the key they name
        self._over = set[bytes | None]()  # own rotations and what their authors signed on top of them
        self._below: dict[bytes, tuple[bytes, set[bytes]]] = {}  # by author: a rotation, and what it was built on

    def add(self, entry: Entry) -> bool:
        """Take an entry that was not added yet; return False where it is void, its author having rotated its key."""
        body = entry.body
        if entry.place.prev in self._over:
            self._over.add(entry.id)
            return False
        if isinstance(body, RotateKey):
            own = body.old == entry.author
            turn = Turn(entry.id, body.old, body.new, None if own else entry.author)
            (self._own if own else self._foreign).setdefault(body.old, []).append(turn)
            self._to.setdefault(body.new.public, []).append(turn)
            if own:
                self._over.add(entry.id)
        elif isinstance(body, Remove):
            self._removals.setdefault(body.public, []).append(entry)
        elif isinstance(body, Recovery):
            self.papers.setdefault(entry.author, []).append(Paper(entry.id, entry.seq, body.public))
        return True

    def turns_from(self, key: bytes) -> list[Turn]:
        """Return the rotations of a key, whoever signed them."""
        return [*self._own.get(key, ()), *self._foreign.get(key, ())]

    def turns_to(self, key: bytes) -> Sequence[Turn]:
        """Return the rotations to a key, whoever signed them."""
        return self._to.get(key, ())

    def rotations(self, key: bytes) -> list[Turn]:
        """Return the rotations of a key that count: its own, and those of its recovery key."""
        return [*self.accepted.get(key, ()), *self._own.get(key, ())]

    def keys_from(self, key: bytes) -> set[bytes]:
        """Return a key and all that any of its rotations, and theirs, go on under."""
        keys, stack = {key}, [key]
        while stack:
            new = {turn.new.public for turn in self.rotations(stack.pop())} - keys
            keys |= new
            stack.extend(new)
        return keys

    def by_paper(self, key: bytes, paper: bytes) -> list[Turn]:
        """Return what a recovery key signed of a key, and of those that any rotation of it goes on under."""
        found, keys, stack = list[Turn](), {key}, [key]
        while stack:
            turns = [turn for turn in self.turns_from(stack.pop()) if turn.paper in {None, paper}]
            found += [turn for turn in turns if turn.paper]
            new = {turn.new.public for turn in turns} - keys
            keys |= new
            stack.extend(new)
        return found

    def lineage(self, key: bytes) -> list[bytes]:
        """Return a key and those that replaced it, the one in use last."""
        keys = [key]
        while (turn := self.successor(keys[-1])) and turn.new.public not in keys:
            keys.append(turn.new.public)
        return keys

    def successor(self, key: bytes) -> Turn | None:
        """Return what replaced a key: a recovery key's rotation before its own, then the one of the lowest id."""
        return min(self.rotations(key), key=lambda turn: (turn.paper is None, turn.id), default=None)

    def removals_of(self, keys: set[bytes], by: set[bytes]) -> list[Entry]:
        """Return the removals of any of these keys that one of those signed."""
        return [entry for key in keys for entry in self._removals.get(key, ()) if entry.author in by]

    def built_on(self, turn: Turn, entries: Mapping[bytes, Entry]) -> set[bytes]:
        """Return the ids of what a key signed below a rotation, and of that."""
        known, below = self._below.get(turn.old, (b"", set[bytes]()))
        if known != turn.id:
            below = below_own(turn, entries) if turn.paper is None else below_paper(turn, entries)
            self._below[turn.old] = turn.id, below
        return below


def below_own(turn: Turn, entries: Mapping[bytes, Entry]) -> set[bytes]:
    """Return what an author signed before it rotated its own key: the feed below that."""
    below, entry = set[bytes](), entries.get(turn.id)
    while entry is not None:
        below.add(entry.id)
        entry = entries.get(entry.place.prev) if entry.place.prev else None
    return below


def below_paper(turn: Turn, entries: Mapping[bytes, Entry]) -> set[bytes]:
    """Return what of a key's feed its recovery key's rotation comes after."""
    return {turn.id, *(one for one in ancestors(turn.id, entries) if entries[one].author == turn.old)}


def ancestors(entry_id: bytes, entries: Mapping[bytes, Entry]) -> set[bytes]:
    """Return the ids of all that an entry comes after, as far as they are here; it takes a look at each."""
    found, stack = set[bytes](), [entry_id]
    while stack:
        entry = entries.get(stack.pop())
        new = {parent for parent in entry.parents if parent in entries} - found if entry is not None else set[bytes]()
        found |= new
        stack.extend(new)
    return found
