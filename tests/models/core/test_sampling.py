"""Laws of choosing a token."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.core.sampling import (
    REPETITION_WINDOW,
    FloatArray,
    choose,
    discouraged,
    log_probabilities,
    penalized,
    uniform_draw,
)

LOGITS = arrays(np.float32, st.integers(2, 40), elements=st.floats(-30, 30, width=32))
UNIFORM = st.floats(0, 1, exclude_max=True)


@settings(deadline=None)
@given(LOGITS, UNIFORM)
def test_temperature_zero_takes_the_likeliest(logits: FloatArray, uniform: float) -> None:
    """No random number matters then, nor at top-k 1."""
    assert np.argmax(logits) == choose(logits, temperature=0.0, top_k=0, top_p=1.0, uniform=uniform)
    assert np.argmax(logits) == choose(logits, temperature=2.0, top_k=1, top_p=1.0, uniform=uniform)


@settings(deadline=None)
@given(LOGITS, UNIFORM, st.integers(1, 50))
def test_top_k_keeps_the_k_largest(logits: FloatArray, uniform: float, top_k: int) -> None:
    """Fewer than k logits are larger than the chosen one's."""
    chosen = choose(logits, temperature=1.5, top_k=top_k, top_p=1.0, uniform=uniform)
    assert np.count_nonzero(logits > logits[chosen]) < top_k


@settings(deadline=None)
@given(LOGITS, UNIFORM, st.floats(0.01, 1.0))
def test_top_p_keeps_the_nucleus(logits: FloatArray, uniform: float, top_p: float) -> None:
    """What is likelier than the chosen token does not reach top_p by itself."""
    chosen = choose(logits, temperature=1.0, top_k=0, top_p=top_p, uniform=uniform)
    weights = np.exp(logits.astype(np.float64) - logits.max())
    assert weights[logits > logits[chosen]].sum() / weights.sum() < top_p + 1e-9


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_their_probability(temperature: float) -> None:
    """Evenly spread random numbers give each token its share of softmax(logits / temperature)."""
    logits = np.array([0.0, 2.0, 1.0, -1.0], np.float32)
    weights = np.exp(logits / temperature)
    draws = [
        choose(logits, temperature=temperature, top_k=0, top_p=1.0, uniform=(draw + 0.5) / 1000) for draw in range(1000)
    ]
    shares = np.bincount(draws, minlength=4) / 1000
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=2e-3)


def test_a_random_number_just_below_one_is_a_token() -> None:
    """Rounding in the sum of probabilities leads nowhere outside the vocabulary."""
    logits = np.zeros(30_000, np.float32)
    assert choose(logits, temperature=1.0, top_k=0, top_p=1.0, uniform=np.nextafter(1.0, 0.0)) == 29_999


def test_equal_logits_at_the_edge_of_top_k_keep_the_lowest_ids() -> None:
    """The choice among equals does not depend on how the sort happens to run."""
    logits = np.zeros(100, np.float32)
    draws = {choose(logits, temperature=1.0, top_k=3, top_p=1.0, uniform=uniform) for uniform in (0.1, 0.5, 0.9)}
    assert draws == {0, 1, 2}


def test_the_penalty_makes_seen_tokens_less_likely() -> None:
    """Positive logits are divided, negative ones multiplied, once however often a token was seen."""
    logits = np.array([2.0, -2.0, 3.0], np.float32)
    assert penalized(logits, [0, 1, 0], penalty=2.0).tolist() == [1.0, -4.0, 3.0]
    assert logits.tolist() == [2.0, -2.0, 3.0]


def test_the_penalty_forgets() -> None:
    """A token farther back than the window is as good as new."""
    logits = np.array([2.0, 2.0], np.float32)
    recent = [0] + [1] * REPETITION_WINDOW
    assert penalized(logits, recent, penalty=2.0).tolist() == [2.0, 1.0]


