"""Eight bits err by at most half a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.block_formats import FORMATS, TensorType, read_blocks
from models.core.requantization import int8_scales, to_int8
from tests.models.core.rows import random_rows, with_halves


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), columns=st.integers(1, 70))
def test_eight_bits_err_by_at_most_half_a_step(seed: int, rows: int, columns: int) -> None:
    """The greatest of a row is the greatest quant; everything else is rounded to the nearest."""
    weights = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    scales = int8_scales(weights, axis=1)
    quants = to_int8(weights, scales)
    assert np.abs(quants).max(axis=1).tolist() == [127] * rows
    assert (np.abs(quants * scales - weights) <= scales * 0.5001).all()


@given(seed=st.integers(0, 2**32 - 1), axis=st.integers(0, 1))
def test_scales_go_along_either_axis(seed: int, axis: int) -> None:
    """On their sides the same weights have the same scales and quants."""
    weights = np.random.default_rng(seed).normal(size=(5, 7)).astype(np.float32)
    scales, turned = int8_scales(weights, axis=axis), int8_scales(weights.T, axis=1 - axis)
    np.testing.assert_array_equal(scales, turned.T)
    np.testing.assert_array_equal(to_int8(weights, scales), to_int8(weights.T, turned).T)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("half", [0x7C00, 0xFC00, 0x7E00, 0x0000, 0x7BFF], ids=["inf", "-inf", "nan", "0", "max"])
def test_a_hostile_files_scales_give_quants_all_the_same(kind: TensorType, half: int) -> None:
    """Whatever the scales are, there are quants and positive scales in the end."""
    weights = read_blocks(kind, with_halves(random_rows(kind, seed=1, rows=2, blocks=3), kind, half)).weights()
    scales = int8_scales(weights, axis=1)
    assert (scales > 0).all()
    assert np.isfinite(scales).all()
    assert to_int8(weights, scales).shape == weights.shape
