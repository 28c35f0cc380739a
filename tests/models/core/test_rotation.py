"""The rotation keeps lengths, spreads what stands out, and is computed as its matrix says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.rotation import Rotation

WIDTHS = [64, 96, 288, 576, 960, 1280, 2048]


def matrix(width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """R, written out from its factors."""
    rotation = Rotation.of(width)
    return rotation.signs[:, None] * np.kron(rotation.left.astype(np.float64), rotation.right)


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_orthogonal(width: int) -> None:
    """R @ R.T is the identity."""
    np.testing.assert_allclose(matrix(width) @ matrix(width).T, np.eye(width), atol=1e-6)


@given(width=st.sampled_from(WIDTHS), seed=st.integers(0, 9))
def test_turning_is_multiplying_by_it(width: int, seed: int) -> None:
    """The quick way gives what the matrix gives."""
    rows = np.random.default_rng(seed).standard_normal((3, width), np.float32)
    np.testing.assert_allclose(Rotation.of(width).turn(rows.T).T, rows @ matrix(width), atol=1e-4)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_stands_out_is_spread(width: int) -> None:
    """One coordinate ends as all, each at most sqrt 2 of an even share; so does what all have in common."""
    rotation = Rotation.of(width)
    turned = rotation.turn(np.eye(width, dtype=np.float32))
    assert np.abs(turned).max() <= np.sqrt(2 / width) + 1e-6
    assert np.abs(rotation.turn(np.ones((width, 1), np.float32))).max() < 6  # of at most sqrt(width)


def test_it_is_the_same_everywhere() -> None:
    """The signs come from a fixed seed: graphs and weights made apart fit each other."""
    assert Rotation.of(64).signs[:8].tolist() == [-1, -1, 1, -1, 1, -1, -1, -1]
