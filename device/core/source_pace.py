"""How fast a source gives, how much to ask of it at a time, and when an answer is late.

The window starts small and is widened while the source's rate grows with it: what waits at a source beyond that only
makes it late.  Latency is estimated as in RFC 6298.
"""

import math
from typing import Final

from models.core.hash_tree import CHUNK_BYTES

FIRST_WINDOW: Final = 2  # chunks: one on its way while the next is read
MAX_WINDOW: Final = 8  # 2 MiB: more would wait in the buffers of a link where other things wait behind it
GROWTH: Final = 1.1  # a wider window that is not worth a tenth more is not worth it
QUICK_S: Final = (
    0.1  # answers that take less wait behind nothing: rates on a busy board say little, a window costs little
)
ROUND_CHUNKS: Final = 8  # at least, before a window is judged
PROBE_ROUNDS: Final = 8  # after so many a wider window is tried anew
FIRST_LATE_S: Final = 8.0  # while nothing has come yet
MIN_LATE_S: Final = 2.0
MAX_LATE_S: Final = 120.0
STALLED_AFTER: Final = 3  # times the latest answer is waited for, before a source counts as dead
RATE_S: Final = 5.0  # over which a rate that people see is averaged
_FORGET: Final = 0.9  # of the rate's history, kept at each chunk


class Meter:
    """Bytes a second, averaged over the last seconds."""

    def __init__(self) -> None:
        self._per_s = 0.0
        self._since: float | None = None
        self._at = 0.0

    def add(self, size: int, *, now: float) -> None:
        """Count bytes."""
        if self._since is None:
            self._since = self._at = now
        self._per_s = self._decayed(now) + size / RATE_S
        self._at = now

    def bytes_per_s(self, *, now: float) -> float:
        """Return the rate; what began a moment ago is not averaged over the time before."""
        if self._since is None:
            return 0.0
        return self._decayed(now) / -math.expm1(-max(now - self._since, 1.0) / RATE_S)

    def _decayed(self, now: float) -> float:
        return self._per_s * math.exp(-max(now - self._at, 0.0) / RATE_S)


class Pace:
    """One source's pace; times are monotonic seconds."""

    def __init__(self) -> None:
        self.window = FIRST_WINDOW
        self.late_after_s = FIRST_LATE_S  # how long to wait for an answer before it is asked for elsewhere
        self.chunks = 0  # that came
        self._latency_s: float | None = None
        self._variation_s = 0.0
        self._answered_at = -math.inf
        self._bytes = 0.0  # and the seconds that they took, while something was asked for
        self._seconds = 0.0
        self._round_chunks = 0
        self._round_s = 0.0
        self._was_full = False
        self._narrower: float | None = None  # the rate before the window was widened, while that is judged
        self._kept_rounds = PROBE_ROUNDS  # since it was judged

    @property
    def latency_s(self) -> float:
        """How long an answer takes."""
        return FIRST_LATE_S / 2 if self._latency_s is None else self._latency_s

    @property
    def bytes_per_s(self) -> float | None:
        """How fast it gives while it is asked; None while that is not known."""
        return self._bytes / max(self._seconds, 1e-6) if self.chunks >= ROUND_CHUNKS else None

    def asked(self, in_flight: int) -> None:
        """Note that so many chunks are asked for now."""
        self._was_full = self._was_full or in_flight >= self.window

    def answered(self, size: int, *, asked_at: float, now: float) -> None:
        """Note that a chunk came."""
        self._time(now - asked_at)
        took = max(now - max(asked_at, self._answered_at), 0.0)
        self._answered_at = now
        self._bytes = self._bytes * _FORGET + size
        self._seconds = self._seconds * _FORGET + took
        self.chunks += 1
        self._round_chunks += 1
        if self._round_chunks > 0:
            self._round_s += took
        if self._round_chunks >= max(ROUND_CHUNKS, 2 * self.window):
            self._judge()

    def missed(self) -> None:
        """Note that an answer is late, or was refused for the moment: ask for less at a time."""
        self.window = max(1, self.window // 2)
        self._begin_round()

    def restart(self) -> None:
        """Ask for one chunk first: it was dropped, and may be alive again."""
        self.window = 1
        self._kept_rounds = PROBE_ROUNDS
        self._begin_round()

    def _time(self, latency_s: float) -> None:
        if self._latency_s is None:
            self._latency_s, self._variation_s = latency_s, latency_s / 2
        else:
            self._variation_s += (abs(latency_s - self._latency_s) - self._variation_s) / 4
            self._latency_s += (latency_s - self._latency_s) / 8
        self.late_after_s = min(max(3 * self._latency_s + 4 * self._variation_s, MIN_LATE_S), MAX_LATE_S)

    def _judge(self) -> None:
        """Widen the window while that pays, and take back what did not."""
        rate = self._round_chunks * CHUNK_BYTES / max(self._round_s, 1e-6)
        before, was_full = self._narrower, self._was_full
        self._begin_round()
        if not was_full:
            self._narrower = before
        elif self.latency_s < QUICK_S and self.window < MAX_WINDOW:
            self.window *= 2
        elif before is not None and rate < GROWTH * before:
            self.window = max(1, self.window // 2)
            self._kept_rounds = 0
        elif before is None and self._kept_rounds < PROBE_ROUNDS:
            self._kept_rounds += 1
        elif self.window < MAX_WINDOW:
            self.window *= 2
            self._narrower = rate
        else:
            self._kept_rounds = 0

    def _begin_round(self) -> None:
        self._round_chunks = -self.window  # what is on its way was asked for under another window
        self._round_s, self._was_full, self._narrower = 0.0, False, None
