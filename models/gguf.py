"""Reader of GGUF files that trusts nothing in them.

Every count, length and offset is checked against the file's own size before it is used, so a hostile file costs
no more memory or time than an honest one of its size. Format: ggml's docs/gguf.md, versions 2 and 3, little-endian.
"""

import mmap
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from models.core.block_formats import TensorType, stored_together, widened
from models.errors import CorruptModelError, UnsupportedModelError

MetadataValue = int | float | bool | str | tuple[str, ...] | npt.NDArray[Any]

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 4096
MAX_TENSORS = 65536
MAX_STRING_BYTES = 16 * 1024 * 1024  # the largest string in use is a chat template of some 20 kB
MAX_ARRAY_STRINGS = 4 * 1024 * 1024  # the largest vocabulary in use has 262,144 entries
MAX_KEY_BYTES = 1024
MAX_NAME_BYTES = 256
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1024 * 1024
DEFAULT_ALIGNMENT = 32


# Names of what cannot be converted, so that the error can say what the file holds. Source: ggml.h, enum ggml_type.
OTHER_TYPES: Mapping[int, str] = MappingProxyType(
    {9: "Q8_1", 15: "Q8_K"}
    | {16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS"}
    | {24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0"}
    | {39: "MXFP4", 40: "NVFP4"}
)

# Metadata value types that are plain numbers: struct format, which is numpy's letter too.
NUMBERS: Mapping[int, str] = MappingProxyType(
    {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
)
STRING, ARRAY = 8, 9


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """Where a tensor lies and what it is; `shape` in GGUF's order, the contiguous dimension first."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int
    nbytes: int

    @property
    def columns(self) -> int:
        """Length of the contiguous dimension."""
        return self.shape[0]

    @property
    def rows(self) -> int:
        """Number of contiguous rows."""
        return prod(self.shape[1:])


class _Cursor:
    """A position in the mapped file that cannot leave it."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._size = len(data)
        self.position = 0

    @property
    def remaining(self) -> int:
        return self._size - self.position

    def take(self, nbytes: int) -> int:
        """Step over `nbytes`; return where they begin."""
        if nbytes > self.remaining:
            raise CorruptModelError(
                f"the file ends in its header: {nbytes} bytes wanted at {self.position}, {self.remaining} left"
            )
        start = self.position
        self.position += nbytes
        return start

    def number(self, letter: str) -> int | float | bool:
        form = "<" + letter
        (value,) = struct.unpack_from(form, self._data, self.take(struct.calcsize(form)))
        return value  # type: ignore[no-any-return]  # one of the three by the format

    def count(self, letter: str = "Q") -> int:
        return int(self.number(letter))

    def text(self, limit: int = MAX_STRING_BYTES) -> str:
        nbytes = self.count()
        if nbytes > limit:
            raise CorruptModelError(f"a string of {nbytes} bytes, at most {limit} are read")
        start = self.take(nbytes)
        try:
            return self._data[start : start + nbytes].decode()
        except UnicodeDecodeError as error:
            raise CorruptModelError(f"a string at byte {start} is not UTF-8") from error

    def array(self) -> tuple[str, ...] | npt.NDArray[Any]:
        item_type, items = self.count("I"), self.count()
        if item_type == STRING:
            if items > min(MAX_ARRAY_STRINGS, self.remaining // 8):
                raise CorruptModelError(f"an array of {items} strings, {self.remaining} bytes left")
            return self._strings(items)
        if item_type not in NUMBERS:
            raise CorruptModelError(f"an array of value type {item_type}")
        dtype = np.dtype(NUMBERS[item_type]).newbyteorder("<")
        start = self.take(items * dtype.itemsize)
        # A copy: a view would keep the map open for as long as somebody holds the metadata.
        return np.frombuffer(self._data, dtype=dtype, count=items, offset=start).copy()

    def _strings(self, items: int) -> tuple[str, ...]:
        """Read many strings in one loop without a call for each: a vocabulary has 100,000 of them."""
        data, size, position = self._data, self._size, self.position
        length_at = struct.Struct("<Q").unpack_from
        found: list[str] = []
        try:
            for _ in range(items):
                (nbytes,) = length_at(data, position)
                end = position + 8 + nbytes
                if nbytes > MAX_STRING_BYTES or end > size:
                    raise CorruptModelError(f"a string of {nbytes} bytes at byte {position}")
                found.append(data[position + 8 : end].decode())
                position = end
        except struct.error as error:
            raise CorruptModelError(f"the file ends in an array of {items} strings") from error
        except UnicodeDecodeError as error:
            raise CorruptModelError(f"a string at byte {position} is not UTF-8") from error
        self.position = position
        return tuple(found)

    def value(self) -> MetadataValue:
        kind = self.count("I")
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self.array()
        raise CorruptModelError(f"metadata of value type {kind}")


class GgufFile:
    """A mapped GGUF file: metadata and tensors parsed and checked, weights read where they lie."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        cursor = _Cursor(data)
        n_tensors, n_keys = _read_counts(cursor)
        self.metadata: Mapping[str, MetadataValue] = MappingProxyType(_read_metadata(cursor, n_keys))
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(
            _read_tensors(cursor, n_tensors, _alignment(self.metadata), len(data))
        )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map and parse a file; raise CorruptModelError or UnsupportedModelError for what is not sound."""
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < len(MAGIC):
                    raise CorruptModelError(f"{path.name} is too short to be a GGUF file")
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CorruptModelError(f"{path.name} cannot be read: {error.strerror}") from error
        try:
            return cls(data)
        except BaseException:
            data.close()
            raise

    def close(self) -> None:
        """Unmap the file; where arrays of `data()` are still held, it goes with the last of them."""
        with suppress(BufferError):
            self._data.close()

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def data(self, name: str) -> npt.NDArray[np.uint8]:
        """Bytes of a tensor, one row of blocks a row: (rows, bytes of a row), read-only, still in the file."""
        info = self.tensors[name]
        flat = np.frombuffer(self._data, dtype=np.uint8, count=info.nbytes, offset=info.offset)
        return flat.reshape(info.rows, -1)

    def release(self, name: str) -> None:
        """Give back the pages of a tensor that were read: they count as the process's own until it ends."""
        info = self.tensors[name]
        start = info.offset // mmap.PAGESIZE * mmap.PAGESIZE
        self._data.madvise(mmap.MADV_DONTNEED, start, info.offset + info.nbytes - start)

    def floats(self, name: str) -> npt.NDArray[np.float32]:
        """A small tensor that is not quantised (a norm's gains, RoPE factors) as one flat float32 array."""
        info, raw = self.tensors[name], self.data(name)
        match info.type:
            case TensorType.F32 | TensorType.F16:
                return raw.reshape(-1).view("<f4" if info.type is TensorType.F32 else "<f2").astype(np.float32)
            case TensorType.BF16:
                return widened(raw).reshape(-1)
        raise UnsupportedModelError(f"{name} is {info.type.name}; F32, F16 and BF16 are supported there")


def _read_counts(cursor: _Cursor) -> tuple[int, int]:
    """Check magic and version; return the numbers of tensors and of metadata keys."""
    magic = struct.pack("<I", cursor.count("I"))
    if magic != MAGIC:
        raise CorruptModelError(f"not a GGUF file: it begins with {magic!r}")
    version = cursor.count("I")
    if version not in VERSIONS:
        kind = "big-endian GGUF" if version & 0xFFFF == 0 else f"GGUF version {version}"
        raise UnsupportedModelError(f"{kind} is not supported; little-endian versions 2 and 3 are")
    n_tensors, n_keys = cursor.count(), cursor.count()
    if n_tensors > MAX_TENSORS or n_keys > MAX_KEYS:
        raise CorruptModelError(f"a header of {n_tensors} tensors and {n_keys} metadata keys")
    return n_tensors, n_keys


def _read_metadata(cursor: _Cursor, n_keys: int) -> dict[str, MetadataValue]:
    metadata: dict[str, MetadataValue] = {}
    for _ in range(n_keys):
        key = cursor.text(limit=MAX_KEY_BYTES)
        if key in metadata:
            raise CorruptModelError(f"metadata key {key!r} occurs twice")
        metadata[key] = cursor.value()
    return metadata


def _alignment(metadata: Mapping[str, MetadataValue]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment.bit_count() != 1 or not 1 <= alignment <= MAX_ALIGNMENT:
        raise CorruptModelError(f"tensors aligned to {alignment!r} bytes")
    return alignment


def _read_tensors(cursor: _Cursor, n_tensors: int, alignment: int, file_size: int) -> dict[str, TensorInfo]:
    """Parse the tensor table; offsets become positions in the file, and no two tensors may share a byte."""
    relative = [_read_tensor(cursor) for _ in range(n_tensors)]
    data_start = -(-cursor.position // alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    for name, shape, kind, offset in relative:
        if name in tensors:
            raise CorruptModelError(f"tensor {name!r} occurs twice")
        weights, block_bytes = stored_together(kind)
        nbytes = prod(shape) // weights * block_bytes
        if offset % alignment or data_start + offset + nbytes > file_size:
            raise CorruptModelError(
                f"tensor {name!r} of {nbytes} bytes at {data_start + offset} does not fit the file of {file_size} bytes"
            )
        tensors[name] = TensorInfo(name=name, shape=shape, type=kind, offset=data_start + offset, nbytes=nbytes)
    end = data_start
    for info in sorted(tensors.values(), key=lambda info: info.offset):
        if info.offset < end:
            raise CorruptModelError(f"tensor {info.name!r} overlaps the one before it")
        end = info.offset + info.nbytes
    return tensors


def _read_tensor(cursor: _Cursor) -> tuple[str, tuple[int, ...], TensorType, int]:
    name = cursor.text(limit=MAX_NAME_BYTES)
    n_dimensions = cursor.count("I")
    if not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise CorruptModelError(f"tensor {name!r} has {n_dimensions} dimensions")
    shape = tuple(cursor.count() for _ in range(n_dimensions))
    number = cursor.count("I")
    offset = cursor.count()
    try:
        kind = TensorType(number)
    except ValueError as error:
        if number not in OTHER_TYPES:
            raise CorruptModelError(f"tensor {name!r} has the unknown type {number}") from error
        supported = ", ".join(kind.name for kind in TensorType)
        raise UnsupportedModelError(
            f"tensor {name!r} is quantised as {OTHER_TYPES[number]}; supported: {supported}"
        ) from error
    if 0 in shape or shape[0] % stored_together(kind)[0]:
        raise CorruptModelError(f"tensor {name!r} of type {kind.name} has the shape {shape}")
    return name, shape, kind, offset
