"""How a source's window and patience follow what it gives."""

import pytest

from device.core.source_pace import (
    FIRST_LATE_S,
    FIRST_WINDOW,
    MAX_LATE_S,
    MAX_WINDOW,
    MIN_LATE_S,
    PROBE_ROUNDS,
    RATE_S,
    ROUND_CHUNKS,
    Meter,
    Pace,
)
from models.core.hash_tree import CHUNK_BYTES


class Pipe:
    """A source behind a link: chunks follow one another at its rate, each after the link's delay."""

    def __init__(self, bytes_per_s: float, delay_s: float) -> None:
        self.pace = Pace()
        self.now = 0.0
        self._each_s = CHUNK_BYTES / bytes_per_s
        self._delay_s = delay_s
        self._free_at = 0.0
        self._on_the_way: list[tuple[float, float]] = []

    def give(self, chunks: int, *, full: bool = True) -> int:
        """Let chunks come, with the window full or one at a time; return the window then."""
        for _ in range(chunks):
            while len(self._on_the_way) < (self.pace.window if full else 1):
                self._free_at = max(self._free_at, self.now + self._delay_s) + self._each_s
                self._on_the_way.append((self.now, self._free_at))
                self.pace.asked(len(self._on_the_way) if full else 0)
            asked_at, self.now = self._on_the_way.pop(0)
            self.pace.answered(CHUNK_BYTES, asked_at=asked_at, now=self.now)
        return self.pace.window


def test_a_window_stays_small_where_more_gives_nothing() -> None:
    """Two chunks keep a short link busy; a wider one is tried now and then, and taken back."""
    pipe = Pipe(1e6, 0.0001)
    windows = {pipe.give(1) for _ in range(2000)}
    assert windows == {FIRST_WINDOW, 2 * FIRST_WINDOW}
    assert pipe.pace.bytes_per_s == pytest.approx(1e6, rel=0.02)


def test_a_window_is_wide_where_answers_are_quick() -> None:
    """Nothing waits behind so little; whether the rate grows is not asked."""
    assert Pipe(100e6, 0.0001).give(100) == MAX_WINDOW


def test_a_window_grows_while_the_rate_does() -> None:
    """A long link needs more on its way, up to the bound."""
    assert Pipe(10e6, 0.5).give(100) == MAX_WINDOW
    pipe = Pipe(2e6, 0.26)
    assert pipe.give(60) == 4
    assert pipe.give(ROUND_CHUNKS * (PROBE_ROUNDS + 3)) in (4, MAX_WINDOW)


def test_a_window_at_its_bound_stays_there() -> None:
    """It is judged again later, not at every round."""
    pipe = Pipe(10e6, 5.0)
    assert {pipe.give(1) for _ in range(1000)} == {2, 4, MAX_WINDOW}
    assert pipe.pace.window == MAX_WINDOW


def test_a_window_that_is_not_used_is_not_judged() -> None:
    """A source that is asked one thing at a time says nothing about wider windows."""
    assert Pipe(10e6, 0.5).give(200, full=False) == FIRST_WINDOW


def test_a_window_shrinks_when_an_answer_is_missed() -> None:
    """And grows again from there, also from the one chunk that a dropped source begins with."""
    pipe = Pipe(10e6, 0.5)
    pipe.give(100)
    pipe.pace.missed()
    assert pipe.pace.window == MAX_WINDOW // 2
    for _ in range(5):
        pipe.pace.missed()
    assert pipe.pace.window == 1
    pipe.pace.restart()
    pipe.give(MAX_WINDOW)  # what was on its way
    assert pipe.give(400) == MAX_WINDOW


def test_lateness_follows_latency() -> None:
    """Generous while nothing is known, within bounds afterwards."""
    pace = Pace()
    assert (pace.late_after_s, pace.latency_s < FIRST_LATE_S) == (FIRST_LATE_S, True)
    for _ in range(50):
        pace.answered(CHUNK_BYTES, asked_at=0.0, now=0.01)
    assert pace.late_after_s == MIN_LATE_S
    assert pace.latency_s == pytest.approx(0.01)
    for turn in range(50):
        pace.answered(CHUNK_BYTES, asked_at=turn * 4.0, now=turn * 4.0 + 2.0)
    assert 6.0 < pace.late_after_s < 8.0
    for turn in range(50):
        pace.answered(CHUNK_BYTES, asked_at=turn, now=turn + 500.0)
    assert pace.late_after_s == MAX_LATE_S


def test_a_rate_is_known_after_some_chunks() -> None:
    """Idle time does not count against a source; chunks read in one go do not make it infinite."""
    pace = Pace()
    for turn in range(ROUND_CHUNKS):
        assert pace.bytes_per_s is None
        pace.answered(CHUNK_BYTES, asked_at=turn * 100.0, now=turn * 100.0 + 0.1)
    assert pace.bytes_per_s == pytest.approx(CHUNK_BYTES / 0.1)
    at_once = Pace()
    for _ in range(ROUND_CHUNKS):
        at_once.answered(CHUNK_BYTES, asked_at=1.0, now=1.0)
    assert at_once.bytes_per_s is not None


def test_the_rate_that_people_see_is_of_the_last_seconds() -> None:
    """Right from the first second, and gone a while after the last byte; a clock that stands still is no harm."""
    meter = Meter()
    assert meter.bytes_per_s(now=5.0) == 0.0
    for turn in range(100):
        meter.add(1000, now=100 + turn / 10)
        if turn >= 20:
            assert meter.bytes_per_s(now=100 + turn / 10) == pytest.approx(10_000, rel=0.1)
    assert meter.bytes_per_s(now=110 + 10 * RATE_S) < 1
    assert meter.bytes_per_s(now=0.0) > 0
