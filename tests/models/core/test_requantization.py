"""Blocks are read as ggml reads them; eight bits err by at most half a step."""

from collections.abc import Callable

import gguf
import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType as Type
from hypothesis import given
from hypothesis import strategies as st

from models.core.requantization import int8_scales, q4_0_weights, q4_1_weights, q8_0_weights, to_int8

Reader = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
READERS: dict[Type, tuple[Reader, int]] = {
    Type.Q4_0: (q4_0_weights, 18),
    Type.Q4_1: (q4_1_weights, 20),
    Type.Q8_0: (q8_0_weights, 34),
}


def _random_rows(kind: Type, seed: int, rows: int, blocks: int) -> npt.NDArray[np.uint8]:
    random, (_, block_bytes) = np.random.default_rng(seed), READERS[kind]
    raw = random.integers(0, 256, (rows, blocks, block_bytes), np.uint8)
    halves = random.normal(size=(rows, blocks, 2)).astype(np.float16).view(np.uint8)
    used = 4 if kind is Type.Q4_1 else 2
    raw[..., :used] = halves[..., :used]
    return raw.reshape(rows, -1)


@pytest.mark.parametrize("kind", READERS)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), blocks=st.integers(1, 4))
def test_weights_are_those_ggml_reads(kind: Type, seed: int, rows: int, blocks: int) -> None:
    """Every bit pattern of the quants, any scale and any minimum."""
    raw = _random_rows(kind, seed, rows, blocks)
    np.testing.assert_allclose(READERS[kind][0](raw), gguf.quants.dequantize(raw, kind), rtol=1e-6, atol=1e-6)


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


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("half", [0x7C00, 0xFC00, 0x7E00, 0x0000, 0x7BFF], ids=["inf", "-inf", "nan", "0", "max"])
def test_a_hostile_files_scales_give_quants_all_the_same(kind: Type, half: int) -> None:
    """Whatever the scales are, there are quants and positive scales in the end."""
    raw = _random_rows(kind, 1, 2, 3).reshape(2, 3, -1)
    raw[0, 0, :2] = np.array([half], "<u2").view(np.uint8)
    weights = READERS[kind][0](raw.reshape(2, -1))
    scales = int8_scales(weights, axis=1)
    assert (scales > 0).all()
    assert np.isfinite(scales).all()
    assert to_int8(weights, scales).shape == weights.shape
