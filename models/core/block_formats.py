"""ggml's block formats read: what each block of a tensor's bytes says of its weights.

A row of weights is cut into blocks; each is its quants and one or two numbers for all of them, w = scale * (q - zero)
+ offset.  In the K formats 256 weights make a superblock, whose blocks have their scales and minima as few bits of the
superblock's own.  Source: ggml-common.h and ggml-quants.c, dequantize_row_*.

A hostile file's scales may be anything, infinite or no number at all: such weights come out as whatever follows,
without a warning and without an exception.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


class TensorType(IntEnum):
    """The tensor types that this package converts, by their ggml number."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    IQ4_NL = 20
    BF16 = 30


@dataclass(frozen=True)
class Blocks:
    """Rows of quantised weights, w = scales * (quants - zero) + offsets.

    quants: (rows, blocks, weights of a block) uint8; scales: (rows, blocks) float32; offsets: the same, or None.
    """

    quants: UInt8Array
    scales: Float32Array
    zero: int
    offsets: Float32Array | None = None

    def weights(self) -> Float32Array:
        """Give the weights themselves, (rows, columns)."""
        with np.errstate(over="ignore", invalid="ignore"):
            weights = self.scales[..., None] * (self.quants.astype(np.float32) - np.float32(self.zero))
            if self.offsets is not None:
                weights += self.offsets[..., None]
        return weights.reshape(len(weights), -1)


@dataclass(frozen=True, kw_only=True)
class BlockFormat:
    """How a quantised tensor is stored.

    weights, nbytes: of what is stored together; block: weights that share a scale; bits: the fewest of MatMulNBits' in
    which each quant has room; has_offsets: whether blocks have a minimum besides.
    """

    weights: int
    nbytes: int
    block: int
    bits: int
    has_offsets: bool
    read: Callable[[UInt8Array], Blocks]


def _read_q4_0(raw: UInt8Array) -> Blocks:
    return Blocks(_nibbles(raw[..., 2:]), _halves(raw[..., :2]), 8)


def _read_q4_1(raw: UInt8Array) -> Blocks:
    return _with_minima(_nibbles(raw[..., 4:]), _halves(raw[..., :2]), _halves(raw[..., 2:4]), 8)


def _read_q5_0(raw: UInt8Array) -> Blocks:
    return Blocks(_nibbles(raw[..., 6:]) | _fifth_bits(raw[..., 2:6]), _halves(raw[..., :2]), 16)


def _read_q5_1(raw: UInt8Array) -> Blocks:
    quants = _nibbles(raw[..., 8:]) | _fifth_bits(raw[..., 4:8])
    return _with_minima(quants, _halves(raw[..., :2]), _halves(raw[..., 2:4]), 16)


def _read_q8_0(raw: UInt8Array) -> Blocks:
    return Blocks(raw[..., 2:] ^ np.uint8(128), _halves(raw[..., :2]), 128)


def _read_iq4_nl(raw: UInt8Array) -> Blocks:
    return Blocks(NONLINEAR[_nibbles(raw[..., 2:])], _halves(raw[..., :2]), 128)


def _read_q2_k(raw: UInt8Array) -> Blocks:
    small, (scale, least) = raw[..., :16], (_halves(raw[..., 80:82]), _halves(raw[..., 82:84]))
    with np.errstate(over="ignore", invalid="ignore"):
        scales, minima = scale[..., None] * (small & 15), -least[..., None] * (small >> 4)
    quants = _spread_bits(raw[..., 16:80], 2)
    return _with_minima(_in_blocks(quants, 16), _flat(scales), _flat(minima), 2)


def _read_q3_k(raw: UInt8Array) -> Blocks:
    high, low, packed, scale = raw[..., :32], raw[..., 32:96], raw[..., 96:108], _halves(raw[..., 108:110])
    # Of the sixteen scales the low four bits come first, two in a byte; then the high two, four in a byte.
    lows = np.concatenate([packed[..., :8] & 15, packed[..., :8] >> 4], -1)
    highs = np.concatenate([packed[..., 8:] >> shift & 3 for shift in (0, 2, 4, 6)], -1)
    with np.errstate(over="ignore", invalid="ignore"):
        scales = scale[..., None] * ((lows | highs << 4).astype(np.float32) - 32)
    third = _spread_bits(high, 1)
    return Blocks(_in_blocks(_spread_bits(low, 2) | third << np.uint8(2), 16), _flat(scales), 4)


def _read_q4_k(raw: UInt8Array) -> Blocks:
    scales, minima = _k_scales(raw)
    return _with_minima(_in_blocks(_halves_of_bytes(raw[..., 16:144]), 32), scales, minima, 8)


def _read_q5_k(raw: UInt8Array) -> Blocks:
    scales, minima = _k_scales(raw)
    fifth = _spread_bits(raw[..., 16:48], 1)
    return _with_minima(_in_blocks(_halves_of_bytes(raw[..., 48:176]) | fifth << np.uint8(4), 32), scales, minima, 16)


def _read_q6_k(raw: UInt8Array) -> Blocks:
    low, high = raw[..., :128], raw[..., 128:192]
    small = np.ascontiguousarray(raw[..., 192:208]).view(np.int8)
    with np.errstate(over="ignore", invalid="ignore"):
        scales = _halves(raw[..., 208:210])[..., None] * small
    lows = np.concatenate([half >> shift & 15 for half in (low[..., :64], low[..., 64:]) for shift in (0, 4)], -1)
    return Blocks(_in_blocks(lows | _spread_bits(high, 2) << np.uint8(4), 16), _flat(scales), 32)


