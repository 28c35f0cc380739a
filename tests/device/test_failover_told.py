"""An answer that two nodes gave, as a program reads it over HTTP: who gave which part."""

import json
from collections.abc import AsyncIterator
from typing import cast

import httpx
import pytest
from starlette.applications import Starlette

from device.administration import Administration
from device.api import AnswerPart, HttpAddress
from device.errors import DeviceError
from device.guests import Guests
from device.http.app import public_routes
from device.http.errors import on_error
from device.http.gate import OwnersGate
from device.record.log import RecordLog
from device.record.publishing import Publishing
from device.record.reading import Readings
from mesh.node import MeshNode
from tests.sim.street import Street

TOKENS = 400


@pytest.fixture
async def program(street: Street) -> AsyncIterator[httpx.AsyncClient]:
    """A program that asks `spark` over the public API."""
    spark = street["spark"]
    administration = Administration(
        mesh=cast("MeshNode", spark.mesh),  # of which nothing is asked here
        queries=spark.queries,
        library=spark.library,
        log=cast("RecordLog", None),
        publishing=cast("Publishing", None),
        readings=cast("Readings", None),
        guests=cast("Guests", None),
        http=HttpAddress(host="127.0.0.1", port=0),
        version="0",
        started_at=0.0,
        restart=lambda: None,
    )
    routes = public_routes(spark.queries, administration)
    app = OwnersGate(Starlette(routes=routes, exception_handlers={DeviceError: on_error}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://spark") as client:
        yield client


async def test_a_program_is_told_the_parts(street: Street, program: httpx.AsyncClient) -> None:
    """The headers name the first node, the extension lists all of them."""
    street.cut_in_mid_answer("ember")
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": TOKENS}
    reply = await program.post("/v1/chat/completions", json=body)
    about = reply.json()["hearthmesh"]
    assert [part["node_name"] for part in about["parts"]] == ["ember", "attic"]
    assert set(about["parts"][0]) == {"node_id", "node_name", "from_token", "tokens"}
    assert reply.headers["x-hearthmesh-node"] == about["node_id"] == street.id("ember")
    assert reply.json()["usage"]["completion_tokens"] == TOKENS


async def test_each_chunk_names_its_node(street: Street, program: httpx.AsyncClient) -> None:
    """And the last lists the parts; an answer of one node has none."""
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": TOKENS, "stream": True}

    async def chunks() -> list[dict[str, dict[str, object]]]:
        reply = await program.post("/v1/chat/completions", json=body)
        data = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
        return [json.loads(line) for line in data if line != "[DONE]"]

    assert all("parts" not in chunk["hearthmesh"] for chunk in await chunks())
    street.cut_in_mid_answer("ember")
    told = await chunks()
    names = [str(chunk["hearthmesh"]["node_name"]) for chunk in told]
    assert (names[0], names[-2], names[-1]) == ("ember", "attic", "ember")
    parts = told[-1]["hearthmesh"]["parts"]
    assert isinstance(parts, list)
    assert [AnswerPart(**part).node_name for part in parts] == ["ember", "attic"]


async def test_a_program_is_told_what_its_question_does(street: Street, program: httpx.AsyncClient) -> None:
    """With a status that no client takes for a reason to send it once more."""
    street.kill_engine_in_mid_answer("ember", "attic")
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20 * TOKENS}
    reply = await program.post("/v1/chat/completions", json=body, timeout=60)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, "engines_ended")
    assert "2 engines ended on this question, at ember" in error["message"]
    assert "ask in another way" in error["hint"]
