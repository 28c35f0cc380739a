"""ggml's weight blocks rewritten for ONNX's MatMulNBits, without a second rounding.

A row of `columns` weights is cut into blocks of 32. ggml writes each block as its scale(s) followed by its quants;
MatMulNBits wants the quants of a matrix in one array and the scales in another, with
w = scale * (q - zero point), zero point 8 (4 bits) or 128 (8 bits).  Source: ggml-common.h, block_q4_0, q4_1, q8_0.

Q4_1 has a minimum for each block besides.  What it adds to every weight of the block, the block's offset, goes into
further columns that meet the sums of x's blocks: x @ W.T = [x, sums(x) @ spread] @ [quants, digits].T, where an offset
is written as OFFSET_DIGITS digits to the base OFFSET_BASE, each a 4-bit quant of its own (docs/adr/0007).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

BLOCK = 32  # weights that share a scale, in every supported format
INT4_ZERO_POINT = 8
INT8_ZERO_POINT = 128
OFFSET_DIGITS = 3  # an offset errs by at most 0.5 / 7 / 15^2, 1/3150, of its row's greatest: less than float16's own
OFFSET_BASE = 15  # digits run from -7 to 7
MAX_DIGIT = OFFSET_BASE // 2


@dataclass(frozen=True, kw_only=True)
class QuantizedRows:
    """Rows of a matrix in MatMulNBits' form.

    quants: (rows, blocks, bytes of a block) uint8; scales: (rows, blocks) float32.
    The blocks of Q4_1 are followed by those of its offsets.
    """

    quants: UInt8Array
    scales: Float32Array


def from_q4_0(raw: UInt8Array) -> QuantizedRows:
    """Rewrite Q4_0, w = d * (q - 8).

    raw: (rows, blocks * 18) uint8; a block is d (float16), then 16 bytes of quants.
    """
    blocks = _blocks(raw, 18)
    return QuantizedRows(quants=_pair_neighbours(blocks[..., 2:]), scales=_halves(blocks[..., :2]))


def from_q4_1(raw: UInt8Array) -> QuantizedRows:
    """Rewrite Q4_1, w = d * q + m, as d * (q - 8) + (m + 8 d).

    raw: (rows, blocks * 20) uint8; a block is d and m (float16), then 16 bytes of quants.
    """
    blocks = _blocks(raw, 20)
    scales, minima = _halves(blocks[..., :2]), _halves(blocks[..., 2:4])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # a hostile file's scales may be anything
        offset_scales, digits = _digits(minima + np.float32(INT4_ZERO_POINT) * scales)
    return QuantizedRows(
        quants=np.concatenate([_pair_neighbours(blocks[..., 4:]), digits], axis=1),
        scales=np.concatenate([scales, np.repeat(offset_scales, digits.shape[1], axis=1)], axis=1),
    )


def offset_columns(blocks: int) -> int:
    """Give how many columns hold the offsets of a row of `blocks` blocks: whole blocks themselves."""
    return -(-blocks * OFFSET_DIGITS // BLOCK) * BLOCK


def offset_spread(blocks: int) -> Float32Array:
    """Give the matrix (blocks, offset_columns) that turns sums of x's blocks into what meets the offsets' digits."""
    spread = np.zeros((blocks, offset_columns(blocks)), np.float32)
    for digit in range(OFFSET_DIGITS):
        np.fill_diagonal(spread[:, digit * blocks :], float(OFFSET_BASE) ** -digit)
    return spread


def _digits(offsets: Float32Array) -> tuple[Float32Array, UInt8Array]:
    """Write offsets (rows, blocks) as digits: scales (rows, 1) and quants (rows, blocks of digits, 16)."""
    rows, blocks = offsets.shape
    scales = np.abs(offsets).max(axis=1, keepdims=True) / np.float32(MAX_DIGIT)
    rest = np.nan_to_num(offsets / scales)
    quants = np.full((rows, offset_columns(blocks)), INT4_ZERO_POINT, np.uint8)
    for digit in range(OFFSET_DIGITS):
        whole = np.clip(np.rint(rest), -MAX_DIGIT, MAX_DIGIT)
        quants[:, digit * blocks : (digit + 1) * blocks] = whole + INT4_ZERO_POINT
        rest = (rest - whole) * OFFSET_BASE
    packed: UInt8Array = quants[:, 0::2] | quants[:, 1::2] << np.uint8(4)
    return scales, packed.reshape(rows, -1, BLOCK // 2)


def from_q8_0(raw: UInt8Array) -> QuantizedRows:
    """Rewrite Q8_0, w = d * q with signed q, as d * ((q + 128) - 128).

    raw: (rows, blocks * 34) uint8; a block is d (float16), then 32 signed bytes.
    """
    blocks = _blocks(raw, 34)
    return QuantizedRows(quants=blocks[..., 2:] ^ np.uint8(INT8_ZERO_POINT), scales=_halves(blocks[..., :2]))


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


def _blocks(raw: UInt8Array, block_bytes: int) -> UInt8Array:
    return raw.reshape(raw.shape[0], -1, block_bytes)


def _halves(raw: UInt8Array) -> Float32Array:
    """Read one float16 a block: (rows, blocks, 2) uint8 -> (rows, blocks) float32."""
    return np.ascontiguousarray(raw).view("<f2")[..., 0].astype(np.float32)


def _pair_neighbours(packed: UInt8Array) -> UInt8Array:
    """Turn ggml's nibble order into MatMulNBits'.

    packed: (rows, blocks, 16) uint8; byte j holds weights j (low nibble) and j + 16 (high).
    Returns the same shape; byte j holds weights 2 j (low) and 2 j + 1 (high).
    """
    low, high = packed & 15, packed >> 4
    return np.concatenate([low[..., 0::2] | low[..., 1::2] << 4, high[..., 0::2] | high[..., 1::2] << 4], axis=-1)
