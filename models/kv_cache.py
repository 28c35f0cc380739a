"""Keys and values of several sequences, one slot each, in the memory that the graph reads and writes.

One array a layer and kind, (slots, kv heads, room, head size), of which a sequence of n tokens uses [slot, :, :n].
The kernel gives pages where they are first touched: room that is never reached costs nothing.
"""

import mmap
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from models.core.graph_info import GraphInfo

KeyValues = npt.NDArray[np.float32]


class KeyValueCache:
    """The arrays of all layers; a segment is the part of one sequence, (arrays, kv heads, tokens, head size)."""

    def __init__(self, info: GraphInfo, *, slots: int, room: int) -> None:
        self.slots, self.room = slots, room
        shape = (slots, info.kv_heads, room, info.head_dim)
        names = [f"{layer}.{kind}" for layer in range(info.layers) for kind in ("key", "value")]
        self._arrays = {name: _mapped(shape) for name in names}
        self.token_bytes = sum(array[0, :, 0].nbytes for array in self._arrays.values())
        """What one token of one sequence takes."""

    def arrays(self) -> Iterator[tuple[str, KeyValues]]:
        """Yield the array of each layer and kind, as `layer.key` and `layer.value`."""
        yield from self._arrays.items()

    def saved(self, slot: int, start: int, stop: int) -> KeyValues:
        """Copy tokens [start, stop) of a sequence out."""
        return np.stack([array[slot, :, start:stop] for array in self._arrays.values()])

    def restore(self, slot: int, start: int, segment: KeyValues) -> None:
        """Copy a segment to token `start` of a sequence."""
        stop = start + segment.shape[2]
        for array, part in zip(self._arrays.values(), segment, strict=True):
            array[slot, :, start:stop] = part

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy the first `tokens` of one sequence over another's."""
        for array in self._arrays.values():
            array[target, :, :tokens] = array[source, :, :tokens]


def _mapped(shape: tuple[int, ...]) -> KeyValues:
    """Memory of its own in small pages: huge ones would make the beginning of every head's room take two megabytes."""
    size = int(np.prod(shape)) * np.dtype(np.float32).itemsize
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(shape)
