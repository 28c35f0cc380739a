"""ggml's weight blocks rewritten for ONNX's MatMulNBits, without a second rounding.

MatMulNBits wants the quants of a matrix in one array and the scales in another, with w = scale * (q - zero point),
zero point 8 (4 bits) or 128 (8 bits), in blocks of 16 or more.  What ggml has in 5 or 6 bits goes into 8, what it has
in 2 or 3 into 4.

Formats with minima have an offset for each block besides.  What it adds to every weight of the block goes into further
columns that meet the sums of x's blocks: x @ W.T = [x, sums(x) @ spread] @ [quants, digits].T, where an offset is
written as digits, each a quant of its own (docs/adr/0007).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from models.core.block_formats import FORMATS, BlockFormat, TensorType, read_blocks

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


NIBBLE: Final = 4  # bits


@dataclass(frozen=True, kw_only=True)
class Quants:
    """What MatMulNBits does with quants of so many bits, and how an offset is written in them.

    An offset is `digits` digits to an odd base, from -greatest to greatest each.
    """

    zero_point: int
    digits: int
    greatest: int

    @property
    def base(self) -> int:
        """What a step of a digit is worth in steps of the next."""
        return 2 * self.greatest + 1


# An offset errs by at most 1/3150 (4 bits) or 1/64770 (8 bits) of its row's greatest: less than float16's own.
QUANTS: Final[Mapping[int, Quants]] = MappingProxyType(
    {
        NIBBLE: Quants(zero_point=8, digits=3, greatest=7),
        8: Quants(zero_point=128, digits=2, greatest=127),
    }
)


@dataclass(frozen=True, kw_only=True)
class QuantizedRows:
    """Rows of a matrix in MatMulNBits' form.

    quants: (rows, blocks, bytes of a block) uint8; scales: (rows, blocks) float32.
    Blocks of weights are followed by those of their offsets, where the format has minima.
    """

    quants: UInt8Array
    scales: Float32Array


def rewrite(kind: TensorType, raw: UInt8Array) -> QuantizedRows:
    """Rewrite rows of a quantised tensor.  raw: (rows, bytes of a row) uint8."""
    stored, blocks = FORMATS[kind], read_blocks(kind, raw)
    quants = blocks.quants + np.uint8(QUANTS[stored.bits].zero_point - blocks.zero)
    scales = blocks.scales
    if blocks.offsets is not None:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # a hostile file's may be anything
            digit_scales, digits = _digits(blocks.offsets, stored)
        quants = np.concatenate([quants, digits], axis=1)
        scales = np.concatenate([scales, np.repeat(digit_scales, digits.shape[1], axis=1)], axis=1)
    if stored.bits == NIBBLE:
        quants = quants[..., 0::2] | quants[..., 1::2] << np.uint8(4)
    return QuantizedRows(quants=quants, scales=scales)


def offset_columns(stored: BlockFormat, columns: int) -> int:
    """Give how many columns hold the offsets of a row of `columns` weights: whole blocks themselves."""
    if not stored.has_offsets:
        return 0
    digits = columns // stored.block * QUANTS[stored.bits].digits
    return -(-digits // stored.block) * stored.block


def offset_spread(stored: BlockFormat, columns: int) -> Float32Array:
    """Give the matrix (blocks, offset_columns) that turns sums of x's blocks into what meets the offsets' digits."""
    blocks, quants = columns // stored.block, QUANTS[stored.bits]
    spread = np.zeros((blocks, offset_columns(stored, columns)), np.float32)
    for digit in range(quants.digits):
        np.fill_diagonal(spread[:, digit * blocks :], float(quants.base) ** -digit)
    return spread


def _digits(offsets: Float32Array, stored: BlockFormat) -> tuple[Float32Array, UInt8Array]:
    """Write offsets (rows, blocks) as digits: scales (rows, 1) and quants (rows, blocks of digits, weights of one)."""
    (rows, blocks), quants = offsets.shape, QUANTS[stored.bits]
    scales = np.abs(offsets).max(axis=1, keepdims=True) / np.float32(quants.greatest)
    rest = np.nan_to_num(offsets / scales)
    digits = np.full((rows, offset_columns(stored, blocks * stored.block)), quants.zero_point, np.uint8)
    for digit in range(quants.digits):
        whole = np.clip(np.rint(rest), -quants.greatest, quants.greatest)
        digits[:, digit * blocks : (digit + 1) * blocks] = whole + quants.zero_point
        rest = (rest - whole) * quants.base
    return scales, digits.reshape(rows, -1, stored.block)


def rope_row_order(rows: int, heads: int) -> npt.NDArray[np.intp]:
    """Give the order that undoes ggml's interleaving of the rows of q and k.

    Inside each head ggml stores rotation pairs side by side (0, h/2, 1, h/2 + 1, ...); GroupQueryAttention wants the
    first halves of all pairs, then the second.  Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute.
    """
    return np.arange(rows).reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1)


def rope_tables(
    *, positions: int, head_dim: int, base: float, factors: Float32Array | None = None
) -> tuple[Float32Array, Float32Array]:
    """Compute cosines and sines of rotary embeddings, (positions, head_dim / 2) each.

    factors: (head_dim / 2,) that divide the frequencies (Llama 3.1's `rope_freqs`), or None.
    """
    frequencies = base ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if factors is not None:
        frequencies /= factors
    angles = np.arange(positions)[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
