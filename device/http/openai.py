"""The public API: /v1/chat/completions, /v1/models, /health, as OpenAI's clients expect them.

Beyond OpenAI, every answer says who gave it and with which model, in `hearthmesh` and in two headers; the end adds how
fast it was.  Where several nodes gave it in turn, the headers and the end name the first, each chunk names its own, and
the end lists the parts.  Source: OpenAI's API reference, chat/object and chat/streaming.
"""

import json
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import asdict
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from device.administration import Administration
from device.answers import Answer
from device.api import Answerer, AnswerFinished, AnswerPiece
from device.core.chat_request import ChatRequest, parse_chat_request
from device.errors import DeviceError
from device.http.errors import error_fields
from device.http.gate import caller_of
from device.http.requests import read_body, while_connected
from device.queries import Queries
from mesh.errors import MeshError
from models.errors import ModelsError

DONE: Final = b"data: [DONE]\n\n"
NODE_HEADER: Final = "X-Hearthmesh-Node"
DIGEST_HEADER: Final = "X-Hearthmesh-Model-Digest"
OWN_ERRORS: Final = (DeviceError, MeshError, ModelsError)


def public_routes(queries: Queries, administration: Administration) -> list[Route]:
    """What programs on this machine may ask."""

    async def chat_completions(request: Request) -> Response | EventStream:
        chat = parse_chat_request(await read_body(request))
        answer = await while_connected(request.receive, queries.ask(chat, caller_of(request)))
        completion = _Completion(chat, answer.by.model)
        if not chat.stream:
            async with aclosing(answer):
                body = await while_connected(request.receive, completion.whole(answer))
            return JSONResponse(body, headers=_headers(answer.first))
        try:
            # Waited for before the first header: what fails until then still gets a status of its own.
            first = await while_connected(request.receive, anext(answer))
        except BaseException:
            await answer.aclose()
            raise
        return EventStream(completion.chunks(first, answer), answer)

    async def list_models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": _models(administration)})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "node_id": administration.mesh.node_id})

    return [
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
    ]


class EventStream:
    """Server-sent events as an ASGI response; ends with its client, and closes the answer whatever happens."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], answer: Answer) -> None:
        self._chunks = chunks
        self._answer = answer

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            with suppress(ClientDisconnect):
                await while_connected(receive, self._send(send))
        finally:
            await self._answer.aclose()

    async def _send(self, send: Send) -> None:
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        headers |= _headers(self._answer.first)
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        async with aclosing(self._chunks):
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Completion:
    """The JSON objects of one answer."""

    def __init__(self, chat: ChatRequest, model: str) -> None:
        self._chat = chat
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    async def whole(self, answer: Answer) -> dict[str, Any]:
        """Gather the answer into one chat.completion."""
        texts: list[str] = []
        async for item in answer:
            if isinstance(item, AnswerFinished):
                message = {"role": "assistant", "content": "".join(texts), "refusal": None}
                choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": item.finish_reason}
                return self._head | {
                    "object": "chat.completion",
                    "choices": [choice],
                    "usage": _usage(item),
                    "hearthmesh": _summary(item),
                }
            texts.append(item.text)
        raise AssertionError("an answer ends with AnswerFinished")

    async def chunks(self, first: AnswerPiece | AnswerFinished, answer: Answer) -> AsyncGenerator[bytes, None]:
        """Yield chat.completion.chunk events, [DONE] at the end; what goes wrong becomes an error event before it."""
        yield self._event({"role": "assistant", "content": ""}, about=asdict(first.answerer))
        try:
            item = first
            while isinstance(item, AnswerPiece):
                yield self._event({"content": item.text}, about=asdict(item.answerer))
                item = await anext(answer)
            about = _summary(item)
            yield self._event({}, finish_reason=item.finish_reason, about=about)
            if self._chat.include_usage:
                yield _data(self._chunk([], about=about) | {"usage": _usage(item)})
        except OWN_ERRORS as error:
            yield _data({"error": error_fields(error)})
        yield DONE

    def _event(self, delta: dict[str, str], *, about: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _data(self._chunk([choice], about=about))

    def _chunk(self, choices: list[dict[str, object]], *, about: dict[str, Any]) -> dict[str, Any]:
        chunk = self._head | {"object": "chat.completion.chunk", "choices": choices, "hearthmesh": about}
        return chunk | {"usage": None} if self._chat.include_usage else chunk


def _data(fields: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


def _usage(end: AnswerFinished) -> dict[str, int]:
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.completion_tokens,
        "total_tokens": end.prompt_tokens + end.completion_tokens,
    }


def _summary(end: AnswerFinished) -> dict[str, Any]:
    """Who gave the answer, how fast, and which parts by whom where it was more than one node."""
    about = {**asdict(end.answerer), "ttft_ms": end.ttft_ms, "tokens_per_s": end.tokens_per_s}
    return about | {"parts": [asdict(part) for part in end.parts]} if end.parts else about


def _headers(by: Answerer) -> dict[str, str]:
    return {NODE_HEADER: by.node_id, DIGEST_HEADER: by.model_digest}


def _models(administration: Administration) -> list[dict[str, Any]]:
    """Each model once, by name and digest; owned by this node if it is here, else by a node in reach."""
    own = administration.mesh.node_id
    holders: dict[tuple[str, str], list[str]] = {}
    for model in administration.library.held():
        holders.setdefault((model.name, model.digest), []).append(own)
    for neighbour in administration.status().neighbours:
        for model in neighbour.models if neighbour.hops else ():
            holders.setdefault((model.name, model.digest), []).append(neighbour.node_id)
    return [
        {
            "id": name,
            "object": "model",
            "created": 0,  # a model is its content: it has no date
            "owned_by": nodes[0],
            "hearthmesh": {"model_digest": digest, "nodes": nodes, "local": nodes[0] == own},
        }
        for (name, digest), nodes in holders.items()
    ]