# The weights of IQ4_NL's quants, kvalues_iq4nl, with 128 added.
NONLINEAR: Final = (
    np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int16) + 128
).astype(np.uint8)

FORMATS: Final[Mapping[TensorType, BlockFormat]] = MappingProxyType(
    {
        kind: BlockFormat(weights=weights, nbytes=nbytes, block=block, bits=bits, has_offsets=has_offsets, read=read)
        for kind, weights, nbytes, block, bits, has_offsets, read in (
            (TensorType.Q4_0, 32, 18, 32, 4, False, _read_q4_0),
            (TensorType.Q4_1, 32, 20, 32, 4, True, _read_q4_1),
            (TensorType.Q5_0, 32, 22, 32, 8, False, _read_q5_0),
            (TensorType.Q5_1, 32, 24, 32, 8, True, _read_q5_1),
            (TensorType.Q8_0, 32, 34, 32, 8, False, _read_q8_0),
            (TensorType.Q2_K, 256, 84, 16, 4, True, _read_q2_k),
            (TensorType.Q3_K, 256, 110, 16, 4, False, _read_q3_k),
            (TensorType.Q4_K, 256, 144, 32, 4, True, _read_q4_k),
            (TensorType.Q5_K, 256, 176, 32, 8, True, _read_q5_k),
            (TensorType.Q6_K, 256, 210, 16, 8, False, _read_q6_k),
            (TensorType.IQ4_NL, 32, 18, 32, 8, False, _read_iq4_nl),
        )
    }
)


# Weights and bytes of what is stored one by one.
PLAIN: Final[Mapping[TensorType, tuple[int, int]]] = MappingProxyType(
    {TensorType.F32: (1, 4), TensorType.F16: (1, 2), TensorType.BF16: (1, 2)}
)


def stored_together(kind: TensorType) -> tuple[int, int]:
    """Give how many weights of a type are stored together, and in how many bytes."""
    return PLAIN[kind] if kind in PLAIN else (FORMATS[kind].weights, FORMATS[kind].nbytes)


def read_blocks(kind: TensorType, raw: UInt8Array) -> Blocks:
    """Read rows of a quantised tensor.  raw: (rows, bytes of a row) uint8."""
    stored = FORMATS[kind]
    return stored.read(raw.reshape(raw.shape[0], -1, stored.nbytes))


def widened(raw: UInt8Array) -> Float32Array:
    """Read BF16, the upper halves of float32.  raw: (rows, bytes of a row) uint8."""
    halves = np.ascontiguousarray(raw).view("<u2").astype(np.uint32)
    return (halves << np.uint32(16)).view(np.float32)


def _with_minima(quants: UInt8Array, scales: Float32Array, minima: Float32Array, zero: int) -> Blocks:
    """Put blocks together whose least quant is worth their minimum; zero: in the middle, where offsets are small."""
    with np.errstate(over="ignore", invalid="ignore"):
        return Blocks(quants, scales, zero, minima + np.float32(zero) * scales)


def _halves(raw: UInt8Array) -> Float32Array:
    """Read one float16 a block: (rows, blocks, 2) uint8 -> (rows, blocks) float32."""
    return np.ascontiguousarray(raw).view("<f2")[..., 0].astype(np.float32)


def _nibbles(packed: UInt8Array) -> UInt8Array:
    """Unpack byte j = weights j (low) and j + n (high): (..., n) to (..., 2 n)."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _halves_of_bytes(packed: UInt8Array) -> UInt8Array:
    """Unpack nibbles 32 bytes at a time, as the K formats have them: (..., 128) to (..., 256)."""
    return _flat_last(_nibbles(packed.reshape(*packed.shape[:-1], -1, 32)))


def _spread_bits(packed: UInt8Array, bits: int) -> UInt8Array:
    """Unpack groups of `bits` bits 32 bytes at a time, the lowest bits first: (..., 32 n) to (..., 256 n / bits)."""
    mask = np.uint8((1 << bits) - 1)
    cut = packed.reshape(*packed.shape[:-1], -1, 32)
    return _flat_last(np.concatenate([cut >> shift & mask for shift in range(0, 8, bits)], -1))


def _fifth_bits(packed: UInt8Array) -> UInt8Array:
    """Unpack one bit a weight, worth 16: (..., 4) to (..., 32)."""
    return np.unpackbits(packed, axis=-1, bitorder="little") << np.uint8(4)


def _k_scales(raw: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """Read the eight scales and minima of Q4_K's and Q5_K's superblocks, six bits each: (rows, 8 a superblock)."""
    first, second, mixed = raw[..., 4:8], raw[..., 8:12], raw[..., 12:16]
    scales = np.concatenate([first & 63, (mixed & 15) | (first >> 2 & 48)], -1)
    minima = np.concatenate([second & 63, (mixed >> 4) | (second >> 2 & 48)], -1)
    with np.errstate(over="ignore", invalid="ignore"):
        return (
            _flat(_halves(raw[..., :2])[..., None] * scales),
            _flat(-_halves(raw[..., 2:4])[..., None] * minima),
        )


def _flat_last(array: UInt8Array) -> UInt8Array:
    return array.reshape(*array.shape[:-2], -1)


def _flat(numbers: Float32Array) -> Float32Array:
    """Let the numbers of a row's superblocks follow each other: (rows, superblocks, n) to (rows, blocks)."""
    return numbers.reshape(len(numbers), -1)


def _in_blocks(quants: UInt8Array, weights: int) -> UInt8Array:
    """Cut superblocks into blocks of so many weights: (rows, superblocks, 256) to (rows, blocks, weights)."""
    return quants.reshape(len(quants), -1, weights)
