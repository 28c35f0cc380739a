"""The public API of a real node, as OpenAI's clients use it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from device.errors import RequestTooSlowError
from device.http.errors import error_fields, error_response, status_of
from device.http.requests import MAX_BODY_BYTES, read_body
from device.node import HearthNode
from models.host import EngineHost
from tests.device.workers import kill_in_mid_answer
from tests.models.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
ENDLESS = {"messages": HELLO, "max_tokens": 15_000}


def engine_of(node: HearthNode) -> EngineHost:
    """The engine behind the node's library."""
    return node.administration.library._engine


@asynccontextmanager
async def events(client: httpx.AsyncClient, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[Any]]:
    """The data of a streamed answer's events, parsed; the last is "[DONE]"."""
    async with client.stream("POST", CHAT, json={"stream": True, **body}) as reply:
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"

        async def parsed() -> AsyncIterator[Any]:
            async for line in reply.aiter_lines():
                if line and not line.startswith(":"):  # a comment: its model is still loading
                    name, _, data = line.partition(": ")
                    assert name == "data"
                    yield data if data == "[DONE]" else json.loads(data)

        yield parsed()


async def test_a_whole_answer(public: httpx.AsyncClient, node: HearthNode) -> None:
    """OpenAI's chat.completion, with who answered in body and headers."""
    reply = await public.post(CHAT, json={"model": "tiny", "messages": HELLO, "max_tokens": 6})
    body = reply.json()
    assert reply.status_code == 200
    assert (body["object"], body["model"]) == ("chat.completion", "tiny")
    assert body["id"].startswith("chatcmpl-")
    (choice,) = body["choices"]
    assert (choice["index"], choice["finish_reason"], choice["message"]["role"]) == (0, "length", "assistant")
    assert body["usage"]["completion_tokens"] == 6
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + 6
    about, (model,) = body["hearthmesh"], node.administration.library.held()
    assert (about["node_id"], about["node_name"], about["local"]) == (node.administration.mesh.node_id, "ember", True)
    assert (about["model"], about["model_digest"]) == ("tiny", model.digest)
    assert about["ttft_ms"] > 0
    assert about["tokens_per_s"] > 0
    assert reply.headers["x-hearthmesh-node"] == about["node_id"]
    assert reply.headers["x-hearthmesh-model-digest"] == model.digest


async def test_a_streamed_answer_says_the_same(public: httpx.AsyncClient) -> None:
    """Role first, then words, the reason, the usage if asked for, [DONE]; together the whole answer."""
    question = {"messages": HELLO, "max_tokens": 6}
    whole = (await public.post(CHAT, json=question)).json()
    async with events(public, {**question, "stream_options": {"include_usage": True}}) as stream:
        *chunks, usage, done = [event async for event in stream]
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in (*chunks, usage)}) == 1
    assert all(chunk["usage"] is None for chunk in chunks)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]
    assert deltas[-1] == {}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], whole["usage"]["completion_tokens"])
    read, told = usage["usage"]["prompt_tokens"], usage["usage"]["prompt_tokens_details"]
    assert read == whole["usage"]["prompt_tokens"]
    assert 0 < told["cached_tokens"] < read  # it has been asked just before
    assert all(chunk["hearthmesh"]["model_digest"] == whole["hearthmesh"]["model_digest"] for chunk in chunks)
    assert usage["hearthmesh"]["tokens_per_s"] > 0


async def test_usage_comes_only_when_asked_for(public: httpx.AsyncClient) -> None:
    """Without stream_options the chunks have no such field at all."""
    async with events(public, {"messages": HELLO, "max_tokens": 2}) as stream:
        chunks = [event async for event in stream][:-1]
    assert not any("usage" in chunk for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"{", 400, "invalid_value", None),
        (b"[]", 400, "invalid_value", None),
        (b"\xff", 400, "invalid_value", None),
        ({}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "invalid_value", "messages.0.content"),
        ({"messages": HELLO, "temperature": "hot"}, 400, "invalid_value", "temperature"),
        ({"messages": HELLO, "n": 2}, 400, "unsupported_parameter", "n"),
        ({"messages": HELLO, "model": "absent"}, 404, "model_not_found", None),
        ({"messages": HELLO, "hearthmesh": {"node": "zzzzzz"}}, 404, "node_not_found", None),
        ({"messages": [{"role": "user", "content": "x" * 40_000}]}, 400, "context_length_exceeded", None),
        (
            {"messages": [{"role": "user", "content": "x" * 40_000}], "stream": True},
            400,
            "context_length_exceeded",
            None,
        ),
    ],
)
async def test_a_bad_question_gets_openais_error(
    public: httpx.AsyncClient, body: object, status: int, code: str, param: str | None
) -> None:
    """The same shape for every error, with the field at fault and what to do; streamed or not."""
    # While a model loads, a stream begins before anything is known of its answer.
    assert (await public.post(CHAT, json={"messages": HELLO, "max_tokens": 1})).status_code == 200
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = await public.post(CHAT, content=sent)
    error = reply.json()["error"]
    assert (reply.status_code, error["type"], error["code"], error["param"]) == (
        status,
        "invalid_request_error",
        code,
        param,
    )
    assert error["message"]
    assert error["hint"]


