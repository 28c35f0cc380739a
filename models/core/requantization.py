"""Weights as eight bits with one scale a row.

A hostile file's weights may be anything, infinite or no number at all: they come out as some quant or other, without a
warning and without an exception.
"""

import numpy as np
import numpy.typing as npt

Int8Array = npt.NDArray[np.int8]
Float32Array = npt.NDArray[np.float32]

MAX_QUANT = 127


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
