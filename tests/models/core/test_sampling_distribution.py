"""Drawn tokens come as often as the settings say, by Pearson's chi-square over the draws of many seeds."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, sqrt
from typing import Any

import numpy as np
import pytest

from models.core.sampling import choose, uniform_draw

LOGITS = (1.5, -0.5, 2.0, 0.25, 1.0, -3.0, 1.9, 0.0, -1.0, 0.8, 1.2, -2.0)
DRAWS = 10_000
SURE = 3.72  # of the normal distribution: one such deviation in 10,000, and the seeds are always the same


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a question can say of the draw."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


ALL = (
    Settings(),
    Settings(temperature=0.5),
    Settings(temperature=2.0),
    Settings(top_k=4),
    Settings(top_p=0.7),
    Settings(min_p=0.3),
    Settings(temperature=1.7, top_k=9, top_p=0.9, min_p=0.15),
    Settings(temperature=0.7, top_k=40, top_p=0.95, min_p=0.05),
)


def kept(settings: Settings) -> list[int]:
    """Name the tokens that may come, the likeliest first, by their probabilities at temperature 1."""
    order = sorted(range(len(LOGITS)), key=lambda token: -LOGITS[token])[: settings.top_k or None]
    weights = {token: exp(LOGITS[token]) for token in order}
    nucleus, reached = [], 0.0
    for token in order:
        if reached < settings.top_p * sum(weights.values()):
            nucleus.append(token)
        reached += weights[token]
    return [token for token in nucleus if weights[token] >= settings.min_p * weights[order[0]]]


def shares(tokens: Sequence[int], temperature: float) -> dict[int, float]:
    """Give the probability of each among them."""
    weights = {token: exp(LOGITS[token] / temperature) for token in tokens}
    return {token: weight / sum(weights.values()) for token, weight in weights.items()}


def drawn(settings: Settings, *, place: int) -> list[int]:
    """Draw token `place` of an answer for each of many seeds."""
    logits = np.array(LOGITS, np.float32)
    return [
        choose(
            logits,
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            min_p=settings.min_p,
            uniform=uniform_draw(seed, place),
        )
        for seed in range(DRAWS)
    ]


def chi_square(seen: Sequence[Hashable], probabilities: Mapping[Any, float]) -> float:
    """Sum the squared deviations, each as a part of what is expected; what cannot be deviates without end."""
    counts = Counter(seen)
    if counts.keys() - probabilities.keys():
        return inf
    expected = {outcome: len(seen) * probability for outcome, probability in probabilities.items()}
    return sum((counts[outcome] - number) ** 2 / number for outcome, number in expected.items())


def bound(outcomes: int) -> float:
    """Say what chi-square does not exceed but by the rarest chance.  Source: Wilson and Hilferty, 1931."""
    freedom = outcomes - 1
    return freedom * (1 - 2 / (9 * freedom) + SURE * sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize("settings", ALL, ids=str)
def test_tokens_are_drawn_as_the_settings_say(settings: Settings) -> None:
    """Nothing that is cut off ever comes; a slightly other temperature would be seen."""
    tokens, seen = kept(settings), drawn(settings, place=ALL.index(settings))
    assert chi_square(seen, shares(tokens, settings.temperature)) < bound(len(tokens))
    assert chi_square(seen, shares(tokens, 1.25 * settings.temperature)) > bound(len(tokens))


def test_draws_for_two_places_know_nothing_of_each_other() -> None:
    """Each pair of tokens comes as often as the product of their probabilities says."""
    settings = Settings(top_k=4)
    single = shares(kept(settings), settings.temperature)
    pairs = {(one, other): single[one] * single[other] for one in single for other in single}
    seen = list(zip(drawn(settings, place=7), drawn(settings, place=8), strict=True))
    assert chi_square(seen, pairs) < bound(len(pairs))
