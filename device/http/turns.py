"""One answer on its way over HTTP, whichever API's words it is written in: begun, read piece by piece, ended.

What fails before the first piece still gets a status of its own; after that the client is told in the stream.  A stream
of events begins already when its question has to wait, with the reason as comments: for its turn (": queue 3") or for
its model (": loading", ": converting 40").
"""

import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol, Self

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from device.answers import Answer
from device.api import AnswerDelayed, Answerer, AnswerFinished, AnswerLoading, AnswerPiece, AnswerQueued
from device.core.chat_request import ChatRequest
from device.errors import DeviceError
from device.http.gate import caller_of
from device.http.requests import while_connected
from device.queries import Queries
from mesh.errors import MeshError
from models.core.request import GenerationRequest, TokenLogprob, ToolCall, tool_name
from models.core.tool_calls import ToolCallReader
from models.errors import ModelsError

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
NODE_HEADER: Final = "X-Hearthmesh-Node"
DIGEST_HEADER: Final = "X-Hearthmesh-Model-Digest"
OWN_ERRORS: Final = (DeviceError, MeshError, ModelsError)
TOOL_CALLS: Final = "tool_calls"  # the reason of an answer that ends with calls of tools


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The next words of an answer, the tool that it calls, and how likely its tokens were if that was asked for."""

    answerer: Answerer
    text: str = ""
    call: ToolCall | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


class Turn:
    """The pieces of one answer, then AnswerFinished; calls of tools are told apart from words."""

    def __init__(self, chat: ChatRequest, answer: Answer) -> None:
        self.began_at = time.monotonic()
        self._answer = answer
        self._reader = _reader(chat.generation)
        self._most_calls = None if chat.parallel_tool_calls else 1
        self._calls = 0
        self._logprobs: tuple[TokenLogprob, ...] = ()  # of tokens whose words are held back
        self._ready: deque[Piece | AnswerFinished] = deque()
        self._over = False
        self._error: Exception | None = None  # befell the answer while it waited

    @property
    def first(self) -> Answerer:
        """Who gave its beginning, or is about to."""
        return self._answer.first

    @property
    def model(self) -> str:
        """The name of the model that answers."""
        return self._answer.by.model

    async def begin(self) -> AnswerDelayed | None:
        """Wait for the first piece, which is kept for the reader, or for a reason to wait longer: return that.

        Raises what befell the answer.
        """
        while not self._ready:
            item = await self._answer.step()
            if isinstance(item, AnswerQueued | AnswerLoading):
                return item
            self._take(item)
        return None

    async def move(self) -> AnswerDelayed | None:
        """Wait as `begin` does; what befalls the answer meanwhile is kept for the reader."""
        try:
            return await self.begin()
        except OWN_ERRORS as error:
            self._error = error
            return None

    def __aiter__(self) -> Self:
        """A turn is read once."""
        return self

    async def __anext__(self) -> Piece | AnswerFinished:
        """Wait for the next piece."""
        while not self._ready:
            if self._error is not None:
                raise self._error
            if self._over:
                raise StopAsyncIteration
            self._take(await anext(self._answer))
        return self._ready.popleft()

    async def aclose(self) -> None:
        """End the answer wherever it is made."""
        await self._answer.aclose()

    def _take(self, item: AnswerPiece | AnswerFinished) -> None:
        """Read one item of the answer; what it completes is ready then."""
        if isinstance(item, AnswerPiece):
            self._logprobs += item.logprobs
            self._put(item.answerer, self._reader.feed(item.text) if self._reader else [item.text])
            return
        self._over = True
        self._put(item.answerer, self._reader.finish() if self._reader else [])
        if self._logprobs:
            self._put(item.answerer, [""])
        self._ready.append(replace(item, finish_reason=TOOL_CALLS) if self._calls else item)

    def _put(self, by: Answerer, parts: Sequence[str | ToolCall]) -> None:
        """Have pieces read; the log-probabilities so far go with the first of them."""
        for part in parts:
            if isinstance(part, ToolCall):
                if self._calls == self._most_calls:
                    continue
                self._calls += 1
                piece = Piece(answerer=by, call=part, logprobs=self._logprobs)
            else:
                piece = Piece(answerer=by, text=part, logprobs=self._logprobs)
            self._ready.append(piece)
            self._logprobs = ()


def _reader(request: GenerationRequest) -> ToolCallReader | None:
    """What finds calls in the answer's text, where there may be any: what must fit a schema is no call."""
    if not request.tools or request.tool_choice == "none" or request.schema is not None:
        return None
    names = [tool_name(tool) for tool in request.tools]
    return ToolCallReader(names, id_prefix=f"call_{secrets.token_hex(8)}_")


