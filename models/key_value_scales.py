"""What a step of the int8 key-value cache is worth, for each channel of a model: measured, kept beside the graph.

Keys are cached after their rotation, which mixes channel c of a head with channel c + half and grows on with the
position: so the scale of both is taken from the greatest length of the pair, which no rotation changes.
"""

import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from models.core.graph_info import SCALES_FILE
from models.errors import CorruptModelError, CorruptStoreError
from models.files import open_regular, write_atomically

MAX_FILE_BYTES: Final = 64 * 1024 * 1024  # a hundred layers with 80,000 channels
LEAST: Final = 1e-6  # of a channel that is never anything but zero
STEPS: Final = 127
_HEADER: Final = struct.Struct("<8s3I")  # mark, layers, key-value heads, head size
_MARK: Final = b"hm-kvs-1"
_DIGEST_BYTES: Final = 32

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class KeyValueScales:
    """A positive scale for each channel: (layers, 2, kv heads, head size) float32, keys before values."""

    values: FloatArray

    def inputs(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield what the graph takes for each layer and kind, (1, kv heads, 1, head size), as `layer.key|value`."""
        for layer, pair in enumerate(self.values):
            for kind, channels in zip(("key", "value"), pair, strict=True):
                yield f"{layer}.{kind}", channels[None, :, None]

    def to_bytes(self) -> bytes:
        """Write them: a mark, the dimensions, the numbers."""
        layers, _, kv_heads, head_dim = self.values.shape
        return _HEADER.pack(_MARK, layers, kv_heads, head_dim) + self.values.astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self | None:
        """Read what `to_bytes` wrote; None for anything else."""
        if len(content) < _HEADER.size:
            return None
        mark, layers, kv_heads, head_dim = _HEADER.unpack_from(content)
        shape = (layers, 2, kv_heads, head_dim)
        if mark != _MARK or not math.prod(shape) or len(content) - _HEADER.size != 4 * math.prod(shape):
            return None
        values = np.frombuffer(content, "<f4", offset=_HEADER.size).astype(np.float32).reshape(shape)
        return cls(values) if (np.isfinite(values) & (values > 0)).all() else None

    def save(self, graph_dir: Path) -> None:
        """Keep them beside the graph, for this folder only.  Raises DiskFullError, StoreWriteError."""
        content = _digest(graph_dir, self.to_bytes()) + self.to_bytes()
        # A folder that holds what its seal does not name is built again: what a power cut leaves lies beside it.
        write_atomically(graph_dir / SCALES_FILE, content, by_way_of=graph_dir.parent)

    @classmethod
    def load(cls, graph_dir: Path) -> Self | None:
        """Read what `save` left; None where there is nothing, or not all of it, or another model's."""
        try:
            with open_regular(graph_dir / SCALES_FILE) as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except (CorruptStoreError, OSError):
            return None
        digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return cls.from_bytes(content) if digest == _digest(graph_dir, content) else None


class ScalesMeter:
    """Hears keys and values as a float32 cache holds them, and gives the scales in the end."""

    def __init__(self) -> None:
        self._greatest: FloatArray | None = None

    def add(self, segment: npt.NDArray[np.float32 | np.int8]) -> None:
        """Take notice of a sequence, (arrays, kv heads, tokens, head size): each layer's keys, then its values."""
        arrays, kv_heads, _, head_dim = segment.shape
        greatest = np.empty((arrays // 2, 2, kv_heads, head_dim), np.float32)
        first, second = np.split(segment[0::2].astype(np.float32), 2, axis=-1)
        greatest[:, 0] = np.tile(np.sqrt(first * first + second * second).max(2), 2)
        greatest[:, 1] = np.abs(segment[1::2]).max(2)
        self._greatest = greatest if self._greatest is None else np.maximum(self._greatest, greatest)

    def scales(self, *, headroom: float) -> KeyValueScales:
        """Give the scales, `headroom` times what has been seen.  Raises CorruptModelError for what is no number."""
        if self._greatest is None:
            raise AssertionError("nothing was measured")
        if not np.isfinite(self._greatest).all():
            raise CorruptModelError("on plain text the model computes keys or values that are no numbers")
        return KeyValueScales(np.maximum(self._greatest * np.float32(headroom / STEPS), np.float32(LEAST)))


def _digest(graph_dir: Path, content: bytes) -> bytes:
    """The folder's name says which model's graph it holds."""
    return hashlib.sha256(graph_dir.name.encode() + b"\0" + content).digest()
