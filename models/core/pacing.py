"""How often an answer is told of: tokens gather for the blink of an eye, so that telling costs the engine nothing.

Each report wakes the daemon and whoever reads the answer, on the cores that compute it.  At 12 tokens a second or less
nothing waits; beyond that nobody reads along.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from models.core.request import TokensGenerated
from models.core.worker_protocol import MAX_IDS, MAX_LOGPROBS_AT_ONCE, MAX_TEXT_CHARACTERS, Event

INTERVAL_S: Final = 0.08


class Pace:
    """Passes events of several answers on, each by its number; the order within one answer stays."""

    def __init__(self) -> None:
        self._told_at: dict[int, float] = {}  # by answers that go on
        self._held: dict[int, TokensGenerated] = {}

    def pass_on(
        self, events: Iterable[tuple[int, Event]], *, now: float, gather: bool = True
    ) -> Iterator[tuple[int, Event]]:
        """Yield what is to be told now (seconds, of a monotonic clock), of these events and of those kept before.

        Without `gather` that is all.  An answer's first tokens and its end wait for nothing.
        """
        for number, event in events:
            if isinstance(event, TokensGenerated):
                yield from self._add(number, event)
            else:
                yield from self._release(number)
                yield number, event
                self._told_at.pop(number, None)
        for number in tuple(self._held):
            told_at = self._told_at.get(number)
            if not gather or told_at is None or now - told_at >= INTERVAL_S:
                yield from self._release(number)
                self._told_at[number] = now

    def _add(self, number: int, tokens: TokensGenerated) -> Iterator[tuple[int, Event]]:
        held = self._held.get(number)
        both = tokens if held is None else joined(held, tokens)
        if both is None:
            yield from self._release(number)
        self._held[number] = both or tokens

    def _release(self, number: int) -> Iterator[tuple[int, Event]]:
        if number in self._held:
            yield number, self._held.pop(number)


def joined(first: TokensGenerated, second: TokensGenerated) -> TokensGenerated | None:
    """Make one event of two; None where it would be more than one report or message holds."""
    ids, text, logprobs = first.ids + second.ids, first.text + second.text, first.logprobs + second.logprobs
    if len(ids) > MAX_IDS or len(text) > MAX_TEXT_CHARACTERS or len(logprobs) > MAX_LOGPROBS_AT_ONCE:
        return None
    return TokensGenerated(ids, text, logprobs)
