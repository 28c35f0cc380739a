"""Tokens gather for a moment; nothing is lost, doubled or put in another order, and no end waits."""

import random

import pytest

from models.core.pacing import INTERVAL_S, Pace, joined
from models.core.request import GenerationFinished, TokenLogprob, TokensGenerated
from models.core.worker_protocol import MAX_IDS, MAX_LOGPROBS_AT_ONCE, MAX_TEXT_CHARACTERS, Event, Failed
from models.errors import EngineError

END = GenerationFinished(reason="stop", prompt_tokens=1, completion_tokens=9, prefill_s=0.1, decode_s=0.2)
LIKELY = TokenLogprob(b"a", -0.5)


def _token(number: int) -> TokensGenerated:
    return TokensGenerated((number,), f"{number} ")


def test_the_first_token_waits_for_nothing_and_the_next_ones_gather() -> None:
    """What comes within the interval is told with what comes at its end."""
    pace = Pace()
    assert list(pace.pass_on([(1, _token(0))], now=0.0)) == [(1, _token(0))]
    assert list(pace.pass_on([(1, _token(1))], now=INTERVAL_S / 4)) == []
    assert list(pace.pass_on([(1, _token(2))], now=INTERVAL_S)) == [(1, TokensGenerated((1, 2), "1 2 "))]


def test_slow_tokens_are_told_as_they_come() -> None:
    """At 25 a second or less."""
    pace = Pace()
    for number in range(5):
        assert list(pace.pass_on([(1, _token(number))], now=number * 1.5 * INTERVAL_S)) == [(1, _token(number))]


@pytest.mark.parametrize("end", [END, Failed(EngineError("broken"))])
def test_the_end_brings_what_was_held(end: Event) -> None:
    """And the next answer of that number begins anew."""
    pace = Pace()
    list(pace.pass_on([(1, _token(0))], now=0.0))
    list(pace.pass_on([(1, _token(1))], now=0.01))
    assert list(pace.pass_on([(1, end)], now=0.02)) == [(1, _token(1)), (1, end)]
    assert list(pace.pass_on([(1, _token(2))], now=0.03)) == [(1, _token(2))]


def test_where_the_next_step_is_long_nothing_is_held() -> None:
    """Not even what came before it was known."""
    pace = Pace()
    list(pace.pass_on([(1, _token(0)), (2, _token(0))], now=0.0))
    list(pace.pass_on([(1, _token(1)), (2, _token(1))], now=0.01))
    assert list(pace.pass_on([], now=0.02, gather=False)) == [(1, _token(1)), (2, _token(1))]
    assert list(pace.pass_on([], now=9.0)) == []


@pytest.mark.parametrize(
    "part",
    [
        TokensGenerated(tuple(range(MAX_IDS // 2 + 1)), ""),
        TokensGenerated((1,), "x" * (MAX_TEXT_CHARACTERS // 2 + 1)),
        TokensGenerated((1,), "", (LIKELY,) * (MAX_LOGPROBS_AT_ONCE // 2 + 1)),
    ],
)
def test_no_more_is_joined_than_one_report_holds(part: TokensGenerated) -> None:
    """The first goes on its way then, whatever the time is."""
    assert joined(part, part) is None
    pace = Pace()
    list(pace.pass_on([(1, _token(0))], now=0.0))
    assert list(pace.pass_on([(1, part), (1, part)], now=0.01)) == [(1, part)]
    assert list(pace.pass_on([(1, END)], now=0.02)) == [(1, part), (1, END)]


@pytest.mark.parametrize("seed", range(50))
def test_every_answer_arrives_as_it_was_written(seed: int) -> None:
    """Many at a time, at any speed, with and without gathering; none is told twice within the interval."""
    chance = random.Random(seed)  # noqa: S311  the same numbers in each run
    pace, now = Pace(), 0.0
    written: dict[int, list[int]] = {number: [] for number in range(4)}
    told: dict[int, list[int]] = {number: [] for number in range(4)}
    told_at: dict[int, float] = {}
    for step in range(300):
        now += chance.choice((0.0, 0.003, 0.02, 0.1))
        gather = chance.random() < 0.9
        events: list[tuple[int, Event]] = []
        for number, ids in written.items():
            if chance.random() < 0.7:
                ids.append(step)
                events.append((number, _token(step)))
        for number, event in pace.pass_on(events, now=now, gather=gather):
            assert isinstance(event, TokensGenerated)
            assert event.text == "".join(f"{one} " for one in event.ids)
            assert not gather or now - told_at.get(number, -1.0) >= INTERVAL_S
            told[number] += event.ids
            told_at[number] = now
    for number, event in pace.pass_on([(number, END) for number in written], now=now):
        told[number] += event.ids if isinstance(event, TokensGenerated) else ()
    assert told == written
