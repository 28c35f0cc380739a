"""Epoch keys: the secrets a community shares, a second lock on its sessions (decision 14 of docs/protocol.md).

A key belongs to one membership number: each removal or rotation asks for a new one, which the node that was taken out
never gets.  Several nodes may make one at once; the greatest (generation, id) wins.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mesh.core import codec, crypto
from mesh.core.codec import Item
from mesh.core.frames import CATCH_UP_KEY, KEY_ID_BYTES
from mesh.errors import MalformedError

MAX_KEYS: Final = 16
MAX_NUMBER: Final = 2**40
BY_OBSERVER: Final = 0
BY_VOTER: Final = 1  # a voter's key outweighs one that observers made while no voter was in reach


@dataclass(frozen=True, order=True)
class EpochKey:
    """One key; ordered by what makes it the one to send under."""

    number: int
    generation: int
    id: bytes
    secret: bytes = field(repr=False)

    def to_item(self) -> Item:
        """Write the key for a sealed message."""
        return [self.number, self.generation, self.id, self.secret]

    @classmethod
    def parse(cls, item: Item) -> "EpochKey":
        """Read a key a member sent.  Errors: MalformedError."""
        match item:
            case [number, generation, identity, secret]:
                key = cls(
                    codec.unsigned(number, MAX_NUMBER),
                    codec.unsigned(generation, BY_VOTER),
                    codec.fixed_bytes(identity, KEY_ID_BYTES),
                    codec.fixed_bytes(secret, crypto.KEY_BYTES),
                )
                if key.id != CATCH_UP_KEY:
                    return key
        raise MalformedError("not an epoch key")


@dataclass(frozen=True)
class KeyRing:
    """The epoch keys a node holds, all of the membership number of its ledger.

    A key of a later number is not kept for later: the one who sends it may be the one who is about to be removed.
    """

    number: int
    keys: tuple[EpochKey, ...] = ()  # greatest first: the first is the one to send under

    @property
    def current(self) -> tuple[EpochKey, ...]:
        """The keys of the present membership number, the one to send under first."""
        return self.keys

    def at(self, number: int) -> "KeyRing":
        """Move on to a membership number; keys of any other are dropped."""
        return self if number == self.number else KeyRing(number)

    def with_keys(self, keys: Iterable[EpochKey]) -> "KeyRing":
        """Take keys; those of another number are ignored, and so is another key under an id that is held."""
        by_id = {key.id: key for key in self.keys}
        for key in keys:
            if key.number == self.number:
                by_id.setdefault(key.id, key)
        return KeyRing(self.number, tuple(sorted(by_id.values(), reverse=True)[:MAX_KEYS]))

    def find(self, key_id: bytes) -> EpochKey | None:
        """Return the key of this id."""
        return next((key for key in self.keys if key.id == key_id), None)

    def greatest_of(self, key_ids: Iterable[bytes]) -> EpochKey | None:
        """Return the greatest key among those a peer names."""
        named = set(key_ids)
        return next((key for key in self.keys if key.id in named), None)
