"""What entries take away and hand on: removals, and rotations to another key.

Membership and standing are both made of these, which only grow as entries come in, whoever forks.
"""

from collections.abc import Mapping

from mesh.core.entries import Entry, Remove, RotateKey
from mesh.core.statement import IdentityStatement


class Acts:
    """Removals and rotations; entries are added one by one, those of one author in the order of its feed."""

    def __init__(self) -> None:
        self.rotations: dict[bytes, list[tuple[bytes, IdentityStatement]]] = {}
        """By old key: entry id, new key."""
        self._removals: dict[bytes, list[Entry]] = {}  # by the key they name
        self._over = set[bytes | None]()  # own rotations and what their authors signed on top of them
        self._below: dict[bytes, tuple[bytes, set[bytes]]] = {}  # by author: a rotation, and what it was built on

    def add(self, entry: Entry) -> bool:
        """Take an entry that was not added yet; return False where it is void, its author having rotated its key."""
        body = entry.body
        if entry.place.prev in self._over:
            self._over.add(entry.id)
            return False
        if isinstance(body, RotateKey) and body.old == entry.author:
            self._over.add(entry.id)
            self.rotations.setdefault(entry.author, []).append((entry.id, body.new))
        elif isinstance(body, Remove):
            self._removals.setdefault(body.public, []).append(entry)
        return True

    def keys_from(self, key: bytes) -> set[bytes]:
        """Return a key and all that any of its rotations, and theirs, go on under."""
        keys, stack = {key}, [key]
        while stack:
            new = {statement.public for _, statement in self.rotations.get(stack.pop(), ())} - keys
            keys |= new
            stack.extend(new)
        return keys

    def lineage(self, key: bytes) -> list[bytes]:
        """Return a key and those that replaced it, the one in use last."""
        keys = [key]
        while (new := self.successor(keys[-1])) and new.public not in keys:
            keys.append(new.public)
        return keys

    def successor(self, key: bytes) -> IdentityStatement | None:
        """Return what replaced a key: of several rotations the one of the lowest id counts."""
        rotations = self.rotations.get(key)
        return min(rotations, key=_id)[1] if rotations else None

    def removals_of(self, keys: set[bytes], by: set[bytes]) -> list[Entry]:
        """Return the removals of any of these keys that one of those signed."""
        return [entry for key in keys for entry in self._removals.get(key, ()) if entry.author in by]

    def built_on(self, author: bytes, entries: Mapping[bytes, Entry]) -> set[bytes]:
        """Return the ids of the rotation that replaced a key, and of what was signed with the key below it."""
        rotation = min(self.rotations[author], key=_id)[0]
        known, below = self._below.get(author, (b"", set[bytes]()))
        if known != rotation:
            below, entry = set[bytes](), entries.get(rotation)
            while entry is not None:
                below.add(entry.id)
                entry = entries.get(entry.place.prev) if entry.place.prev else None
            self._below[author] = rotation, below
        return below


def _id(rotation: tuple[bytes, IdentityStatement]) -> bytes:
    return rotation[0]
