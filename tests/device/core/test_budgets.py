"""Rates and budgets on a clock that only goes forward."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from device.core.budgets import PERIOD_S, Allowance, Pace, Spent, prompt_tokens
from models.core.request import GenerationRequest, Message, SamplingParams

DAILY = Allowance(per_minute=6, per_day=1000)


def test_a_budget_renews_a_day_after_its_first_use() -> None:
    """Not before, and then all of it."""
    spent = Spent().set_aside(400, now=50.0).set_aside(600, now=1000.0)
    assert spent.left(DAILY, now=1000.0) == 0
    assert spent.renews_in_s(now=1000.0) == PERIOD_S - 950
    assert spent.left(DAILY, now=50.0 + PERIOD_S - 1) == 0
    assert spent.left(DAILY, now=50.0 + PERIOD_S) == 1000


def test_without_a_limit_there_is_no_end() -> None:
    """Zero means as much as it likes."""
    assert Spent().set_aside(10**9, now=0).left(Allowance(), now=0) is None
    assert Pace().asked(0, now=0).next_in_s(0, now=0) == 0


def test_a_clock_that_went_back_gives_nothing_away() -> None:
    """A state written by a longer life than is known of is as good as a fresh one, never better."""
    assert Spent(tokens=900, since_s=5000.0).at(100.0) == Spent(since_s=100.0)
    assert Pace(used=6, at_s=5000.0).next_in_s(6, now=100.0) == 10


def test_tokens_given_back_are_none_too_many() -> None:
    """What was reserved and not used comes back; never more."""
    spent = Spent().set_aside(50, now=0).set_aside(30, now=1)
    assert spent.settled(50, 20) == Spent(tokens=50, aside=30)
    assert spent.settled(50, 70).settled(30, 0) == Spent(tokens=70)
    assert Spent(tokens=5).settled(50, 20) == Spent()
    assert Spent(tokens=5, aside=5).at(PERIOD_S) == Spent(since_s=PERIOD_S)


def test_a_minutes_questions_at_once_then_one_by_one() -> None:
    """The seventh of six a minute waits ten seconds."""
    pace = Pace()
    for _ in range(6):
        assert pace.next_in_s(6, now=0.0) == 0
        pace = pace.asked(6, now=0.0)
    assert pace.next_in_s(6, now=0.0) == 10
    assert pace.next_in_s(6, now=9.5) == 1
    assert pace.next_in_s(6, now=10.0) == 0


@given(st.lists(st.floats(0, 100), max_size=80), st.integers(1, 20))
def test_no_pattern_beats_the_rate(pauses: list[float], per_minute: int) -> None:
    """However questions are timed, there are no more than a minute's worth and what has come back since."""
    pace, now, asked = Pace(), 0.0, 0
    for pause in pauses:
        now += pause
        if pace.next_in_s(per_minute, now=now) == 0:
            pace, asked = pace.asked(per_minute, now=now), asked + 1
    assert asked <= per_minute * (1 + now / 60) + 1e-6


def test_a_prompt_is_estimated_by_its_bytes() -> None:
    """All that is read counts: turns, a text to complete, tools."""
    sampling = SamplingParams()
    turn = GenerationRequest((Message("user", "x" * 400),), sampling)
    assert prompt_tokens(turn) == 101
    assert prompt_tokens(GenerationRequest((), sampling, prompt="é" * 200)) == 101
    tool = '{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}'
    assert prompt_tokens(replace(turn, tools=(tool,))) > 101
