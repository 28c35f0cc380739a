"""Keys and values of several sequences, one slot each, in the memory that the graph reads and writes.

One array a layer and kind, (slots, kv heads, room, head size), of which a sequence of n tokens uses [slot, :, :n].
The kernel gives pages where they are first touched: room that is never reached costs nothing.  The mapping is a shared
one because RLIMIT_DATA, which bounds this process, counts every page of a private one as if it were touched.
"""

import math
import mmap
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from models.core.graph_info import GraphInfo
from models.errors import EngineError
from models.key_value_scales import FloatArray, KeyValueScales

KeyValues = npt.NDArray[np.float32 | np.int8]


class KeyValueCache:
    """The arrays of all layers; a segment is the part of one sequence, (arrays, kv heads, tokens, head size).

    With `scales` they are int8, for the graph that takes them so; without, float32.  Raises EngineError for scales of
    another model.
    """

    def __init__(self, info: GraphInfo, *, slots: int, room: int, scales: KeyValueScales | None = None) -> None:
        self.slots, self.room = slots, room
        self._scales = scales
        if scales is not None and scales.values.shape != (info.layers, 2, info.kv_heads, info.head_dim):
            raise EngineError("the scales of the key-value cache are another model's")
        shape = (slots, info.kv_heads, room, info.head_dim)
        names = [f"{layer}.{kind}" for layer in range(info.layers) for kind in ("key", "value")]
        dtype = _dtype(int8=scales is not None)
        self._arrays = {name: _mapped(shape, dtype) for name in names}
        self.token_bytes = sum(array[0, :, 0].nbytes for array in self._arrays.values())
        """What one token of one sequence takes."""

    def arrays(self) -> Iterator[tuple[str, KeyValues]]:
        """Yield the array of each layer and kind, as `layer.key` and `layer.value`."""
        yield from self._arrays.items()

    def scales(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield the scales of each layer and kind, where they are int8."""
        if self._scales is not None:
            yield from self._scales.inputs()

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


def _dtype(*, int8: bool) -> "np.dtype[np.float32 | np.int8]":
    return np.dtype(np.int8 if int8 else np.float32)


def _mapped(shape: tuple[int, ...], dtype: "np.dtype[np.float32 | np.int8]") -> KeyValues:
    """Memory of its own in small pages: huge ones would make the beginning of every head's room take two megabytes."""
    try:
        memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"no room for {shape} {dtype}") from error
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype).reshape(shape)
