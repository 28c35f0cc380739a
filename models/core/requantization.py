"""Weights of ggml's blocks as float32, and float32 weights as eight bits with one scale a row.

A hostile file's scales may be anything, infinite or no number at all: such weights come out as some quant or other,
without a warning and without an exception.
"""

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Int8Array = npt.NDArray[np.int8]
Float32Array = npt.NDArray[np.float32]

MAX_QUANT = 127


def q4_0_weights(raw: UInt8Array) -> Float32Array:
    """Read Q4_0, w = d * (q - 8).  raw: (rows, blocks * 18) uint8; returns (rows, blocks * 32)."""
    blocks = raw.reshape(raw.shape[0], -1, 18)
    return _weights(blocks[..., :2], _nibbles(blocks[..., 2:]) - np.float32(8), None)


def q4_1_weights(raw: UInt8Array) -> Float32Array:
    """Read Q4_1, w = d * q + m.  raw: (rows, blocks * 20) uint8; returns (rows, blocks * 32)."""
    blocks = raw.reshape(raw.shape[0], -1, 20)
    return _weights(blocks[..., :2], _nibbles(blocks[..., 4:]), blocks[..., 2:4])


def q8_0_weights(raw: UInt8Array) -> Float32Array:
    """Read Q8_0, w = d * q with signed q.  raw: (rows, blocks * 34) uint8; returns (rows, blocks * 32)."""
    blocks = raw.reshape(raw.shape[0], -1, 34)
    return _weights(blocks[..., :2], np.ascontiguousarray(blocks[..., 2:]).view(np.int8).astype(np.float32), None)


def int8_scales(weights: Float32Array, *, axis: int) -> Float32Array:
    """Give what one step of the quants is worth, for each slice along `axis`, which stays with a length of 1.

    A slice of zeros has a scale all the same.
    """
    with np.errstate(invalid="ignore"):
        greatest = np.maximum(weights.max(axis=axis, keepdims=True), -weights.min(axis=axis, keepdims=True))
    scales: Float32Array = np.maximum(np.nan_to_num(greatest) / np.float32(MAX_QUANT), np.finfo(np.float32).tiny)
    return scales


def to_int8(weights: Float32Array, scales: Float32Array) -> Int8Array:
    """Round weights to steps of their scales."""
    with np.errstate(over="ignore", invalid="ignore"):
        steps = weights * (1 / scales)
    np.fmin(steps, MAX_QUANT, out=steps)  # what is no number becomes one
    np.fmax(steps, -MAX_QUANT, out=steps)
    return np.rint(steps, out=steps).astype(np.int8)


def _weights(scales: UInt8Array, quants: Float32Array, minima: UInt8Array | None) -> Float32Array:
    """Put blocks together: scales and minima (rows, blocks, 2) bytes of float16, quants (rows, blocks, 32)."""
    with np.errstate(over="ignore", invalid="ignore"):
        weights = _halves(scales)[..., None] * quants
        if minima is not None:
            weights += _halves(minima)[..., None]
    return weights.reshape(len(weights), -1)


def _halves(raw: UInt8Array) -> Float32Array:
    return np.ascontiguousarray(raw).view("<f2")[..., 0].astype(np.float32)


def _nibbles(packed: UInt8Array) -> Float32Array:
    """Unpack ggml's order, byte j = weights j (low) and j + 16 (high): (rows, blocks, 16) to (rows, blocks, 32)."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1).astype(np.float32)
