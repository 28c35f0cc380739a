"""Ollama's API of a real node, as its clients use it."""

import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from device.node import HearthNode

pytestmark = pytest.mark.asyncio(loop_scope="module")
HELLO = [{"role": "user", "content": "hello"}]


def question(**fields: Any) -> dict[str, Any]:  # noqa: ANN401  anything JSON can say
    """A short one."""
    return {"model": "tiny", "options": {"num_predict": 6}, **fields}


async def lines(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of a streamed answer."""
    reply = await client.post(path, json=body)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in reply.text.splitlines()]


async def test_a_whole_answer(public: httpx.AsyncClient, node: HearthNode) -> None:
    """Words, reason, counts, and times that were measured."""
    reply = await public.post("/api/chat", json=question(messages=HELLO, stream=False, model="tiny:latest"))
    body = reply.json()
    assert (body["model"], body["done"], body["done_reason"], body["eval_count"]) == ("tiny", True, "length", 6)
    assert body["message"]["role"] == "assistant"
    assert datetime.fromisoformat(body["created_at"]).tzinfo
    assert 0 < body["prompt_eval_duration"] + body["eval_duration"] <= body["total_duration"]
    assert body["prompt_eval_count"] > 0
    assert "load_duration" not in body
    assert body["hearthmesh"]["node_id"] == node.administration.mesh.node_id
    assert reply.headers["x-hearthmesh-node"] == body["hearthmesh"]["node_id"]


@pytest.mark.parametrize(
    ("path", "asked", "words"),
    [
        ("/api/chat", {"messages": HELLO}, lambda line: line["message"]["content"]),
        ("/api/generate", {"prompt": "hello"}, lambda line: line["response"]),
    ],
)
async def test_a_streamed_answer_says_the_same(
    public: httpx.AsyncClient,
    path: str,
    asked: dict[str, Any],
    words: Any,  # noqa: ANN401  a parameter
) -> None:
    """A line a piece, the counts in the last."""
    whole = (await public.post(path, json=question(**asked, stream=False))).json()
    *pieces, end = await lines(public, path, question(**asked))
    assert "".join(words(piece) for piece in pieces) == words(whole)
    assert not any(piece["done"] for piece in pieces)
    assert (end["done"], end["done_reason"], end["eval_count"], words(end)) == (True, "length", 6, "")
    assert {piece["hearthmesh"]["model_digest"] for piece in pieces} == {whole["hearthmesh"]["model_digest"]}


async def test_both_ways_of_asking_give_one_answer(public: httpx.AsyncClient) -> None:
    """The same question, the same words: here and in OpenAI's words."""
    asked = {"messages": HELLO, "model": "tiny", "max_tokens": 6}
    there = (await public.post("/v1/chat/completions", json=asked)).json()["choices"][0]["message"]["content"]
    for path, fields in (("/api/chat", {"messages": HELLO}), ("/api/generate", {"prompt": "hello"})):
        here = (await public.post(path, json=question(**fields, stream=False))).json()
        assert there == (here["message"]["content"] if "message" in here else here["response"])


async def test_an_empty_question_finds_out_whether_the_model_is_there(public: httpx.AsyncClient) -> None:
    """Nothing is computed for it."""
    reply = (await public.post("/api/generate", json={"model": "tiny", "keep_alive": "10m"})).json()
    assert (reply["done"], reply["done_reason"], reply["response"]) == (True, "load", "")
    assert (await public.post("/api/chat", json={"model": "absent"})).status_code == 404


async def test_the_models(public: httpx.AsyncClient, node: HearthNode) -> None:
    """Listed, shown, and which of them is loaded."""
    (model,) = node.administration.library.held()
    await public.post("/api/generate", json=question(prompt="hello", stream=False))
    for path in ("/api/tags", "/api/ps"):
        (listed,) = (await public.get(path)).json()["models"]
        assert (listed["name"], listed["digest"], listed["size"]) == ("tiny", model.digest, model.size_bytes)
    shown = (await public.post("/api/show", json={"model": "tiny:latest"})).json()
    assert (shown["license"], shown["hearthmesh"]["model_digest"]) == ("CC0-1.0", model.digest)
    assert (await public.get("/api/version")).json() == {"version": node.administration.version}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/chat", b"{", 400, "invalid_value"),
        ("/api/chat", b"\xff", 400, "invalid_value"),
        ("/api/chat", b"[" * 100_000, 400, "invalid_value"),
        ("/api/chat", bytes(10 << 20), 413, "request_too_large"),
        ("/api/generate", b'{"prompt": "hello"}', 400, "invalid_value"),
        ("/api/generate", b'{"model": "tiny", "prompt": "x", "think": true}', 400, "unsupported_parameter"),
        ("/api/chat", b'{"model": "absent", "messages": [{"role": "user", "content": "x"}]}', 404, "model_not_found"),
        ("/api/show", b'{"model": "absent"}', 404, "model_not_found"),
        ("/api/embed", b'{"model": "tiny", "input": "x"}', 404, "unknown_url"),
        ("/api/tags", b"", 405, "unknown_url"),
    ],
)
async def test_errors_are_texts(public: httpx.AsyncClient, path: str, body: bytes, status: int, code: str) -> None:
    """Ollama's clients look for one under "error"; beside it stands what to do."""
    reply = await public.post(path, content=body)
    fields = reply.json()
    assert (reply.status_code, fields["code"]) == (status, code)
    assert isinstance(fields["error"], str)
    assert fields["hint"]


async def test_web_pages_are_kept_out_in_ollamas_words(public: httpx.AsyncClient) -> None:
    """The gate in front speaks as what is behind it."""
    reply = await public.get("/api/tags", headers={"Origin": "http://evil.example"})
    assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")


async def test_the_owners_api_stays_beside_it(owner: httpx.AsyncClient) -> None:
    """On the owner's socket both are served under /api."""
    assert (await owner.get("/api/tags")).json()["models"]
    assert (await owner.get("/api/models")).json()["models"]
    assert (await owner.post("/api/join", content=b"{")).json()["error"]["code"] == "invalid_value"
