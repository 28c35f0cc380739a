"""Blocks are read as ggml reads them."""

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from hypothesis import given
from hypothesis import strategies as st

from models.core.block_formats import FORMATS, TensorType, read_blocks, stored_together, widened
from tests.models.core.rows import random_rows


@pytest.mark.parametrize("kind", FORMATS)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), blocks=st.integers(1, 4))
def test_weights_are_those_ggml_reads(kind: TensorType, seed: int, rows: int, blocks: int) -> None:
    """Every bit pattern of the quants, any scale and any minimum."""
    raw = random_rows(kind, seed=seed, rows=rows, blocks=blocks)
    expected = gguf.quants.dequantize(raw, Type(kind))
    np.testing.assert_allclose(
        read_blocks(kind, raw).weights(), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max()
    )


@pytest.mark.parametrize("kind", TensorType)
def test_what_is_stored_together_is_ggmls(kind: TensorType) -> None:
    """Weights and bytes, for every type under its number."""
    assert Type(kind).name == kind.name
    assert stored_together(kind) == gguf.GGML_QUANT_SIZES[Type(kind)]


def test_bf16_is_the_upper_half_of_float32() -> None:
    """Nothing is rounded, whatever the bits."""
    halves = np.arange(2**16, dtype="<u2")
    expected = (halves.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(widened(halves.view(np.uint8).reshape(4, -1)), expected.reshape(4, -1))
