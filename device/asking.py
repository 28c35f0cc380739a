"""Asking a neighbour: a QUERY goes out, its answer comes back part by part."""

import asyncio
import contextlib
import logging
import math
from collections import Counter, deque
from collections.abc import AsyncGenerator
from typing import Final

from device.api import AnswerQueued
from device.core.answer_assembly import AnswerAssembly
from device.core.query_messages import Cancel, Query, QueryMessage
from device.errands import Errands
from device.errors import AnswerLostError, BusyError, DeviceError, NeighbourMisbehavedError
from device.ports import GiveAndTake, Mesh, Uncounted
from device.turns import AnswerEvent
from mesh.core.contributions import Amount
from mesh.errors import MeshError
from models.core.request import GenerationFinished, GenerationRequest, TokensGenerated

SILENCE_S: Final = 6.0  # the answerer says "still at it" three times as often
QUERY_TTL_S: Final = 30.0
MAX_UNREAD: Final = 8192  # parts of one answer that nobody has read yet; their texts are bounded by the question
MAX_UNREAD_WITH_LOGPROBS: Final = 1024  # each may have tens of kilobytes of them

log = logging.getLogger(__name__)


class _Reply:
    """What has arrived of one answer and was not read yet."""

    def __init__(self, peer: str, request: GenerationRequest, *, silence_s: float) -> None:
        self.peer = peer
        self._silence_s = silence_s
        self.assembly = AnswerAssembly(request)
        self._most = MAX_UNREAD if request.logprobs is None else MAX_UNREAD_WITH_LOGPROBS
        self._unread: deque[AnswerEvent] = deque()
        self._error: DeviceError | None = None
        self._news = asyncio.Event()

    def arrived(self, message: QueryMessage) -> None:
        """Keep what a message adds for the reader; what comes after an error adds nothing."""
        if self._error is not None:
            return
        try:
            event = self.assembly.receive(message)
        except DeviceError as error:
            self.end(error)
            return
        if isinstance(event, AnswerQueued) and self._unread and isinstance(self._unread[-1], AnswerQueued):
            self._unread.pop()  # only where it is now is of interest
        if event is not None and len(self._unread) >= self._most:
            self.end(NeighbourMisbehavedError("the neighbour sent more than an answer can hold"))
            return
        if event is not None:
            self._unread.append(event)
        self._news.set()

    def end(self, error: DeviceError) -> None:
        """Nothing more will arrive; what did is still read first."""
        self._error = self._error or error
        self._news.set()

    async def next(self) -> AnswerEvent:
        """Wait for the next event of the answer.  Raises what ended it, AnswerLostError after too long a silence."""
        while True:
            if self._unread:
                return self._unread.popleft()
            if self._error is not None:
                raise self._error
            self._news.clear()
            try:
                async with asyncio.timeout(self._silence_s):
                    await self._news.wait()
            except TimeoutError as error:
                raise AnswerLostError(f"nothing came from the neighbour for {self._silence_s:.0f} s") from error


class Asker:
    """Keeps the questions that neighbours are answering for this node."""

    def __init__(
        self, mesh: Mesh, errands: Errands, *, silence_s: float = SILENCE_S, counts: GiveAndTake | None = None
    ) -> None:
        self._silence_s = silence_s
        self._counts = counts or Uncounted()
        self._mesh = mesh
        self._errands = errands
        self._open: dict[bytes, _Reply] = {}
        self._places: Counter[str] = Counter()  # taken at each neighbour, from before a QUERY until its end or CANCEL

    def running(self, peer: str) -> int:
        """How many questions that neighbour is answering for us."""
        return sum(reply.peer == peer for reply in self._open.values())

    async def ask(self, peer: str, query: Query, *, most: float = math.inf) -> AsyncGenerator[AnswerEvent, None]:
        """Send a question and yield the events of its answer; closing the generator cancels it over there.

        most: how many places at the neighbour may be taken then, this question's included.
        Raises BusyError, AnswerLostError, NeighbourFailedError, NeighbourMisbehavedError, and MeshError when it
        cannot be sent.
        """
        if self._places[peer] >= most:
            raise BusyError(f"{self._places[peer]} questions from here are at that neighbour already")
        self._places[peer] += 1
        reply = _Reply(peer, query.request, silence_s=self._silence_s)
        with contextlib.ExitStack() as unsent:
            unsent.callback(self._leave, peer)
            message_id = await self._mesh.send(peer, Query.KIND, query.to_body(), ttl_s=QUERY_TTL_S)
            unsent.pop_all()
        self._open[message_id] = reply
        try:
            event, answers = None, 1  # it counts as an answer with its first token
            while not isinstance(event, GenerationFinished):
                event = await reply.next()
                if isinstance(event, TokensGenerated) and event.ids:
                    self._counts.received(peer, Amount(answers, len(event.ids)))
                    answers = 0
                yield event
        finally:
            del self._open[message_id]
            if reply.assembly.over or not self._errands.spawn(self._cancel(peer, message_id), name="cancel"):
                self._leave(peer)

    def arrived(self, peer: str, re: bytes | None, message: QueryMessage) -> None:
        """Take a TOKENS, DONE or FAILED; what belongs to no open question (cancelled just now) is dropped."""
        reply = self._open.get(re or b"")
        if reply is not None and reply.peer == peer:
            reply.arrived(message)

    def link_down(self, peer: str) -> None:
        """End the answers that were coming from there."""
        for reply in self._open.values():
            if reply.peer == peer:
                reply.end(AnswerLostError("the link to the neighbour went down"))

    async def _cancel(self, peer: str, message_id: bytes) -> None:
        try:
            await self._mesh.send(peer, Cancel.KIND, Cancel().to_body(), re=message_id)
        except MeshError as error:
            # Over there the answer ends with the link, or at its own end.
            log.info("cancel not sent", extra={"peer": peer, "reason": str(error)})
        finally:
            self._leave(peer)

    def _leave(self, peer: str) -> None:
        self._places[peer] -= 1
        if not self._places[peer]:
            del self._places[peer]
