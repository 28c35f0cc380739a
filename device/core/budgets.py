"""How often a client may ask and how many tokens it may use, on a clock that only goes forward.

The clock is the node's age: the time it has been running, all its lives together.  While it is off nothing renews:
a budget comes back later than it might, never earlier, whatever the wall clock says.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from models.core.request import GenerationRequest

BYTES_A_TOKEN: Final = 4  # of English with a usual vocabulary; an estimate, until the engine has counted
PERIOD_S: Final = 24 * 3600.0
MINUTE_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a client may: questions a minute, tokens (read and written) a day; 0 = as many as it likes."""

    per_minute: int = 0
    per_day: int = 0


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Tokens used in the period that began at `since_s`.

    aside: how many of them are set aside for questions in hand, which may come back.
    """

    tokens: int = 0
    since_s: float = 0.0
    aside: int = 0

    def at(self, now: float) -> "Spent":
        """See what counts now: nothing once the period is over."""
        return self if self.tokens and 0 <= now - self.since_s < PERIOD_S else Spent(since_s=now)

    def set_aside(self, tokens: int, *, now: float) -> "Spent":
        """Take tokens for a question; the first ones begin a period."""
        spent = self.at(now)
        return replace(spent, tokens=spent.tokens + tokens, aside=spent.aside + tokens)

    def settled(self, aside: int, used: int) -> "Spent":
        """Put what a question of this period used in the place of what was set aside for it."""
        return replace(self, tokens=max(0, self.tokens - aside + used), aside=max(0, self.aside - aside))

    def left(self, allowance: Allowance, *, now: float) -> int | None:
        """How many tokens may still be used; None where there is no limit."""
        return max(0, allowance.per_day - self.at(now).tokens) if allowance.per_day else None

    def renews_in_s(self, *, now: float) -> float:
        """When all of it may be used again."""
        return self.at(now).since_s + PERIOD_S - now


@dataclass(frozen=True, kw_only=True)
class Pace:
    """A token bucket of questions: a minute's worth at once, then one by one.  used: how many of it are gone."""

    used: float = 0.0
    at_s: float = 0.0

    def next_in_s(self, per_minute: int, *, now: float) -> int:
        """In how many whole seconds the next question may come; 0 = now."""
        short = self._used(per_minute, now) + 1 - per_minute
        return max(0, math.ceil(short * MINUTE_S / per_minute)) if per_minute else 0

    def asked(self, per_minute: int, *, now: float) -> "Pace":
        """Count a question."""
        return Pace(used=self._used(per_minute, now) + 1, at_s=now) if per_minute else self

    def _used(self, per_minute: int, now: float) -> float:
        return max(0.0, self.used - max(0.0, now - self.at_s) * per_minute / MINUTE_S)


def prompt_tokens(request: GenerationRequest) -> int:
    """Estimate the tokens of a prompt that nobody has read yet."""
    texts = sum(message.size for message in request.messages) + len((request.prompt or "").encode())
    return (texts + sum(len(tool) for tool in request.tools)) // BYTES_A_TOKEN + 1
