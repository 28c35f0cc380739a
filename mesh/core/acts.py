"""What entries take away and hand on: removals, and rotations from one key to another.

Membership and standing are both made of these, which only grow as entries come in, whoever forks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.core.ballots import Recovery
from mesh.core.entries import Entry, Remove, RotateKey
from mesh.core.statement import IdentityStatement


@dataclass(frozen=True, slots=True)
class Rotation:
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
        self.accepted: Mapping[bytes, Sequence[Rotation]] = {}
        """By old key: what recovery keys signed that may; set by whoever knows the voters."""
        self._own: dict[bytes, list[Rotation]] = {}  # by old key
        self._foreign: dict[bytes, list[Rotation]] = {}  # by old key: signed by others, who may be a recovery key
        self._to: dict[bytes, list[Rotation]] = {}  # all of them, by new key
        self._removals: dict[bytes, list[Entry]] = {}  # by the key they name
        self._over = set[bytes | None]()  # own rotations and what their authors signed on top of them
        self._below: dict[bytes, tuple[bytes, set[bytes]]] = {}  # by author: a rotation, and what it was built on

    def add(self, entry: Entry) -> bool:
        """Take an entry that was not added yet; return False where it is void, its author having rotated its key."""
        body = entry.body
        if entry.prev in self._over:
            self._over.add(entry.id)
            return False
        if isinstance(body, RotateKey):
            own = body.old == entry.author
            rotation = Rotation(entry.id, body.old, body.new, None if own else entry.author)
            (self._own if own else self._foreign).setdefault(body.old, []).append(rotation)
            self._to.setdefault(body.new.public, []).append(rotation)
            if own:
                self._over.add(entry.id)
        elif isinstance(body, Remove):
            self._removals.setdefault(body.public, []).append(entry)
        elif isinstance(body, Recovery):
            self.papers.setdefault(entry.author, []).append(Paper(entry.id, entry.seq, body.public))
        return True

    def rotations_from(self, key: bytes) -> list[Rotation]:
        """Return the rotations of a key, whoever signed them."""
        return [*self._own.get(key, ()), *self._foreign.get(key, ())]

    def rotations_to(self, key: bytes) -> Sequence[Rotation]:
        """Return the rotations to a key, whoever signed them."""
        return self._to.get(key, ())

    def rotations(self, key: bytes) -> list[Rotation]:
        """Return the rotations of a key that count: its own, and those of its recovery key."""
        return [*self.accepted.get(key, ()), *self._own.get(key, ())]

    def keys_from(self, key: bytes) -> set[bytes]:
        """Return a key and all that any of its rotations, and theirs, go on under."""
        keys, stack = {key}, [key]
        while stack:
            new = {rotation.new.public for rotation in self.rotations(stack.pop())} - keys
            keys |= new
            stack.extend(new)
        return keys

    def by_paper(self, key: bytes, paper: bytes) -> list[Rotation]:
        """Return what a recovery key signed of a key, and of those that any rotation of it goes on under."""
        found, keys, stack = list[Rotation](), {key}, [key]
        while stack:
            rotations = [rotation for rotation in self.rotations_from(stack.pop()) if rotation.paper in {None, paper}]
            found += [rotation for rotation in rotations if rotation.paper]
            new = {rotation.new.public for rotation in rotations} - keys
            keys |= new
            stack.extend(new)
        return found

    def lineage(self, key: bytes) -> list[bytes]:
        """Return a key and those that replaced it, the one in use last."""
        keys = [key]
        while (rotation := self.successor(keys[-1])) and rotation.new.public not in keys:
            keys.append(rotation.new.public)
        return keys

    def successor(self, key: bytes) -> Rotation | None:
        """Return what replaced a key: a recovery key's rotation before its own, then the one of the lowest id."""
        return min(self.rotations(key), key=lambda rotation: (rotation.paper is None, rotation.id), default=None)

    def removals_of(self, keys: set[bytes], by: set[bytes]) -> list[Entry]:
        """Return the removals of any of these keys that one of those signed."""
        return [entry for key in keys for entry in self._removals.get(key, ()) if entry.author in by]

    def mentions(self, key: bytes) -> bool:
        """Whether anybody has rotated from or to a key, or signed its removal."""
        return any(key in found for found in (self._own, self._foreign, self._to, self._removals))

    def built_on(self, rotation: Rotation, entries: Mapping[bytes, Entry]) -> set[bytes]:
        """Return the ids of what a key signed below a rotation, and of that."""
        known, below = self._below.get(rotation.old, (b"", set[bytes]()))
        if known != rotation.id:
            below = below_own(rotation, entries) if rotation.paper is None else below_paper(rotation, entries)
            self._below[rotation.old] = rotation.id, below
        return below


def below_own(rotation: Rotation, entries: Mapping[bytes, Entry]) -> set[bytes]:
    """Return what an author signed before it rotated its own key: the feed below that."""
    below, entry = set[bytes](), entries.get(rotation.id)
    while entry is not None:
        below.add(entry.id)
        entry = entries.get(entry.prev) if entry.prev else None
    return below


def below_paper(rotation: Rotation, entries: Mapping[bytes, Entry]) -> set[bytes]:
    """Return what of a key's feed its recovery key's rotation comes after."""
    return {rotation.id, *(one for one in ancestors(rotation.id, entries) if entries[one].author == rotation.old)}


def ancestors(entry_id: bytes, entries: Mapping[bytes, Entry]) -> set[bytes]:
    """Return the ids of all that an entry comes after, as far as they are here; it takes a look at each."""
    found, stack = set[bytes](), [entry_id]
    while stack:
        entry = entries.get(stack.pop())
        new = {parent for parent in entry.parents if parent in entries} - found if entry is not None else set[bytes]()
        found |= new
        stack.extend(new)
    return found
