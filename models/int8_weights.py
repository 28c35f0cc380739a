"""Weights of a graph's layers as int8, a scale for each output, with the rotation of the hidden state computed in.

MatMulIntegerToFloat wants a matrix as (columns, rows): what x meets first lies together.  As everywhere, nothing
larger than a slice is ever held.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from models.core.block_formats import FORMATS, read_blocks
from models.core.requantization import int8_scales, to_int8
from models.core.rotation import BLOCK, Rotation, hadamard
from models.gguf import GgufFile, TensorInfo
from models.weights import ALIGNMENT, Matrix, Part, WeightsWriter

Float32Array = npt.NDArray[np.float32]
Int8Array = npt.NDArray[np.int8]

SLICE_WEIGHTS = 512 * 1024  # turned at a time, as float32: two megabytes, which stay near the processor
PANEL_WEIGHTS = 4 * 1024 * 1024  # as int8, written at a time


@dataclass(frozen=True, kw_only=True)
class Int8Matrix:
    """A matrix in the graph: the names of its initializers, values (columns, rows) int8 and scales (rows,) float32."""

    values: str
    scales: str


class Int8WeightsWriter(WeightsWriter):
    """Writes the data file of an int8 graph; what a lender holds, a graph beside it, is taken from there."""

    def __init__(
        self,
        gguf: GgufFile,
        file: BinaryIO,
        *,
        rotation: Rotation,
        lender: WeightsWriter | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(gguf, file, progress=progress)
        self._rotation = rotation
        self._lender = lender
        self._spread = hadamard(BLOCK)

    def constant(self, name: str, array: npt.NDArray[np.generic]) -> str:
        """Add a small array, unless the lender has it; return its name."""
        lent = [] if self._lender is None else [item for item in self._lender.initializers if item.name == name]
        self.initializers.extend(lent)
        return name if lent else super().constant(name, array)

    def matrix(self, name: str, parts: tuple[Part, ...]) -> Matrix:
        """Add a matrix in the file's own quants, unless the lender has it."""
        if self._lender is None or name not in self._lender.matrices:
            return super().matrix(name, parts)
        matrix = self._lender.matrices[name]
        for part in parts:
            self._count(part)
        self.initializers.extend(
            item for item in self._lender.initializers if item.name in (matrix.values, matrix.scales)
        )
        return matrix

    def from_state(self, name: str, parts: tuple[Part, ...], gains: Float32Array) -> Int8Matrix:
        """Add the rows of `parts`, which meet the turned hidden state before its gains, as one matrix."""
        columns, rows = parts[0].info.columns, sum(part.info.rows for part in parts)
        values_at = self._allocate(f"{name}.values", np.dtype("int8"), (columns, rows))
        scales, start = np.empty(rows, np.float32), 0
        for panel, steps in self._panels(parts, gains):
            scales[start : start + len(steps)] = steps
            for column, values in enumerate(panel):
                self._write(values_at + column * rows + start, values)
            start += len(steps)
        return Int8Matrix(values=f"{name}.values", scales=self._scales(name, scales))

    def to_state(self, name: str, part: Part) -> Int8Matrix:
        """Add a matrix whose product is added to the turned hidden state, and which meets x with its blocks spread."""
        info = part.info
        values_at = self._allocate(f"{name}.values", np.dtype("int8"), (info.columns, info.rows))
        scales = np.zeros((info.rows, 1), np.float32)
        for weights in self._turned(info):
            scales = np.maximum(scales, int8_scales(weights, axis=1))
        for weights in self._turned(info):
            self._write(values_at, to_int8(weights, scales).T)
            values_at += weights.size
        self._count(part)
        return Int8Matrix(values=f"{name}.values", scales=self._scales(name, scales[:, 0]))

    def _panels(self, parts: tuple[Part, ...], gains: Float32Array) -> Iterator[tuple[Int8Array, Float32Array]]:
        """Yield rows times the gains, turned and on their sides, as int8 (columns, n) with their scales (n,)."""
        for part in parts:
            kind, stored = part.info.type, FORMATS[part.info.type]
            step = max(1, SLICE_WEIGHTS // part.info.columns)
            for raw in self._slices((part,), nbytes=PANEL_WEIGHTS // stored.weights * stored.nbytes):
                panel, scales = np.empty((part.info.columns, len(raw)), np.int8), np.empty(len(raw), np.float32)
                for start in range(0, len(raw), step):
                    rows = slice(start, start + step)
                    with np.errstate(over="ignore", invalid="ignore"):  # of a hostile file
                        turned = self._rotation.turn(read_blocks(kind, raw[rows]).weights().T * gains[:, None])
                    steps = int8_scales(turned, axis=0)
                    panel[:, rows], scales[rows] = to_int8(turned, steps), steps[0]
                yield panel, scales

    def _turned(self, info: TensorInfo) -> Iterator[Float32Array]:
        """Yield R.T @ W, spread in blocks, some columns at a time: (rows, n)."""
        raw, stored = self._gguf.data(info.name), FORMATS[info.type]
        step = max(1, SLICE_WEIGHTS // (info.rows * stored.weights)) * stored.nbytes
        for start in range(0, raw.shape[1], step):
            weights = read_blocks(info.type, raw[:, start : start + step]).weights()
            with np.errstate(over="ignore", invalid="ignore"):
                turned = self._rotation.turn(weights)
                yield (turned.reshape(-1, BLOCK) @ self._spread).reshape(turned.shape)

    def _scales(self, name: str, scales: Float32Array) -> str:
        return super().constant(f"{name}.scales", scales)  # the lender's of this name are those of its own quants


def int8_bytes(gguf: GgufFile) -> int:
    """Bound what the int8 matrices of a model's layers take in a file."""
    layers = [info for info in gguf.tensors.values() if info.name.startswith("blk.")]
    return sum(info.rows * (info.columns + np.dtype(np.float32).itemsize) + 2 * ALIGNMENT for info in layers)