async def test_a_prompt_too_long_says_both_numbers(public: httpx.AsyncClient) -> None:
    """How long it is, and how long it may be."""
    reply = await public.post(CHAT, json={"messages": [{"role": "user", "content": "x" * 40_000}]})
    assert "the context holds 16384" in reply.json()["error"]["message"]
    assert "the prompt has 40" in reply.json()["error"]["message"]


async def test_a_body_too_large_is_refused(public: httpx.AsyncClient) -> None:
    """Ten megabytes of question are not kept, but the client hears why."""
    reply = await public.post(CHAT, content=bytes(10 * MAX_BODY_BYTES))
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_body_that_never_comes_is_given_up() -> None:
    """A slow client does not hold a request open for ever."""

    async def silent() -> Any:  # noqa: ANN401  an ASGI message that never comes
        await asyncio.Event().wait()

    request = Request({"type": "http", "headers": []}, receive=silent)
    with pytest.raises(RequestTooSlowError):
        await read_body(request, within_s=0.01)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_hangs_up_stops_the_engine(node: HearthNode, streamed: bool) -> None:  # noqa: FBT001  a parameter
    """The answer nobody hears is not computed."""
    engine, http = engine_of(node), node.administration.http
    reader, writer = await asyncio.open_connection(http.host, http.port)
    body = json.dumps({**ENDLESS, "stream": streamed}).encode()
    writer.write(
        b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body
    )
    await until(lambda: engine.busy)
    if streamed:
        await reader.readuntil(b"data: ")
    writer.close()
    await until(lambda: not engine.busy and node.administration.queries.counts().running == 0)


async def test_a_killed_worker_ends_the_stream_with_an_error(public: httpx.AsyncClient, node: HearthNode) -> None:
    """What was said stands, then the error, then [DONE]; the next question works."""
    async with events(public, ENDLESS) as stream:
        assert (await anext(stream))["choices"]
        reading = asyncio.create_task(_rest(stream))
        await kill_in_mid_answer(node)
        *_, error, done = await reading
    assert (error["error"]["code"], error["error"]["type"], done) == ("worker_died", "server_error", "[DONE]")
    assert "ask again" in error["error"]["hint"]
    assert (await public.post(CHAT, json={"messages": HELLO, "max_tokens": 2})).status_code == 200


async def test_a_killed_worker_is_an_error_of_the_server(public: httpx.AsyncClient, node: HearthNode) -> None:
    """Not streamed there is no half answer: 500, ask again."""
    asking = asyncio.create_task(public.post(CHAT, json=ENDLESS))
    await until(lambda: node.administration.queries.counts().running == 1)
    await until(lambda: engine_of(node).loaded is not None and engine_of(node).busy)
    await kill_in_mid_answer(node)
    reply = await asking
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "worker_died")


async def _rest(stream: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in stream]


async def test_the_models_and_the_health(public: httpx.AsyncClient, node: HearthNode) -> None:
    """OpenAI's list, each model with its owner; and a sign of life."""
    listed = (await public.get("/v1/models")).json()
    own = node.administration.mesh.node_id
    (model,) = node.administration.library.models()
    assert listed == {
        "object": "list",
        "data": [
            {
                "id": "tiny",
                "object": "model",
                "created": 0,
                "owned_by": own,
                "hearthmesh": {
                    "model_digest": model.digest,
                    "nodes": [own],
                    "local": True,
                    "card": {
                        "licence": model.licence,
                        "description": model.description or "unknown",
                        "trained_on": "unknown",
                        "bad_at": "unknown",
                    },
                },
            }
        ],
    }
    assert (await public.get("/health")).json() == {"status": "ok", "node_id": own}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "evil.example:4327"},
        {"Host": "127.0.0.1.evil.example"},
    ],
)
async def test_web_pages_are_kept_out(public: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """A page in the owner's browser may reach loopback; it gets nothing, whatever name it uses for it."""
    reply = await public.get("/v1/models", headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "forbidden")
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:4327", "[::1]:4327"])
async def test_every_name_of_loopback_is_let_in(public: httpx.AsyncClient, host: str) -> None:
    """With or without a port."""
    assert (await public.get("/health", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/index.html", 404), ("GET", "/api/status", 404), ("GET", CHAT, 405), ("POST", "/v1/models", 405)],
)
async def test_what_is_not_there(public: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    """An unknown path, a wrong method, and the owner's API have the same shape of error."""
    reply = await public.request(method, path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, "unknown_url")


async def test_an_error_that_is_none_of_ours_says_nothing() -> None:
    """A bug's message may hold anything: it stays inside."""
    assert status_of(KeyError("secret")) == (500, "internal_error")
    assert "secret" not in str(error_fields(KeyError("secret")))
    assert error_response(KeyError("secret")).status_code == 500
