"""Whether a model will fit this board, said before its first byte: from its size alone, so an estimate.

What its file will need besides itself depends on its architecture and its quants, which stand in the file.  These
figures err on the high side: of the default model (Q4_1) the converted graphs take 2.3 times the file.
"""

from dataclasses import dataclass
from typing import Final

from device.wording import size
from models.core.memory_need import ENGINE_BYTES

CONVERTED_PART: Final = 3.0  # of the file: the lossless form 1.25, its int8 form 1.75 for a file of 4-bit quants
MEMORY_PART: Final = 1.25  # of the file: quants with wider scales (models/memory.py)
WORKING_BYTES: Final = ENGINE_BYTES + 64_000_000  # the engine, its vocabulary, and keys and values of a short context


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a board has left.

    store_bytes, cache_bytes: of the disks where models and their converted forms lie, which are one disk if `shared`;
    memory_bytes: that an engine could use, 0 where nobody says.
    """

    store_bytes: int
    cache_bytes: int
    shared: bool
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a model of some size is estimated to need."""

    source_bytes: int
    converted_bytes: int
    memory_bytes: int

    @classmethod
    def of(cls, size_bytes: int) -> "Need":
        """Estimate from the size of its files."""
        return cls(
            source_bytes=size_bytes,
            converted_bytes=int(CONVERTED_PART * size_bytes),
            memory_bytes=int(MEMORY_PART * size_bytes) + WORKING_BYTES,
        )

    @property
    def disk_bytes(self) -> int:
        """On disks, all in all."""
        return self.source_bytes + self.converted_bytes


def shortfalls(need: Need, room: Room) -> tuple[str, ...]:
    """Say in what way a model will not fit; nothing where it will."""
    said = []
    if room.shared and need.disk_bytes > room.store_bytes:
        said.append(f"needs about {size(need.disk_bytes)} of disk with its converted forms, {_free(room.store_bytes)}")
    if not room.shared and need.source_bytes > room.store_bytes:
        said.append(f"needs {size(need.source_bytes)} of disk for itself, {_free(room.store_bytes)}")
    if not room.shared and need.converted_bytes > room.cache_bytes:
        said.append(
            f"needs about {size(need.converted_bytes)} of disk for its converted forms, {_free(room.cache_bytes)}"
        )
    if 0 < room.memory_bytes < need.memory_bytes:
        said.append(f"needs about {size(need.memory_bytes)} of memory, {_free(room.memory_bytes)}")
    return tuple(said)


def _free(count: int) -> str:
    return f"{size(count)} free"
