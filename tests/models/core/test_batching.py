"""Laws of the engine's turns: all that was asked for is computed, written answers keep flowing, nobody starves."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.batching import ALONE_S, BESIDE_S, FEWEST_TOKENS, MOST_TOKENS, Chunk, Round, Scheduler


def steps(scheduler: Scheduler) -> list[Chunk | Round]:
    """Everything up to the point where nothing is to be computed."""
    found = []
    while (step := scheduler.next()) is not None:
        found.append(step)
    return found


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=12), st.none() | st.floats(1, 1e6))
def test_all_that_was_asked_for_is_computed(sizes: list[int], rate: float | None) -> None:
    """Each sequence's tokens, no more and no fewer; none of several is left for a round; chunks have a bound."""
    scheduler = Scheduler()
    if rate is not None:
        scheduler.took(Chunk(0, 100), 100 / rate)
    for number, tokens in enumerate(sizes):
        scheduler.put(number, tokens)
    computed: Counter[int] = Counter()
    for step in steps(scheduler):
        if isinstance(step, Chunk):
            assert 2 <= step.tokens <= MOST_TOKENS
            computed[step.sequence] += step.tokens
        else:
            assert all(sizes[number] == 1 for number in step.sequences)
            computed.update(step.sequences)
    assert computed == Counter(dict(enumerate(sizes)))


def test_who_writes_advances_together() -> None:
    """One round for all."""
    scheduler = Scheduler()
    for number in (3, 1, 2):
        scheduler.put(number, 1)
    assert steps(scheduler) == [Round((3, 1, 2))]


def test_a_round_follows_each_chunk() -> None:
    """While a long prompt is read, whoever writes gets a token after every chunk, and the chunks are short."""
    scheduler = Scheduler()
    scheduler.took(Chunk(9, 512), 0.512)
    scheduler.put(1, 1)
    scheduler.put(2, 1000)
    order = []
    for _ in range(6):
        step = scheduler.next()
        order.append(step)
        if isinstance(step, Round):
            scheduler.put(1, 1)
    chunk, between = Chunk(2, round(1000 * BESIDE_S)), Round((1,))
    assert order == [chunk, between, chunk, between, chunk, between]


def test_prompts_take_turns() -> None:
    """A short prompt does not wait for the end of a long one."""
    scheduler = Scheduler()
    scheduler.put(1, 2000)
    scheduler.put(2, 600)
    assert [step.sequence for step in steps(scheduler) if isinstance(step, Chunk)] == [1, 2, 1, 2, 1, 1]


@pytest.mark.parametrize(("seconds", "tokens"), [(0.01, MOST_TOKENS), (1.0, 100), (50.0, FEWEST_TOKENS)])
def test_a_chunk_takes_no_longer_than_its_time(seconds: float, tokens: int) -> None:
    """As far as it has been measured; cancelling and joining wait for it."""
    scheduler = Scheduler()
    scheduler.took(Chunk(0, 100), seconds)
    scheduler.put(1, 5000)
    assert ALONE_S == 1.0
    assert scheduler.next() == Chunk(1, tokens)


def test_the_rate_is_a_mean() -> None:
    """One slow chunk is no slow engine, and a chunk of a few tokens tells nothing."""
    scheduler = Scheduler()
    scheduler.took(Chunk(0, 100), 1.0)
    scheduler.took(Chunk(0, 100), 10.0)
    scheduler.took(Chunk(0, FEWEST_TOKENS - 1), 100.0)
    scheduler.took(Chunk(0, 100), 0.0)
    scheduler.put(1, 5000)
    assert scheduler.next() == Chunk(1, round(0.7 * 100 + 0.3 * 10))


def test_what_is_dropped_is_not_computed() -> None:
    """And dropping what is not there does nothing."""
    scheduler = Scheduler()
    scheduler.put(1, 700)
    scheduler.put(2, 1)
    scheduler.next()
    scheduler.drop(1)
    scheduler.drop(5)
    assert steps(scheduler) == [Round((2,))]
