"""Ollama's API: /api/chat, /api/generate, /api/tags, /api/show, /api/version, /api/ps.

As in Ollama, answers are streamed unless that is declined, one JSON object a line.  Times are measured: the whole of
the request here, reading and writing by the engine, and left out where several engines gave the answer.  Dates and
what else nobody knows are left out.  Source: Ollama's API reference.
"""

import abc
import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.administration import Administration
from device.api import AnswerFinished
from device.api_of_models import HeldModel
from device.core.chat_request import ChatRequest
from device.core.ollama_request import OllamaRequest, parse_ollama_chat, parse_ollama_generate, parse_ollama_show
from device.http.errors import ollama_error
from device.http.gate import caller_of
from device.http.models import about_model, find_offered, offered
from device.http.requests import read_body
from device.http.token_logprobs import token_fields
from device.http.turns import OWN_ERRORS, TOOL_CALLS, Piece, Turn, TurnStream, about, answered
from device.queries import Queries
from models.core.request import TokenLogprob, ToolCall

NDJSON: Final = "application/x-ndjson"
NANOSECONDS: Final = 1_000_000_000
DETAILS: Final = {"format": "gguf"}


def ollama_routes(queries: Queries, administration: Administration) -> list[Route]:
    """What Ollama's clients ask."""

    def asking(parse: Callable[[bytes], OllamaRequest], words: "type[_Reply]") -> Callable[[Request], Any]:
        async def ask(request: Request) -> Response | TurnStream:
            asked = parse(await read_body(request))
            if asked.only_load:
                return await _loaded(request, queries, asked.question, words)
            return await answered(request, queries, asked.question, words)

        return ask

    return [
        Route("/api/chat", asking(parse_ollama_chat, ChatReply), methods=["POST"]),
        Route("/api/generate", asking(parse_ollama_generate, GenerateReply), methods=["POST"]),
        *_model_routes(administration),
    ]


def _model_routes(administration: Administration) -> list[Route]:
    async def tags(_: Request) -> Response:
        return JSONResponse({"models": [_model(one.model) for one in offered(administration)]})

    async def loaded(_: Request) -> Response:
        models = [model for model in administration.library.models() if model.loaded]
        return JSONResponse({"models": [_model(model) | {"size_vram": 0} for model in models]})

    async def show(request: Request) -> Response:
        one = find_offered(administration, parse_ollama_show(await read_body(request)))
        here = {model.digest: model for model in administration.library.models()}
        licence = here[one.model.digest].licence if one.local else "unknown"
        return JSONResponse(
            {
                "license": licence,
                "details": DETAILS,
                "model_info": {"general.name": one.model.name, "general.license": licence},
                "capabilities": ["completion", "tools"],
                "hearthmesh": about_model(one),
            }
        )

    async def version(_: Request) -> Response:
        return JSONResponse({"version": administration.version})

    return [
        Route("/api/tags", tags, methods=["GET"]),
        Route("/api/show", show, methods=["POST"]),
        Route("/api/ps", loaded, methods=["GET"]),
        Route("/api/version", version, methods=["GET"]),
    ]


class _Reply(abc.ABC):
    """The JSON objects of one answer; how words stand in them is up to each of the two ways of asking."""

    media_type = NDJSON

    def __init__(self, chat: ChatRequest, turn: Turn) -> None:
        self._model = turn.model
        self._wants_logprobs = chat.generation.logprobs is not None

    @staticmethod
    @abc.abstractmethod
    def words(text: str, calls: Sequence[ToolCall] = ()) -> dict[str, Any]:
        """The fields that hold the words of an answer."""

    async def whole(self, turn: Turn) -> dict[str, Any]:
        """Gather the answer into one object."""
        texts: list[str] = []
        calls: list[ToolCall] = []
        logprobs: list[TokenLogprob] = []
        async for item in turn:
            if isinstance(item, AnswerFinished):
                fields = self._end(item, turn) | self.words("".join(texts), calls)
                return fields | self._logprobs(logprobs)
            texts.append(item.text)
            calls += [item.call] if item.call else []
            logprobs += item.logprobs
        raise AssertionError("an answer ends with AnswerFinished")

    async def chunks(self, turn: Turn) -> AsyncGenerator[bytes, None]:
        """Write an object a line; what goes wrong becomes the last one."""
        try:
            async for item in turn:
                if isinstance(item, AnswerFinished):
                    yield _line(self._end(item, turn) | self.words(""))
                else:
                    yield _line(self._piece(item))
        except OWN_ERRORS as error:
            yield _line(ollama_error(error))

    def _piece(self, item: Piece) -> dict[str, Any]:
        fields = self.words(item.text, [item.call] if item.call else [])
        return (
            head_of(self._model) | fields | {"done": False, "hearthmesh": about(item)} | self._logprobs(item.logprobs)
        )

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        return {"logprobs": [token_fields(one) for one in tokens]} if self._wants_logprobs else {}

    def _end(self, end: AnswerFinished, turn: Turn) -> dict[str, Any]:
        fields = head_of(self._model) | {
            "done": True,
            "done_reason": "stop" if end.finish_reason == TOOL_CALLS else end.finish_reason,
            "total_duration": round((time.monotonic() - turn.began_at) * NANOSECONDS),
            "prompt_eval_count": end.prompt_tokens,
            "eval_count": end.completion_tokens,
            "hearthmesh": about(end),
        }
        if not end.parts:
            fields["prompt_eval_duration"] = round(end.prefill_s * NANOSECONDS)
            fields["eval_duration"] = round(end.decode_s * NANOSECONDS)
        return fields


class ChatReply(_Reply):
    """An answer of /api/chat."""

    @staticmethod
    def words(text: str, calls: Sequence[ToolCall] = ()) -> dict[str, Any]:
        """A message of the assistant."""
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = [
                {"id": call.id, "function": {"name": call.name, "arguments": json.loads(call.arguments)}}
                for call in calls
            ]
        return {"message": message}


class GenerateReply(_Reply):
    """An answer of /api/generate."""

    @staticmethod
    def words(text: str, _: Sequence[ToolCall] = ()) -> dict[str, Any]:
        """Plain text."""
        return {"response": text}


async def _loaded(request: Request, queries: Queries, question: ChatRequest, words: type[_Reply]) -> Response:
    """Say that the model is there, if it is: an empty question asks for no more.  It is loaded when it is needed."""
    answer = await queries.ask(question, caller_of(request))
    try:
        by = answer.by
    finally:
        await answer.aclose()
    fields = {"done": True, "done_reason": "load", "hearthmesh": asdict(by)}
    return JSONResponse(head_of(by.model) | words.words("") | fields)


def head_of(model: str) -> dict[str, Any]:
    """What every object of an answer begins with."""
    return {"model": model, "created_at": datetime.now(UTC).isoformat().replace("+00:00", "Z")}


def _model(model: HeldModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size_bytes,
        "digest": model.digest,
        "details": DETAILS,
    }


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
