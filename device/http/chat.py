"""POST /v1/chat/completions, as OpenAI's clients expect it.

Source: OpenAI's API reference, chat/object and chat/streaming.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from device.api import AnswerFinished
from device.core.chat_request import ChatRequest, parse_chat_request
from device.http.openai import events_of, head_of, usage_of
from device.http.requests import read_body
from device.http.token_logprobs import token_fields
from device.http.turns import EVENT_STREAM, Piece, Turn, TurnStream, about, answered
from device.queries import Queries
from models.core.request import TokenLogprob, ToolCall

OBJECT: Final = "chat.completion"
CHUNK: Final = "chat.completion.chunk"


def chat_routes(queries: Queries) -> list[Route]:
    """Conversations."""

    async def chat_completions(request: Request) -> Response | TurnStream:
        return await answered(request, queries, parse_chat_request(await read_body(request)), ChatCompletion)

    return [Route("/v1/chat/completions", chat_completions, methods=["POST"])]


class ChatCompletion:
    """The JSON objects of one answer."""

    media_type = EVENT_STREAM

    def __init__(self, chat: ChatRequest, turn: Turn) -> None:
        self._head = head_of("chatcmpl", turn.model)
        self._include_usage = chat.include_usage
        self._wants_logprobs = chat.generation.logprobs is not None

    async def whole(self, turn: Turn) -> dict[str, Any]:
        """Gather the answer into one chat.completion."""
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        logprobs: list[TokenLogprob] = []
        async for item in turn:
            if isinstance(item, AnswerFinished):
                message: dict[str, Any] = {"role": "assistant", "content": "".join(texts), "refusal": None}
                if calls:
                    message |= {"content": message["content"] or None, "tool_calls": calls}
                choice = self._choice(logprobs, item.finish_reason) | {"message": message}
                end = {"object": OBJECT, "choices": [choice], "usage": usage_of(item), "hearthmesh": about(item)}
                return self._head | end
            texts.append(item.text)
            calls += _calls(item.call)
            logprobs += item.logprobs
        raise AssertionError("an answer ends with AnswerFinished")

    def chunks(self, turn: Turn) -> AsyncGenerator[bytes, None]:
        """Write chat.completion.chunk events."""
        return events_of(self._objects(turn))

    async def _objects(self, turn: Turn) -> AsyncGenerator[dict[str, Any], None]:
        called, begun = 0, False
        async for item in turn:
            if not begun:
                begun = True
                yield self._chunk(item, delta={"role": "assistant", "content": ""})
            if isinstance(item, AnswerFinished):
                yield self._chunk(item, delta={}, finish_reason=item.finish_reason)
                if self._include_usage:
                    yield self._fields([], item) | {"usage": usage_of(item)}
            elif item.call is not None:
                (call,) = _calls(item.call)
                yield self._chunk(item, delta={"tool_calls": [{"index": called, **call}]}, logprobs=item.logprobs)
                called += 1
            else:
                yield self._chunk(item, delta={"content": item.text}, logprobs=item.logprobs)

    def _chunk(
        self,
        item: Piece | AnswerFinished,
        *,
        delta: dict[str, Any],
        logprobs: Sequence[TokenLogprob] = (),
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        return self._fields([self._choice(logprobs, finish_reason) | {"delta": delta}], item)

    def _choice(self, logprobs: Sequence[TokenLogprob], finish_reason: str | None) -> dict[str, Any]:
        shown = {"content": [token_fields(one) for one in logprobs], "refusal": None} if self._wants_logprobs else None
        return {"index": 0, "logprobs": shown, "finish_reason": finish_reason}

    def _fields(self, choices: list[dict[str, Any]], item: Piece | AnswerFinished) -> dict[str, Any]:
        fields = self._head | {"object": CHUNK, "choices": choices, "hearthmesh": about(item)}
        return fields | {"usage": None} if self._include_usage else fields


def _calls(call: ToolCall | None) -> list[dict[str, Any]]:
    if call is None:
        return []
    return [{"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}]
