"""Rows of quantised tensors with random quants, and numbers of a sensible size or of none."""

import numpy as np
import numpy.typing as npt

from models.core.block_formats import FORMATS, TensorType, read_blocks

UInt8Array = npt.NDArray[np.uint8]

# Where float16 numbers lie in what is stored together.
HALVES = {
    TensorType.Q2_K: slice(80, 84),
    TensorType.Q3_K: slice(108, 110),
    TensorType.Q6_K: slice(208, 210),
} | dict.fromkeys((TensorType.Q4_1, TensorType.Q5_1, TensorType.Q4_K, TensorType.Q5_K), slice(0, 4))


def random_rows(kind: TensorType, *, seed: int, rows: int, blocks: int) -> UInt8Array:
    """Give rows of so many blocks, or superblocks: any bits in the quants, scales around 1."""
    random, where = np.random.default_rng(seed), HALVES.get(kind, slice(0, 2))
    raw = random.integers(0, 256, (rows, blocks, FORMATS[kind].nbytes), np.uint8)
    halves = random.normal(size=(rows, blocks, (where.stop - where.start) // 2)).astype(np.float16)
    raw[..., where] = halves.view(np.uint8)
    return raw.reshape(rows, -1)


def with_halves(raw: UInt8Array, kind: TensorType, half: int) -> UInt8Array:
    """Put one float16, by its bits, wherever the first block of the first row has one."""
    where = HALVES.get(kind, slice(0, 2))
    changed = raw.copy()
    changed[0, where] = np.tile(np.array([half], "<u2").view(np.uint8), (where.stop - where.start) // 2)
    return changed


def sized(raw: UInt8Array, kind: TensorType, deviation: float) -> UInt8Array:
    """Multiply the scales of rows so that their weights have this standard deviation."""
    where = HALVES.get(kind, slice(0, 2))
    changed = raw.reshape(len(raw), -1, FORMATS[kind].nbytes).copy()
    factor = deviation / read_blocks(kind, raw).weights().std()
    halves = np.ascontiguousarray(changed[..., where]).view(np.float16).astype(np.float32) * factor
    changed[..., where] = halves.astype(np.float16).view(np.uint8)
    return changed.reshape(len(raw), -1)
