"""Rewritten blocks stand for the very weights that ggml reads from them."""

import gguf
import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType as Type
from hypothesis import given, settings
from hypothesis import strategies as st

from models.core.quantization import (
    BLOCK,
    INT4_ZERO_POINT,
    INT8_ZERO_POINT,
    QuantizedRows,
    from_q4_0,
    from_q4_1,
    from_q8_0,
    offset_spread,
    rope_row_order,
    rope_tables,
)

REWRITES = {Type.Q4_0: from_q4_0, Type.Q8_0: from_q8_0}


def _weights(rows: QuantizedRows, columns: int) -> npt.NDArray[np.float64]:
    """Read rows as the graph does: two quants a byte, the low nibble first; offsets' digits behind the columns."""
    if rows.quants.shape[-1] == 32:
        quants = rows.quants.astype(np.float64) - INT8_ZERO_POINT
    else:
        pairs = np.stack([rows.quants & 15, rows.quants >> 4], -1)
        quants = pairs.reshape(*rows.quants.shape[:2], 32).astype(np.float64) - INT4_ZERO_POINT
    weights = (quants * rows.scales[..., None]).reshape(len(quants), -1)
    offsets = weights[:, columns:] @ offset_spread(columns // BLOCK).T if weights.shape[1] > columns else np.zeros(1)
    return weights[:, :columns] + offsets.repeat(BLOCK if offsets.ndim > 1 else 1, axis=-1)


def _random_rows(kind: Type, seed: int, rows: int, blocks: int) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    scales = random.normal(size=(rows, blocks, 2)).astype(np.float16).view(np.uint8)
    used = 4 if kind is Type.Q4_1 else 2
    quants = random.integers(0, 256, (rows, blocks, 32 if kind is Type.Q8_0 else 16), np.uint8)
    return np.concatenate([scales[..., :used], quants], -1).reshape(rows, -1)


@pytest.mark.parametrize("kind", [Type.Q4_0, Type.Q8_0])
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), blocks=st.integers(1, 4))
def test_no_weight_changes(kind: Type, seed: int, rows: int, blocks: int) -> None:
    """Every bit pattern of the quants and any scale come out as ggml's own package reads them."""
    raw = _random_rows(kind, seed, rows, blocks)
    found = _weights(REWRITES[kind](raw), blocks * BLOCK)
    np.testing.assert_allclose(found, gguf.quants.dequantize(raw, kind), rtol=1e-6, atol=1e-6)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), blocks=st.integers(1, 70))
def test_weights_with_a_minimum_change_by_less_than_their_digits_resolve(seed: int, rows: int, blocks: int) -> None:
    """The error of Q4_1 is below 1/3150 of the row's greatest offset, whatever the scales and minima."""
    raw = _random_rows(Type.Q4_1, seed, rows, blocks)
    halves = raw.reshape(rows, blocks, 20)[..., :4].copy().view(np.float16).astype(np.float64)
    bound = np.abs(halves[..., 1] + 8 * halves[..., 0]).max(axis=1, keepdims=True) / 3150
    error = np.abs(_weights(from_q4_1(raw), blocks * BLOCK) - gguf.quants.dequantize(raw, Type.Q4_1))
    assert (error <= bound * 1.01 + 1e-5).all()


def test_the_error_of_a_real_row_is_below_what_float16_cost_it() -> None:
    """Each minimum was rounded to float16; for weights as trained, the digits lose less than that did."""
    weights = np.random.default_rng(3).normal(size=(64, 2048)).astype(np.float32)
    raw = gguf.quants.quantize(weights, Type.Q4_1)
    minima = weights.reshape(64, -1, 32).min(-1)
    lost_before = np.abs(minima - minima.astype(np.float16)).max()
    lost_now = np.abs(_weights(from_q4_1(raw), 2048) - gguf.quants.dequantize(raw, Type.Q4_1)).max()
    assert lost_now < lost_before


@pytest.mark.parametrize("half", [0x7C00, 0xFC00, 0x7E00, 0x0000, 0x7BFF], ids=["inf", "-inf", "nan", "0", "max"])
def test_scales_of_a_hostile_file_give_quants_all_the_same(half: int) -> None:
    """What is no number stays none in the scales; the digits are quants whatever happens."""
    raw = np.zeros((1, 20), np.uint8)
    raw[0, :4] = np.array([half, half], "<u2").view(np.uint8)
    found = from_q4_1(raw)
    assert found.quants.shape == (1, 2, 16)
    assert found.scales.shape == (1, 2)


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
