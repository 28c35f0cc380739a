"""One source of a transfer: what it holds, what is asked of it, and how it has behaved."""

import enum
from dataclasses import dataclass, field
from typing import Final

from device.core.source_pace import STALLED_AFTER, Meter, Pace

FIRST_REST_S: Final = 5.0  # before a source that was dropped is tried again; doubled each time until something comes
MAX_REST_S: Final = 300.0
SLOW_REST_S: Final = 60.0
FIRST_BUSY_S: Final = 0.5  # before one that is busy is asked again; doubled each time
MAX_BUSY_S: Final = 8.0
MAX_REFUSALS: Final = 8  # in a row, of parts that it said it holds


class State(enum.Enum):
    """What becomes of a source; the values are what people see."""

    ACTIVE = "active"
    RESTING = "resting"  # dropped, tried again later or when something comes from it
    SLOW = "slow"  # dropped, tried again later
    GONE = "gone"
    BANNED = "banned"


class Saw(enum.Enum):
    """What a source did."""

    CAME = enum.auto()
    LEFT = enum.auto()
    FAILED = enum.auto()  # stalled, or refused what it said it holds
    LAGGED = enum.auto()  # was much slower than others
    RESTED = enum.auto()
    ANSWERED = enum.auto()
    FORGED = enum.auto()


TRANSITIONS: Final[dict[State, dict[Saw, State]]] = {
    State.ACTIVE: {
        Saw.LEFT: State.GONE,
        Saw.FAILED: State.RESTING,
        Saw.LAGGED: State.SLOW,
        Saw.FORGED: State.BANNED,
    },
    State.RESTING: {
        Saw.LEFT: State.GONE,
        Saw.RESTED: State.ACTIVE,
        Saw.ANSWERED: State.ACTIVE,
        Saw.FORGED: State.BANNED,
    },
    State.SLOW: {Saw.LEFT: State.GONE, Saw.RESTED: State.ACTIVE, Saw.FORGED: State.BANNED},
    State.GONE: {Saw.CAME: State.RESTING, Saw.FORGED: State.BANNED},  # it rests until its rest is over, if it had one
    State.BANNED: {},  # for this transfer
}


@dataclass(eq=False)
class Ask:
    """A request on its way."""

    asked_at: float
    late: bool = False


@dataclass(eq=False)
class Source:
    """A source, by its node id.  Parts are numbers, sets of them bitmaps; times are monotonic seconds."""

    name: str
    state: State = State.GONE
    has: int = 0
    asks: dict[int, Ask] = field(default_factory=dict)  # the oldest first
    asked: int = 0  # the same parts as a bitmap
    expected: int = 0  # what was asked when it was dropped: it may come all the same
    pace: Pace = field(default_factory=Pace)
    meter: Meter = field(default_factory=Meter)
    bytes_verified: int = 0
    heard_at: float = 0.0
    rest_until: float = 0.0
    quiet_until: float = 0.0
    is_full: bool = False  # until half of its window is free: so several chunks are asked for by one message
    refusals: int = 0
    _rest_s: float = FIRST_REST_S
    _busy_s: float = FIRST_BUSY_S

    def saw(self, what: Saw) -> bool:
        """Go on to the state that follows; return whether that is another one."""
        before = self.state
        self.state = TRANSITIONS[before].get(what, before)
        return self.state is not before

    def can_be_asked(self, now: float) -> bool:
        """Whether one more request may be sent to it."""
        return self.state is State.ACTIVE and self.quiet_until <= now and not self.is_full

    @property
    def rests(self) -> bool:
        """Whether it was dropped and is to be tried again."""
        return self.state in (State.RESTING, State.SLOW)

    def ask(self, number: int, now: float) -> None:
        """Note a request."""
        if not self.asks:
            self.heard_at = now
        self.asks[number] = Ask(now)
        self.asked |= 1 << number
        self.expected &= ~(1 << number)
        self.is_full = len(self.asks) >= self.pace.window
        self.pace.asked(len(self.asks))

    def release(self, number: int) -> Ask | None:
        """Forget a request, if there was one."""
        ask = self.asks.pop(number, None)
        if ask is not None:
            self.asked ^= 1 << number
            self.is_full = self.is_full and len(self.asks) > self.pace.window // 2
        return ask

    def heard(self, now: float) -> None:
        """Note that it is alive."""
        self.heard_at = now

    def gave(self, size: int, now: float) -> None:
        """Note that something right came from it."""
        self.heard(now)
        self.bytes_verified += size
        self.meter.add(size, now=now)
        self.refusals = 0
        self._rest_s, self._busy_s = FIRST_REST_S, FIRST_BUSY_S
        self.quiet_until = now

    def is_busy(self, now: float) -> None:
        """Leave it alone for a moment."""
        self.heard(now)
        self.pace.missed()
        self.quiet_until = now + self._busy_s
        self._busy_s = min(2 * self._busy_s, MAX_BUSY_S)

    def rest(self, now: float, why: Saw) -> None:
        """Leave it alone for longer, and then begin with one chunk."""
        self.saw(why)
        if self.state is State.SLOW:
            self.pace = Pace()  # measured anew when it is tried again
            self.rest_until = now + SLOW_REST_S
        else:
            self.rest_until = now + self._rest_s
            self._rest_s = min(2 * self._rest_s, MAX_REST_S)
        self.refusals = 0
        self.pace.restart()

    def overdue(self, now: float) -> list[int]:
        """Return what should have come by now, and was not found so before."""
        found = []
        for number, ask in self.asks.items():
            if not ask.late:
                if ask.asked_at + self.pace.late_after_s > now:
                    break  # those asked for later are not late either
                found.append(number)
        return found

    @property
    def late(self) -> int:
        """What is late, as a bitmap."""
        return sum(1 << number for number, ask in self.asks.items() if ask.late)

    @property
    def stalls_at(self) -> float:
        """When it counts as dead if nothing comes; only of use while something is asked of it."""
        return self.heard_at + STALLED_AFTER * self.pace.late_after_s

    def wake_at(self, now: float) -> float | None:
        """Say when it is to be looked at again."""
        if self.rests:
            return self.rest_until
        if self.state is not State.ACTIVE:
            return None
        times = [self.quiet_until] if self.quiet_until > now else []
        if self.asks:
            times.append(self.stalls_at)
            oldest = next((ask for ask in self.asks.values() if not ask.late), None)
            if oldest is not None:
                times.append(oldest.asked_at + self.pace.late_after_s)
        return min(times, default=None)
