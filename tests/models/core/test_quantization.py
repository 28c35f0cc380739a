"""Rewritten blocks stand for the very weights that ggml reads from them."""

import gguf
import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType as Type
from hypothesis import given, settings
from hypothesis import strategies as st

from models.core.quantization import (
    INT4_ZERO_POINT,
    INT8_ZERO_POINT,
    QuantizedRows,
    from_q4_0,
    from_q4_1,
    from_q8_0,
    rope_row_order,
    rope_tables,
)

REWRITES = {Type.Q4_0: from_q4_0, Type.Q4_1: from_q4_1, Type.Q8_0: from_q8_0}


def _weights(rows: QuantizedRows) -> npt.NDArray[np.float64]:
    """Read rows as MatMulNBits does: two quants a byte, the low nibble first."""
    if rows.quants.shape[-1] == 32:
        quants = rows.quants.astype(np.float64) - INT8_ZERO_POINT
    else:
        pairs = np.stack([rows.quants & 15, rows.quants >> 4], -1)
        quants = pairs.reshape(*rows.quants.shape[:2], 32).astype(np.float64) - INT4_ZERO_POINT
    weights = quants * rows.scales[..., None]
    if rows.offsets is not None:
        weights += rows.offsets[..., None]
    return weights.reshape(len(quants), -1)


@pytest.mark.parametrize("kind", REWRITES)
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), blocks=st.integers(1, 4))
def test_no_weight_changes(kind: Type, seed: int, rows: int, blocks: int) -> None:
    """Every bit pattern of the quants and any scale come out as ggml's own package reads them."""
    random = np.random.default_rng(seed)
    scales = random.normal(size=(rows, blocks, 2)).astype(np.float16).view(np.uint8)
    used = 4 if kind is Type.Q4_1 else 2
    quants = random.integers(0, 256, (rows, blocks, 32 if kind is Type.Q8_0 else 16), np.uint8)
    raw = np.concatenate([scales[..., :used], quants], -1).reshape(rows, -1)
    expected = gguf.quants.dequantize(raw, kind)
    np.testing.assert_allclose(_weights(REWRITES[kind](raw)), expected, rtol=1e-6, atol=1e-5)


@settings(deadline=None)
@given(heads=st.integers(1, 6), half=st.integers(1, 8))
def test_row_order_undoes_the_permutation(heads: int, half: int) -> None:
    """Reordered, ggml's rows stand as the checkpoint had them."""
    rows = np.arange(heads * half * 2)
    stored = rows.reshape(heads, 2, half).swapaxes(1, 2).reshape(-1)  # convert_hf_to_gguf.py's permute
    assert rows.tolist() == stored[rope_row_order(len(rows), heads)].tolist()


def test_rope_tables_turn_by_position_times_frequency() -> None:
    """Angles grow with the position and shrink along the head; factors divide the frequencies."""
    cosines, sines = rope_tables(positions=3, head_dim=4, base=100.0)
    angles = np.array([[0, 0], [1, 0.1], [2, 0.2]])
    np.testing.assert_allclose(cosines, np.cos(angles), rtol=1e-6)
    np.testing.assert_allclose(sines, np.sin(angles), rtol=1e-6)
    slowed, _ = rope_tables(positions=3, head_dim=4, base=100.0, factors=np.array([1, 2], np.float32))
    np.testing.assert_allclose(slowed, np.cos(angles / [1, 2]), rtol=1e-6)
