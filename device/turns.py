"""Who may use the engine now: everybody's questions, in the order that `device.core.admission` decides."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from device.api import AnswerDelayed, AnswerLoading, AnswerQueued
from device.core.admission import DEFAULT_BOUNDS, MAX_RETRY_S, Admission, Bounds, Client, Standing, Ticket
from device.core.budgets import prompt_tokens
from device.core.offering import EVERYTHING, Offering
from device.errors import BusyError
from device.library import Library
from models.core.request import GenerationEvent, GenerationFinished, GenerationRequest, TokensGenerated

EXPECTED_TOKENS: Final = 200  # of an answer that may be longer; what it took is put right at its end
LOOK_EVERY_S: Final = 5.0  # at the board's sensors, while there are questions
LOOK_FOR_MODEL_S: Final = 1.0  # whether a turn that brings nothing waits for its model
MAX_UNREAD: Final = 256  # events of one answer

AnswerEvent = GenerationEvent | AnswerDelayed


class Turns:
    """The queue in front of the engine.  offering: how much the board can do for others now; bounds: who may wait."""

    def __init__(
        self,
        library: Library,
        *,
        offering: Callable[[], Offering] = lambda: EVERYTHING,
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self._library = library
        self._look = offering
        self._admission = Admission(slots=library.slots, bounds=bounds)
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

        While its model is being loaded or converted, that is told too, where it takes longer than a moment.

        An answer that steps aside for the owner waits once more, and goes on with the tokens it has; so does one whose
        reader has left too much unread, once that is read.
        on_turn: called whenever its turn has come.
        Raises BusyError when the queue is full, and what the library raises.
        """
        seat = self._sit(client, digest, request, on_turn)
        try:
            while (event := await seat.next()) is not None:
                yield event
                self._resume_if_read(seat)
        finally:
            self._rise(seat)

    def _sit(self, client: Client, digest: str, request: GenerationRequest, on_turn: Callable[[], None]) -> "_Seat":
        self._look_around()
        cost = prompt_tokens(request) + min(request.sampling.max_tokens, EXPECTED_TOKENS)
        ticket = self._admission.enter(client, cost)
        seat = self._seats[ticket] = _Seat(ticket, digest, request, on_turn, self._library.coming)
        self._advance()
        return seat

    async def _answer(self, seat: "_Seat") -> None:
        """Move the answer from the engine to the seat, which holds so much unread and no more."""
        scope = f"{seat.ticket.client.standing}:{seat.ticket.client.id}"
        try:
            async with aclosing(self._library.generate(seat.digest, seat.rest(), scope=scope)) as events:
                async for event in events:
                    seat.put(event)
                    if seat.full:
                        break
                else:
                    seat.over = True  # perhaps without an end: whoever reads it says so
        except Exception as error:  # noqa: BLE001  whatever it is, it is raised where the answer is read
            seat.fail(error)
        if seat.over:
            self._admission.end(seat.ticket, tokens=seat.tokens, now=asyncio.get_running_loop().time())
        else:
            seat.paused = True
            self._admission.pause(seat.ticket, tokens=seat.tokens)
            self._resume_if_read(seat)
        self._advance()

    def _resume_if_read(self, seat: "_Seat") -> None:
        if seat.drained:
            seat.paused = False
            self._admission.resume(seat.ticket)
            self._advance()

    def _rise(self, seat: "_Seat") -> None:
        now = asyncio.get_running_loop().time()
        seat.stop()
        self._admission.end(seat.ticket, tokens=seat.tokens, now=now)
        del self._seats[seat.ticket]
        self._look_around()
        self._advance()

    def _advance(self) -> None:
        """Begin what may begin, tell the others their places, and come back when a rest is over."""
        loop = asyncio.get_running_loop()
        for ticket in self._admission.to_interrupt():
            self._step_aside(self._seats[ticket], now=loop.time())
        for ticket in self._admission.start(now=loop.time()):
            self._seats[ticket].begin(self._answer)
        for place, ticket in enumerate(self._admission.order(), start=1):
            self._seats[ticket].move(place)
        if self._alarm is not None:
            self._alarm.cancel()
        wake_at = self._admission.wake_at(now=loop.time())
        self._alarm = None if wake_at is None else loop.call_at(wake_at, self._woken)

    def _step_aside(self, seat: "_Seat", *, now: float) -> None:
        seat.stop()
        if seat.over:
            self._admission.end(seat.ticket, tokens=seat.tokens, now=now)
        else:
            self._admission.pause(seat.ticket, tokens=seat.tokens)
            self._admission.resume(seat.ticket)

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

    tokens: what its turn has taken of the engine so far; over: no more comes of its answer; paused: its turn ended
    because too much of it is unread.
    """

    def __init__(
        self,
        ticket: Ticket,
        digest: str,
        request: GenerationRequest,
        on_turn: Callable[[], None],
        coming: Callable[[str], int | None],
    ) -> None:
        self.ticket = ticket
        self.digest = digest
        self.tokens = 0
        self.over = self.paused = False
        self._request = request
        self._on_turn = on_turn
        self._coming = coming
        self._silent = False  # its turn has come, and has brought nothing yet
        self._converted_percent: int | None = None  # as told
        self._ids: list[int] = []
        self._characters = 0
        self._place = self._told = 0
        self._unread: deque[GenerationEvent] = deque()
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._turn: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether the engine is to compute no more before something is read."""
        return len(self._unread) >= MAX_UNREAD

    @property
    def drained(self) -> bool:
        """Whether it was full, and everything has been read."""
        return self.paused and not self._unread

    def move(self, place: int) -> None:
        """Take another place."""
        self._place = place
        self._news.set()

    def refuse(self, reason: str) -> None:
        """Tell it that it will have no turn."""
        self.fail(BusyError(f"the question waited in vain: {reason}", retry_after_s=MAX_RETRY_S))

    def begin(self, answer: Callable[["_Seat"], Coroutine[None, None, None]]) -> None:
        """Have its turn: `answer` moves what the engine gives here."""
        self._place = self._told = 0
        self.tokens = prompt_tokens(self._request)
        self._silent, self._converted_percent = True, None
        self._on_turn()
        self._turn = asyncio.create_task(answer(self), name="turn")

    def stop(self) -> None:
        """End its turn, if it has one."""
        if self._turn is not None:
            self._turn.cancel()

    def rest(self) -> GenerationRequest:
        """The question, with what has come of its answer in earlier turns."""
        answered, characters = (*self._request.answered, *self._ids), self._request.characters + self._characters
        return replace(self._request, answered=answered, characters=characters) if self._ids else self._request

    def put(self, event: GenerationEvent) -> None:
        """Take the next event of the turn."""
        match event:
            case TokensGenerated(ids=ids, text=text):
                self.tokens += len(ids)
                self._ids += ids
                self._characters += len(text)
            case GenerationFinished() as end:
                self.tokens += end.prompt_tokens - prompt_tokens(self._request)
                self.over = True
        self._silent = False
        self._unread.append(event)
        self._news.set()

    def fail(self, error: Exception) -> None:
        """End the answer with an error, behind what has come of it."""
        self.over, self._error = True, error
        self._news.set()

    async def next(self) -> AnswerEvent | None:
        """Wait for the next event or another reason to wait; None at the end.  Raises what befell the answer."""
        while True:
            if self._unread:
                return self._unread.popleft()
            if self._error is not None:
                raise self._error
            if self.over:
                return None
            if self._place != self._told:
                self._told = self._place
                return AnswerQueued(place=self._place)
            if (loading := await self._wait()) is not None:
                return loading

    async def _wait(self) -> AnswerLoading | None:
        """Wait for news; now and then, where none come, look whether the model does."""
        self._news.clear()
        try:
            async with asyncio.timeout(LOOK_FOR_MODEL_S if self._silent else None):
                await self._news.wait()
        except TimeoutError:
            percent = self._coming(self.digest)
            if percent is not None and percent != self._converted_percent:
                self._converted_percent = percent
                return AnswerLoading(converted_percent=percent)
        return None