class Wording(Protocol):
    """How an API writes an answer: whole, or as chunks of a stream."""

    media_type: str

    async def whole(self, turn: Turn) -> dict[str, Any]:
        """Gather the answer into one object."""
        ...

    def chunks(self, turn: Turn) -> AsyncGenerator[bytes, None]:
        """Write the answer as it comes; what goes wrong is written too."""
        ...


class _Worded(Protocol):
    def __call__(self, chat: ChatRequest, turn: Turn) -> Wording: ...


async def answered(request: Request, queries: Queries, chat: ChatRequest, wording: _Worded) -> "Response | TurnStream":
    """Ask, and answer the request in the words of an API.  Raises what goes wrong before the first piece."""
    turn = Turn(chat, await while_connected(request.receive, queries.ask(chat, caller_of(request))))
    words = wording(chat, turn)
    async with AsyncExitStack() as ends_here:
        ends_here.push_async_callback(turn.aclose)
        if not chat.stream:
            body = await while_connected(request.receive, words.whole(turn))
            return JSONResponse(body, headers=_headers(turn.first))
        delayed = await while_connected(request.receive, turn.begin())
        while delayed and words.media_type != EVENT_STREAM:  # has no comments: its header waits for the first piece
            delayed = await while_connected(request.receive, turn.begin())
        ends_here.pop_all()
    return TurnStream(words.chunks(turn), turn, media_type=words.media_type, delayed=delayed)


class TurnStream:
    """A streamed answer as an ASGI response; ends with its client, and ends the answer whatever happens."""

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        turn: Turn,
        *,
        media_type: str,
        delayed: AnswerDelayed | None = None,
    ) -> None:
        """delayed: why the answer has not begun, None where it has."""
        self._delayed = delayed
        self._chunks = chunks
        self._turn = turn
        self._media_type = media_type

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the chunks."""
        try:
            with suppress(ClientDisconnect):
                await while_connected(receive, self._send(send))
        finally:
            await self._turn.aclose()

    async def _send(self, send: Send) -> None:
        headers = {"Content-Type": self._media_type, "Cache-Control": "no-store", **_headers(self._turn.first)}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        while self._delayed:
            await send({"type": "http.response.body", "body": _comment(self._delayed), "more_body": True})
            self._delayed = await self._turn.move()
        async with aclosing(self._chunks):
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _comment(delayed: AnswerDelayed) -> bytes:
    match delayed:
        case AnswerQueued(place=place):
            return b": queue %d\n\n" % place
        case AnswerLoading(converted_percent=0):
            return b": loading\n\n"
    return b": converting %d\n\n" % delayed.converted_percent


def about(item: Piece | AnswerFinished) -> dict[str, Any]:
    """Who gives the answer; at its end how fast, and which parts by whom where it was more than one node."""
    fields = asdict(item.answerer)
    if isinstance(item, AnswerFinished):
        fields |= {"ttft_ms": item.ttft_ms, "tokens_per_s": item.tokens_per_s}
        if item.parts:
            fields["parts"] = [asdict(part) for part in item.parts]
    return fields


def _headers(by: Answerer) -> Mapping[str, str]:
    return {NODE_HEADER: by.node_id, DIGEST_HEADER: by.model_digest}
