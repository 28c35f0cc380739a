"""A GGUF's tensors written as the initializers of an ONNX graph, a few rows at a time.

Nothing larger than a slice of rows is ever held: a converter on a 512 MB board must not need the model's
size in memory.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from models.core.block_formats import FORMATS, BlockFormat, TensorType, widened
from models.core.quantization import offset_columns, rewrite, rope_row_order
from models.gguf import GgufFile, TensorInfo

SLICE_BYTES = 4 * 1024 * 1024  # of the GGUF, rewritten at a time
ALIGNMENT = 4096  # onnxruntime maps an initializer only where it begins on a page
INLINE_BYTES = 1024  # smaller constants stay inside model.onnx

ONNX_TYPES: Mapping[np.dtype[Any], int] = MappingProxyType(
    {
        np.dtype("float32"): TensorProto.FLOAT,
        np.dtype("float16"): TensorProto.FLOAT16,
        np.dtype("uint8"): TensorProto.UINT8,
        np.dtype("int8"): TensorProto.INT8,
        np.dtype("int64"): TensorProto.INT64,
    }
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A GGUF tensor that becomes rows of a matrix; `rope_heads` is set where its rows must be put back in order."""

    info: TensorInfo
    rope_heads: int | None = None


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A weight matrix in the graph: the names of its initializers.

    Quantised: `values` (rows, blocks, bytes) with `scales` (rows, blocks); formats with minima have `offset_columns`
    behind the `columns`.  Others: `values` (rows, columns) as float16, if that is what the file has, or float32; scales
    None.
    """

    type: TensorType
    rows: int
    columns: int
    values: str
    scales: str | None = None
    offset_columns: int = 0

    @property
    def format(self) -> BlockFormat:
        """How a quantised one was stored."""
        return FORMATS[self.type]


class WeightsWriter:
    """Writes the external data file of a graph and collects the initializers that point into it."""

    def __init__(self, gguf: GgufFile, file: BinaryIO, *, progress: Callable[[float], None] | None = None) -> None:
        self._gguf = gguf
        self._file = file
        self._end = 0
        self._done = 0
        self._total = sum(info.nbytes for info in gguf.tensors.values() if info.rows > 1)
        self._progress = progress
        self.initializers: list[TensorProto] = []
        self.matrices: dict[str, Matrix] = {}

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        """Add a small array; return its name."""
        if array.nbytes <= INLINE_BYTES:
            self.initializers.append(_initializer(name, array.dtype, array.shape))
            self.initializers[-1].raw_data = array.tobytes()
        else:
            self._write(self._allocate(name, array.dtype, array.shape), array)
        return name

    def matrix(self, name: str, parts: tuple[Part, ...]) -> Matrix:
        """Add the rows of `parts`, all of one type and length, as one matrix."""
        self.matrices[name] = self._matrix(name, parts)
        return self.matrices[name]

    def _matrix(self, name: str, parts: tuple[Part, ...]) -> Matrix:
        kind, columns = parts[0].info.type, parts[0].info.columns
        rows = sum(part.info.rows for part in parts)
        if kind in FORMATS:
            return self._quantized(name, parts, kind, rows, columns)
        dtype = np.dtype("float16" if kind is TensorType.F16 else "float32")
        position = self._allocate(f"{name}.values", dtype, (rows, columns))
        for raw in self._slices(parts):
            values = widened(raw) if kind is TensorType.BF16 else raw
            self._write(position, values)
            position += values.nbytes
        return Matrix(type=kind, rows=rows, columns=columns, values=f"{name}.values")

    def view(self, name: str, other: str, shape: tuple[int, ...], *, start: int = 0) -> str:
        """Name bytes of a matrix again, `start` from its beginning: what a Reshape or a Slice gives would be a copy."""
        [whole] = [tensor for tensor in self.initializers if tensor.name == name]
        where = {entry.key: entry.value for entry in whole.external_data}
        [dtype] = [dtype for dtype, number in ONNX_TYPES.items() if number == whole.data_type]
        self._point(other, dtype, shape, int(where["offset"]) + start, file=where["location"])
        return other

    def _quantized(self, name: str, parts: tuple[Part, ...], kind: TensorType, rows: int, columns: int) -> Matrix:
        stored, offsets = FORMATS[kind], offset_columns(FORMATS[kind], columns)
        blocks, block_bytes = (columns + offsets) // stored.block, stored.block * stored.bits // 8
        quants_at = self._allocate(f"{name}.quants", np.dtype("uint8"), (rows, blocks, block_bytes))
        scales_at = self._allocate(f"{name}.scales", np.dtype("float32"), (rows, blocks))
        for raw in self._slices(parts):
            quantized = rewrite(kind, raw)
            self._write(quants_at, quantized.quants)
            self._write(scales_at, quantized.scales)
            quants_at += quantized.quants.nbytes
            scales_at += quantized.scales.nbytes
        return Matrix(
            type=kind,
            rows=rows,
            columns=columns,
            values=f"{name}.quants",
            scales=f"{name}.scales",
            offset_columns=offsets,
        )

    def _slices(self, parts: tuple[Part, ...], *, nbytes: int = SLICE_BYTES) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the raw rows of `parts` in the graph's order, some `nbytes` at a time."""
        for part in parts:
            raw = self._gguf.data(part.info.name)
            order = None if part.rope_heads is None else rope_row_order(len(raw), part.rope_heads)
            step = max(1, nbytes // raw.shape[1])
            for start in range(0, len(raw), step):
                chosen = slice(start, start + step) if order is None else order[start : start + step]
                yield raw[chosen]
                self._gguf.release(part.info.name)
            self._count(part)

    def _count(self, part: Part) -> None:
        self._done += part.info.nbytes
        if self._progress is not None:
            self._progress(self._done / self._total)

    def _allocate(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
        """Reserve a page-aligned stretch of the file for an initializer; return where it begins."""
        offset = -(-self._end // ALIGNMENT) * ALIGNMENT
        self._end = offset + self._point(name, dtype, shape, offset, file=Path(self._file.name).name)
        return offset

    def _point(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, *, file: str) -> int:
        """Add an initializer that lies at `offset` in a file; return its length."""
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        tensor = _initializer(name, dtype, shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", file), ("offset", offset), ("length", nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers.append(tensor)
        return nbytes

    def _write(self, position: int, array: npt.NDArray[Any]) -> None:
        self._file.seek(position)
        self._file.write(np.ascontiguousarray(array).data)


def _initializer(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> TensorProto:
    return TensorProto(name=name, data_type=ONNX_TYPES[dtype], dims=shape)
