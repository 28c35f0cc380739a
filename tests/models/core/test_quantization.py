"""Rewritten blocks stand for the very weights that ggml reads from them."""

import gguf
import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType as Type
from hypothesis import given, settings
from hypothesis import strategies as st

from models.core.block_formats import FORMATS, TensorType, read_blocks
from models.core.quantization import (
    QUANTS,
    QuantizedRows,
    offset_columns,
    offset_spread,
    rewrite,
    rope_row_order,
    rope_tables,
)
from tests.models.core.rows import random_rows, with_halves

EXACT = [kind for kind, stored in FORMATS.items() if not stored.has_offsets]
WITH_MINIMA = [kind for kind, stored in FORMATS.items() if stored.has_offsets]
# What an offset errs by, of its row's greatest.
RESOLUTION = {4: 1 / 3150, 8: 1 / 64770}


def _weights(found: QuantizedRows, kind: TensorType, columns: int) -> npt.NDArray[np.float64]:
    """Read rows as the graph does: a quant or two a byte, the low nibble first; offsets' digits behind the columns."""
    stored = FORMATS[kind]
    quants = found.quants if stored.bits == 8 else np.stack([found.quants & 15, found.quants >> 4], -1)
    quants = quants.reshape(*found.quants.shape[:2], stored.block)
    steps = quants.astype(np.float64) - QUANTS[stored.bits].zero_point
    weights: npt.NDArray[np.float64] = (steps * found.scales[..., None]).reshape(len(quants), -1)
    if not stored.has_offsets:
        return weights
    offsets = weights[:, columns:] @ offset_spread(stored, columns).T
    return weights[:, :columns] + offsets.repeat(stored.block, axis=-1)


@pytest.mark.parametrize("kind", EXACT)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), blocks=st.integers(1, 4))
def test_no_weight_changes(kind: TensorType, seed: int, rows: int, blocks: int) -> None:
    """Every bit pattern of the quants and any scale come out as ggml's own package reads them."""
    raw = random_rows(kind, seed=seed, rows=rows, blocks=blocks)
    found = _weights(rewrite(kind, raw), kind, blocks * FORMATS[kind].weights)
    np.testing.assert_allclose(found, gguf.quants.dequantize(raw, Type(kind)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", WITH_MINIMA)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), blocks=st.integers(1, 40))
def test_weights_with_a_minimum_change_by_less_than_their_digits_resolve(
    kind: TensorType, seed: int, rows: int, blocks: int
) -> None:
    """The error is a small part of the row's greatest offset, whatever the scales and minima."""
    stored, raw = FORMATS[kind], random_rows(kind, seed=seed, rows=rows, blocks=blocks)
    columns = blocks * stored.weights
    offsets = read_blocks(kind, raw).offsets
    assert offsets is not None
    bound = np.abs(offsets).max(axis=1, keepdims=True) * RESOLUTION[stored.bits]
    expected = gguf.quants.dequantize(raw, Type(kind))
    error = np.abs(_weights(rewrite(kind, raw), kind, columns) - expected)
    assert (error <= bound * 1.01 + 1e-6 * np.abs(expected).max()).all()
    assert offset_columns(stored, columns) % stored.block == 0


def test_the_error_of_a_real_row_is_below_what_float16_cost_it() -> None:
    """Each minimum was rounded to float16; for weights as trained, the digits lose less than that did."""
    weights = np.random.default_rng(3).normal(size=(64, 2048)).astype(np.float32)
    raw = gguf.quants.quantize(weights, Type.Q4_1)
    minima = weights.reshape(64, -1, 32).min(-1)
    lost_before = np.abs(minima - minima.astype(np.float16)).max()
    found = _weights(rewrite(TensorType.Q4_1, raw), TensorType.Q4_1, 2048)
    lost_now = np.abs(found - gguf.quants.dequantize(raw, Type.Q4_1)).max()
    assert lost_now < lost_before


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("half", [0x7C00, 0xFC00, 0x7E00, 0x0000, 0x7BFF], ids=["inf", "-inf", "nan", "0", "max"])
def test_scales_of_a_hostile_file_give_quants_all_the_same(kind: TensorType, half: int) -> None:
    """What is no number stays none in the scales; the quants are quants whatever happens."""
    raw, stored = random_rows(kind, seed=2, rows=1, blocks=1), FORMATS[kind]
    found = rewrite(kind, with_halves(raw, kind, half))
    blocks = (stored.weights + offset_columns(stored, stored.weights)) // stored.block
    assert found.quants.shape == (1, blocks, stored.block * stored.bits // 8)
    assert found.scales.shape == (1, blocks)


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
