"""Who may use the engine now: everybody's questions, in the order that `device.core.admission` decides."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from device.api import AnswerQueued
from device.core.admission import MAX_RETRY_S, Admission, Client, Standing, Ticket
from device.core.budgets import prompt_tokens
from device.core.offering import EVERYTHING, Offering
from device.errors import BusyError
from device.library import Library
from models.core.request import GenerationEvent, GenerationFinished, GenerationRequest, TokensGenerated

EXPECTED_TOKENS: Final = 200  # of an answer that may be longer; what it took is put right at its end
LOOK_EVERY_S: Final = 5.0  # at the board's sensors, while there are questions

AnswerEvent = GenerationEvent | AnswerQueued


class Turns:
    """The queue in front of the engine.  offering: how much the board can do for others now."""

    def __init__(
        self, library: Library, *, offering: Callable[[], Offering] = lambda: EVERYTHING, slots: int = 1
    ) -> None:
        self._library = library
        self._look = offering
        self._admission = Admission(slots=slots)
        self._seats: dict[Ticket, _Seat] = {}
        self._offering = EVERYTHING
        self._look_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> Counter[Standing]:
        """How many questions wait, by who asks."""
        return self._admission.waiting

    @property
    def retry_after_s(self) -> int:
        """In how many seconds there may be room again."""
        return self._admission.retry_after_s

    @property
    def offering(self) -> Offering:
        """How much the board does for others, as it was when last looked at."""
        return self._offering

    async def generate(
        self, client: Client, digest: str, request: GenerationRequest, *, on_turn: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[AnswerEvent, None]:
        """Yield the place in the queue whenever it is another, then the answer's events; closing gives the turn up.

        An answer that steps aside for the owner waits once more, and goes on with the tokens it has.
        on_turn: called whenever its turn has come.
        Raises BusyError when the queue is full, and what the library raises.
        """
        seat = self._sit(client, request)
        try:
            while not seat.over:
                async for place in seat.places():
                    yield AnswerQueued(place=place)
                on_turn()
                async with aclosing(self._library.generate(digest, seat.rest())) as events:
                    while (event := await seat.next(events)) is not None:
                        yield event
                if not seat.over:
                    self._step_aside(seat)
        finally:
            self._rise(seat)

    def _sit(self, client: Client, request: GenerationRequest) -> "_Seat":
        self._look_around()
        cost = prompt_tokens(request) + min(request.sampling.max_tokens, EXPECTED_TOKENS)
        ticket = self._admission.enter(client, cost)
        seat = self._seats[ticket] = _Seat(ticket, request)
        self._advance()
        return seat

    def _step_aside(self, seat: "_Seat") -> None:
        self._admission.interrupt(seat.ticket, tokens=seat.tokens)
        self._advance()

    def _rise(self, seat: "_Seat") -> None:
        now = asyncio.get_running_loop().time()
        self._admission.end(seat.ticket, tokens=seat.tokens, now=now)
        del self._seats[seat.ticket]
        self._look_around()
        self._advance()

    def _advance(self) -> None:
        """Begin what may begin, tell the others their places, and come back when a rest is over."""
        loop = asyncio.get_running_loop()
        for ticket in self._admission.start(now=loop.time()):
            self._seats[ticket].move(0)
        for place, ticket in enumerate(self._admission.order(), start=1):
            self._seats[ticket].move(place)
        for ticket in self._admission.to_interrupt():
            self._seats[ticket].interrupt()
        if self._alarm is not None:
            self._alarm.cancel()
        wake_at = self._admission.wake_at(now=loop.time())
        self._alarm = None if wake_at is None else loop.call_at(wake_at, self._woken)

    def _woken(self) -> None:
        self._look_around()
        self._advance()

    def _look_around(self) -> None:
        """See how the board is, now and then; who can wait no longer is told."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return
        self._look_at, self._offering = now + LOOK_EVERY_S, self._look()
        for ticket in self._admission.offer(self._offering.share):
            self._admission.end(ticket, now=now)
            self._seats[ticket].refuse(self._offering.reason)


class _Seat:
    """One question in the queue, and what there is of its answer.

    tokens: what its turn has taken of the engine so far; over: there will be no more of its answer.
    """

    def __init__(self, ticket: Ticket, request: GenerationRequest) -> None:
        self.ticket = ticket
        self.tokens = 0
        self.over = False
        self._request = request
        self._ids: list[int] = []
        self._characters = 0
        self._place = -1
        self._refusal = ""
        self._interrupted = False
        self._reading: asyncio.Timeout | None = None
        self._news = asyncio.Event()

    def move(self, place: int) -> None:
        """Take another place; 0: it is its turn."""
        if place != self._place:
            self._place = place
            self._news.set()

    def refuse(self, reason: str) -> None:
        """Tell it that it will have no turn."""
        self._refusal = reason
        self._news.set()

    def interrupt(self) -> None:
        """Have it step aside, whatever it waits for."""
        self._interrupted = True
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(0.0)

    async def places(self) -> AsyncIterator[int]:
        """Yield each place it comes to, the latest where it was not looked at for a while, until it is its turn."""
        while self._place:
            self._news.clear()
            if self._refusal:
                raise BusyError(f"the question waited in vain: {self._refusal}", retry_after_s=MAX_RETRY_S)
            yield self._place
            await self._news.wait()

    def rest(self) -> GenerationRequest:
        """Begin a turn: the question, with what has come of its answer in earlier ones."""
        self._interrupted = False
        self.tokens = prompt_tokens(self._request)
        answered, characters = (*self._request.answered, *self._ids), self._request.characters + self._characters
        return replace(self._request, answered=answered, characters=characters) if self._ids else self._request

    async def next(self, events: AsyncGenerator[GenerationEvent, None]) -> GenerationEvent | None:
        """Wait for the next event of the turn; None at its end, or where it has to step aside."""
        if self.over or self._interrupted:
            return None
        try:
            async with asyncio.timeout(None) as self._reading:
                event = await anext(events, None)
        except TimeoutError:
            return None
        finally:
            self._reading = None
        match event:
            case TokensGenerated(ids=ids, text=text):
                self.tokens += len(ids)
                self._ids += ids
                self._characters += len(text)
            case GenerationFinished() as end:
                self.tokens += end.prompt_tokens - prompt_tokens(self._request)
                self.over = True
            case None:
                self.over = True  # without an end: whoever reads it says so
        return event
