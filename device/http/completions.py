"""POST /v1/completions, as OpenAI's clients expect it.

Source: OpenAI's API reference, completions/object; streamed chunks are objects of the same kind.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from device.api import AnswerFinished
from device.core.chat_request import ChatRequest
from device.core.completion_request import parse_completion_request
from device.http.openai import events_of, head_of, usage_of
from device.http.requests import read_body
from device.http.token_logprobs import TextLogprobs
from device.http.turns import EVENT_STREAM, Piece, Turn, TurnStream, about, answered
from device.queries import Queries
from models.core.request import TokenLogprob

OBJECT: Final = "text_completion"


def completion_routes(queries: Queries) -> list[Route]:
    """Texts to go on with."""

    async def completions(request: Request) -> Response | TurnStream:
        return await answered(request, queries, parse_completion_request(await read_body(request)), TextCompletion)

    return [Route("/v1/completions", completions, methods=["POST"])]


class TextCompletion:
    """The JSON objects of one answer."""

    media_type = EVENT_STREAM

    def __init__(self, chat: ChatRequest, turn: Turn) -> None:
        self._head = head_of("cmpl", turn.model)
        self._include_usage = chat.include_usage
        self._logprobs = None if chat.generation.logprobs is None else TextLogprobs()

    async def whole(self, turn: Turn) -> dict[str, Any]:
        """Gather the answer into one text_completion."""
        texts: list[str] = []
        logprobs: list[TokenLogprob] = []
        async for item in turn:
            if isinstance(item, AnswerFinished):
                choice = self._choice("".join(texts), logprobs, item.finish_reason)
                return self._fields([choice], item) | {"usage": usage_of(item)}
            texts.append(item.text)
            logprobs += item.logprobs
        raise AssertionError("an answer ends with AnswerFinished")

    def chunks(self, turn: Turn) -> AsyncGenerator[bytes, None]:
        """Write text_completion events."""
        return events_of(self._objects(turn))

    async def _objects(self, turn: Turn) -> AsyncGenerator[dict[str, Any], None]:
        unread = {"usage": None} if self._include_usage else {}
        async for item in turn:
            if isinstance(item, AnswerFinished):
                yield self._fields([self._choice("", (), item.finish_reason)], item) | unread
                if self._include_usage:
                    yield self._fields([], item) | {"usage": usage_of(item)}
            else:
                yield self._fields([self._choice(item.text, item.logprobs, None)], item) | unread

    def _choice(self, text: str, logprobs: Sequence[TokenLogprob], finish_reason: str | None) -> dict[str, Any]:
        shown = self._logprobs.fields(logprobs) if self._logprobs else None
        return {"index": 0, "text": text, "logprobs": shown, "finish_reason": finish_reason}

    def _fields(self, choices: list[dict[str, Any]], item: Piece | AnswerFinished) -> dict[str, Any]:
        return self._head | {"object": OBJECT, "choices": choices, "hearthmesh": about(item)}