@pytest.mark.parametrize(("recent", "penalty"), [([], 2.0), ([0], 1.0)])
def test_no_penalty_costs_no_copy(recent: list[int], penalty: float) -> None:
    """Where there is nothing to do, the logits are handed through."""
    logits = np.array([1.0, 2.0], np.float32)
    assert penalized(logits, recent, penalty=penalty) is logits


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**31))
def test_a_draw_depends_on_seed_and_place_alone(seed: int, place: int) -> None:
    """Whoever computes token `place` of an answer draws the same number, below 1."""
    assert 0.0 <= uniform_draw(seed, place) < 1.0
    assert uniform_draw(seed, place) == uniform_draw(seed, place)
    assert uniform_draw(seed, place) != uniform_draw(seed, place + 1)


def test_draws_are_those_of_every_version() -> None:
    """Nodes of different versions must agree: these numbers never change."""
    assert [round(uniform_draw(seed, place), 6) for seed, place in ((0, 0), (0, 1), (7, 0), (2**63 - 1, 9))] == [
        0.321543,
        0.742809,
        0.707952,
        0.710678,
    ]


def test_draws_fill_their_range_evenly() -> None:
    """Each tenth of the range gets its part of 10,000 draws, within what chance allows."""
    counts, _ = np.histogram([uniform_draw(3, place) for place in range(10_000)], bins=10, range=(0, 1))
    assert counts.min() > 900
    assert counts.max() < 1100


@settings(deadline=None)
@given(LOGITS, UNIFORM, st.floats(0.01, 1.0))
def test_min_p_keeps_what_is_nearly_as_likely(logits: FloatArray, uniform: float, min_p: float) -> None:
    """The chosen token has at least that part of the most likely one's probability."""
    chosen = choose(logits, temperature=2.0, top_k=0, top_p=1.0, min_p=min_p, uniform=uniform)
    assert np.exp(float(logits[chosen]) - float(logits.max())) >= min_p * (1 - 1e-5)


@settings(deadline=None)
@given(LOGITS, UNIFORM, st.integers(0, 5), st.sampled_from([0.0, 1.0]), st.data())
def test_only_what_is_allowed_is_chosen(
    logits: FloatArray, uniform: float, top_k: int, temperature: float, data: st.DataObject
) -> None:
    """A mask leaves the same choice as a vocabulary of the allowed tokens alone."""
    ids = np.array(sorted(data.draw(st.sets(st.integers(0, len(logits) - 1), min_size=1))))
    allowed = np.zeros(len(logits), np.bool_)
    allowed[ids] = True
    chosen = choose(logits, temperature=temperature, top_k=top_k, top_p=0.9, uniform=uniform, allowed=allowed)
    assert ids[choose(logits[ids], temperature=temperature, top_k=top_k, top_p=0.9, uniform=uniform)] == chosen


def test_tokens_of_the_answer_are_discouraged_by_openais_formula() -> None:
    """Once for being there, and once more for each time; a negative penalty draws them back."""
    logits = np.array([1.0, 2.0, 3.0, -1.0], np.float32)
    found = discouraged(logits, [1, 2, 2, 2], presence=0.5, frequency=0.25)
    np.testing.assert_allclose([1.0, 1.25, 1.75, -1.0], found)
    np.testing.assert_allclose([1.0, 2.5, 3.0, -1.0], discouraged(logits, [1], presence=0, frequency=-0.5))
    assert discouraged(logits, [1], presence=0, frequency=0) is logits
    assert discouraged(logits, [], presence=1, frequency=1) is logits


@settings(deadline=None)
@given(LOGITS, st.data())
def test_log_probabilities_are_those_of_softmax(logits: FloatArray, data: st.DataObject) -> None:
    """The token's own first, then the largest logits in order; all of them together make 1."""
    token = data.draw(st.integers(0, len(logits) - 1))
    (first, own), *top = log_probabilities(logits, token, alternatives=len(logits))
    assert (token, dict(top)[token]) == (first, own)
    assert sorted(range(len(logits)), key=lambda index: (-logits[index], index)) == [index for index, _ in top]
    assert np.exp([value for _, value in top]).sum() == pytest.approx(1)
    assert log_probabilities(logits, token, alternatives=0) == [(token, own)]
    assert log_probabilities(logits, token, alternatives=2)[1:] == top[:2]
