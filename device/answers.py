"""One answer on its way to the owner: who gives it, its pieces, and at the end how fast it was."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Self

from device.api import AnswerDelayed, Answerer, AnswerFinished, AnswerLoading, AnswerPiece, AnswerQueued
from device.core.budgets import prompt_tokens
from device.core.failover import AnswerSoFar
from device.errors import AnswerLostError, DeviceError
from device.turns import AnswerEvent
from models.core.request import GenerationFinished, TokensGenerated


class Answer:
    """An async iterator of AnswerPiece..., then AnswerFinished; `aclose` cancels the rest wherever it is made.

    `step` tells why it has not begun, too.

    so_far: what has come of it and from whom, kept by whoever makes the events.  Times are the asker's own, from the
    moment of asking (monotonic); the rate counts the tokens after the first, over the time after the first.
    """

    def __init__(
        self,
        so_far: AnswerSoFar,
        events: AsyncGenerator[AnswerEvent, None],
        *,
        on_close: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._so_far = so_far
        self._events = events
        self._on_close = on_close
        self._clock = clock
        self._asked_at = clock()
        self._first_at: float | None = None
        self._end: GenerationFinished | None = None
        self._why: DeviceError | None = None  # it was stopped
        self._waiting: asyncio.Timeout | None = None

    @property
    def by(self) -> Answerer:
        """Who gives it now; the node of the piece that came last."""
        return self._so_far.by

    @property
    def first(self) -> Answerer:
        """Who gave its beginning, or is about to."""
        return self._so_far.first

    @property
    def tokens(self) -> int:
        """How many tokens it took, prompt and answer; where it broke off once begun, the prompt's are estimated."""
        if self._end is not None:
            return self._end.prompt_tokens + self._end.completion_tokens
        return prompt_tokens(self._so_far.rest()) + self._so_far.tokens if self._so_far.begun else 0

    def __aiter__(self) -> Self:
        """An answer is read once."""
        return self

    async def __anext__(self) -> AnswerPiece | AnswerFinished:
        """Wait for the next piece.  Raises what `stop` was given, and what befell the answer where it is made."""
        while isinstance(item := await self.step(), AnswerQueued | AnswerLoading):
            pass
        return item

    async def step(self) -> AnswerPiece | AnswerFinished | AnswerDelayed:
        """Wait for the next piece or news of why there is none.  Raises as iterating does."""
        while self._end is None:
            match await self._next():
                case AnswerQueued() | AnswerLoading() as delayed:
                    return delayed
                case GenerationFinished(reason="cancelled"):
                    raise AnswerLostError("the answer was stopped in the middle")
                case GenerationFinished() as end:
                    self._end = end
                    return self._finished(end)
                case TokensGenerated(ids, text, logprobs):
                    if ids and self._first_at is None:
                        self._first_at = self._clock()
                    if text or logprobs:
                        return AnswerPiece(text=text, answerer=self.by, logprobs=logprobs)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it, early or not; the answerer stops computing."""
        try:
            await self._events.aclose()
        finally:
            self._on_close()
            self._on_close = lambda: None

    def stop(self, why: DeviceError) -> None:
        """End it from outside: whoever waits for the next piece gets this error instead; the first one counts."""
        self._why = self._why or why
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(0.0)

    async def _next(self) -> AnswerEvent:
        if self._why is not None:
            raise self._why
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await anext(self._events)
        except TimeoutError as error:
            if self._why is None:
                raise
            raise self._why from error
        except StopAsyncIteration as error:
            raise AnswerLostError("the answer stopped before its end") from error
        finally:
            self._waiting = None

    def _finished(self, end: GenerationFinished) -> AnswerFinished:
        now = self._clock()
        first_at = self._first_at or now
        if end.completion_tokens > 1 and now > first_at:
            rate = (end.completion_tokens - 1) / (now - first_at)
        else:
            rate = end.completion_tokens / max(now - self._asked_at, 1e-6)
        return AnswerFinished(
            answerer=self.first,
            finish_reason=end.reason,
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            ttft_ms=round((first_at - self._asked_at) * 1000, 1),
            tokens_per_s=round(rate, 1),
            prefill_s=end.prefill_s,
            decode_s=end.decode_s,
            cached_tokens=end.cached_tokens,
            parts=self._so_far.parts(),
        )
