"""Answering neighbours: their QUERY goes to the engine, tokens go back as they come."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Final

from device.api import AnswerQueued
from device.core.admission import Client, Standing
from device.core.query_messages import MAX_FAILURE_CHARACTERS, Done, Failed, FailureCode, Query, Queued, Tokens
from device.errands import Errands
from device.errors import BusyError
from device.ports import GiveAndTake, Mesh, Uncounted
from device.turns import AnswerEvent, Turns
from mesh.core.contributions import Amount
from mesh.errors import LinkDownError, MeshError, QueueFullError
from models.core.pacing import joined
from models.core.request import GenerationFinished, TokensGenerated
from models.errors import (
    InvalidRequestError,
    InvalidTemplateError,
    ModelNotFoundError,
    ModelsError,
    PromptTooLongError,
    UnforeseenError,
)
from models.errors import QueueFullError as EngineBusyError

MAX_FROM_PEER: Final = 4  # questions of one neighbour at a time, the waiting ones included
MAX_TOTAL: Final = 16
# A third of the asker's patience: a node that went silent is noticed within seconds, and an empty part of some 300
# bytes on the air, from at most MAX_TOTAL questions, stays below 3 kB a second.
STILL_AT_IT_S: Final = 2.0
FULL_PAUSE_S: Final = 0.05
FULL_FOR_S: Final = 10.0  # a neighbour that reads nothing for so long gets no more

log = logging.getLogger(__name__)

_CODES: Final[tuple[tuple[type[ModelsError], FailureCode], ...]] = (
    (PromptTooLongError, "prompt_too_long"),
    (InvalidRequestError, "invalid_request"),
    (InvalidTemplateError, "invalid_request"),
    (EngineBusyError, "busy"),
    (ModelNotFoundError, "no_such_model"),
    (UnforeseenError, "unforeseen"),
)


class _Outbox:
    """Events that are computed and not sent yet; what waits together travels together."""

    def __init__(self, *, still_at_it_s: float) -> None:
        self._still_at_it_s = still_at_it_s
        self._tokens: list[TokensGenerated] = []
        self._place = 0
        self._last: Done | Failed | None = None
        self._news = asyncio.Event()

    def put(self, event: AnswerEvent) -> None:
        """Add what the engine gave."""
        match event:
            case GenerationFinished():
                self.close(Done(event))
            case TokensGenerated():
                self._tokens.append(event)
                self._news.set()
            case AnswerQueued(place=place):
                self._place = place
                self._news.set()

    def close(self, last: Done | Failed) -> None:
        """Add the last word; the first one stands."""
        self._last = self._last or last
        self._news.set()

    async def wait(self) -> None:
        """Return once there is something to send, or after a while with nothing."""
        self._news.clear()
        if not self._tokens and not self._place and self._last is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._still_at_it_s):
                    await self._news.wait()

    def take_place(self) -> int:
        """Take the place in the queue, 0 where it is the same as before."""
        place, self._place = self._place, 0
        return place

    def take(self) -> TokensGenerated:
        """Take the tokens that are there, as many as one message holds."""
        taken, count = TokensGenerated((), ""), 0
        for part in self._tokens:
            both = joined(taken, part) if count else part
            if both is None:
                break
            taken, count = both, count + 1
        del self._tokens[:count]
        return taken

    @property
    def last(self) -> Done | Failed | None:
        """The last word, once everything before it was taken."""
        return None if self._tokens else self._last


class Answerer:
    """Keeps the questions of neighbours that this node is answering.  on_end: called after each."""

    def __init__(
        self,
        mesh: Mesh,
        turns: Turns,
        errands: Errands,
        *,
        on_end: Callable[[], None],
        still_at_it_s: float = STILL_AT_IT_S,
        full_for_s: float = FULL_FOR_S,
        counts: GiveAndTake | None = None,
    ) -> None:
        self._counts = counts or Uncounted()
        self._still_at_it_s = still_at_it_s
        self._full_for_s = full_for_s
        self._on_end = on_end
        self._mesh = mesh
        self._turns = turns
        self._errands = errands
        self._running: dict[tuple[str, bytes], asyncio.Task[None]] = {}
        self._stopping = False
        self.answered = 0

    @property
    def running(self) -> int:
        """How many questions of neighbours are in hand."""
        return len(self._running)

    def query(self, peer: str, message_id: bytes, query: Query) -> None:
        """Take a question, or say at once why not."""
        key = (peer, message_id)
        if self._stopping:
            self._refuse(key, Failed("stopping", "the node is stopping"))
        elif sum(asker == peer for asker, _ in self._running) >= MAX_FROM_PEER or len(self._running) >= MAX_TOTAL:
            self._refuse(key, Failed("busy", "the neighbour has as many questions as it can hold"))
        elif key not in self._running:
            task = self._errands.spawn(self._answer(key, query), name=f"answer {peer[:8]}")
            if task is not None:
                self._running[key] = task
                task.add_done_callback(lambda _: self._ended(key))

    def cancel(self, peer: str, message_id: bytes) -> None:
        """The asker needs no more."""
        if task := self._running.get((peer, message_id)):
            task.cancel()

    def link_down(self, peer: str) -> None:
        """Nobody is left to hear the answers."""
        for (asker, _), task in list(self._running.items()):
            if asker == peer:
                task.cancel()

    def refuse_new(self) -> None:
        """From now on every question is told that the node is stopping."""
        self._stopping = True

    def stop(self) -> None:
        """End what still runs and say so."""
        for key, task in list(self._running.items()):
            task.cancel()
            self._refuse(key, Failed("stopping", "the node is stopping; the answer ends here"))

    def _ended(self, key: tuple[str, bytes]) -> None:
        del self._running[key]
        self._on_end()

    def _refuse(self, key: tuple[str, bytes], failed: Failed) -> None:
        self._errands.spawn(self._say(key, failed), name="refusal")

    async def _say(self, key: tuple[str, bytes], last: Failed) -> None:
        with contextlib.suppress(MeshError):
            await self._mesh.send(key[0], Failed.KIND, last.to_body(), re=key[1])

    async def _answer(self, key: tuple[str, bytes], query: Query) -> None:
        outbox = _Outbox(still_at_it_s=self._still_at_it_s)
        events = self._turns.generate(Client(key[0], Standing.NEIGHBOUR), query.digest, query.request)
        engine = asyncio.create_task(_collect(events, outbox), name="collect")
        try:
            await self._send_all(key, outbox)
            self.answered += 1
        except MeshError as error:
            log.info("an answer could not be sent", extra={"peer": key[0], "reason": str(error)})
        finally:
            engine.cancel()
            await asyncio.wait((engine,))

    async def _send_all(self, key: tuple[str, bytes], outbox: _Outbox) -> None:
        n, answers = 0, 1  # it counts as an answer with its first token
        while outbox.last is None:
            await outbox.wait()
            tokens, place = outbox.take(), outbox.take_place()
            if place and not tokens.ids:
                await self._send(key, Queued.KIND, Queued(place).to_body())
            elif tokens.ids or tokens.text or outbox.last is None:
                await self._send(key, Tokens.KIND, Tokens(n, tokens).to_body())
                n += 1
            if tokens.ids:
                self._counts.gave(key[0], Amount(answers, len(tokens.ids)))
                answers = 0
        await self._send(key, outbox.last.KIND, outbox.last.to_body())

    async def _send(self, key: tuple[str, bytes], kind: int, body: bytes) -> None:
        """Send one part; a full queue is waited for, while what is computed meanwhile gathers in the outbox."""
        peer, message_id = key
        give_up_at = asyncio.get_running_loop().time() + self._full_for_s
        while True:
            try:
                await self._mesh.send(peer, kind, body, re=message_id)
            except QueueFullError as error:
                if asyncio.get_running_loop().time() > give_up_at:
                    raise LinkDownError(f"the neighbour took nothing for {self._full_for_s:.0f} s") from error
                await asyncio.sleep(FULL_PAUSE_S)
            else:
                return


async def _collect(events: AsyncGenerator[AnswerEvent, None], outbox: _Outbox) -> None:
    """Move events from the engine to the outbox; what goes wrong there becomes the last word."""
    try:
        async with contextlib.aclosing(events):
            async for event in events:
                outbox.put(event)
    except BusyError as error:
        outbox.close(Failed("busy", str(error)[:MAX_FAILURE_CHARACTERS]))
    except ModelsError as error:
        code: FailureCode = next((code for kind, code in _CODES if isinstance(error, kind)), "engine_failed")
        outbox.close(Failed(code, str(error)[:MAX_FAILURE_CHARACTERS]))
    finally:
        outbox.close(Failed("engine_failed", "the answer stopped before its end"))
