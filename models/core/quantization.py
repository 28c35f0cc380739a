"""ggml's weight blocks rewritten for ONNX's MatMulNBits, without a second rounding.

A row of `columns` weights is cut into blocks of 32. ggml writes each block as its scale(s) followed by its quants;
MatMulNBits wants the quants of a matrix in one array and the scales in another, with
w = scale * (q - zero point), zero point 8 (4 bits) or 128 (8 bits).  Source: ggml-common.h, block_q4_0, q4_1, q8_0.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

BLOCK = 32  # weights that share a scale, in every supported format
INT4_ZERO_POINT = 8
INT8_ZERO_POINT = 128


@dataclass(frozen=True, kw_only=True)
class QuantizedRows:
    """Rows of a matrix in MatMulNBits' form.

    quants: (rows, blocks, bytes of a block) uint8; scales: (rows, blocks) float32.
    offsets: (rows, blocks) float32 to be added to every weight of a block, or None where the format has none.
    """

    quants: UInt8Array
    scales: Float32Array
    offsets: Float32Array | None = None


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
    offsets = minima + np.float32(INT4_ZERO_POINT) * scales
    return QuantizedRows(quants=_pair_neighbours(blocks[..., 4:]), scales=scales, offsets=offsets)


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
