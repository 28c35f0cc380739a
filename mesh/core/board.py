"""Which board an identity was made on (decision 25 of docs/protocol.md): hashes of what its hardware calls itself.

    board = [1, processor(16)|null, [card(16)…], system(16)|null]

A hash is BLAKE2b-128(key = the node's raw id, personal = "hearth board", kind ‖ 0 ‖ serial number): no number leaves
the board, and a file of another node fits nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mesh.core import codec
from mesh.errors import MalformedError

VERSION: Final = 1
HASH_BYTES: Final = 16
MAX_CARDS: Final = 16
MAX_BYTES: Final = 1024


@dataclass(frozen=True)
class Board:
    """What a board is known by.  system: of its installation; taken only where the hardware has no number."""

    processor: bytes | None = None
    cards: tuple[bytes, ...] = ()
    system: bytes | None = None

    @classmethod
    def of(cls, raw_id: bytes, *, processor: str, cards: Sequence[str], system: str) -> "Board":
        """Hash the serial numbers of a processor and of SD cards, and else of the installation; empty is none."""

        def hashed(kind: str, serial: str) -> bytes:
            text = f"{kind}\0{serial}".encode()
            return hashlib.blake2b(text, digest_size=HASH_BYTES, key=raw_id, person=b"hearth board").digest()

        known = tuple(sorted({hashed("card", card) for card in cards[:MAX_CARDS]}))
        if processor or known:
            return cls(hashed("processor", processor) if processor else None, known)
        return cls(system=hashed("system", system) if system else None)

    @classmethod
    def parse(cls, data: bytes) -> "Board":
        """Read what `to_bytes` wrote.  Errors: MalformedError."""
        match codec.decode_array(data, max_bytes=MAX_BYTES):
            case [version, processor, cards, system] if version == VERSION:
                known = tuple(codec.fixed_bytes(card, HASH_BYTES) for card in codec.short_array(cards, MAX_CARDS))
                return cls(_hash_or_none(processor), known, _hash_or_none(system))
        raise MalformedError("the record of the board is of another version")

    def to_bytes(self) -> bytes:
        """Write the record."""
        return codec.encode([VERSION, self.processor, [*self.cards], self.system])

    def changed(self, now: "Board") -> tuple[str, ...]:
        """Name what is another one now, in people's words; a card that was added changes nothing."""
        pairs = (
            ("board", self.processor is not None and self.processor != now.processor),
            ("SD card", bool(self.cards) and not set(self.cards) & set(now.cards)),
            ("installation", self.system is not None and self.system != now.system),
        )
        return tuple(name for name, is_other in pairs if is_other)


def _hash_or_none(item: codec.Item) -> bytes | None:
    return None if item is None else codec.fixed_bytes(item, HASH_BYTES)
