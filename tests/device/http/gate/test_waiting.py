"""A phone's question in the queue, as the phone hears it."""

import json

import httpx
import pytest

from device.api import GuestAccess
from device.core.access import LOOPBACK
from device.node import HearthNode
from tests.device.http.phones import CHAT, QUESTION, come_in
from tests.models.waiting import until
from tests.sim.home import busy

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_question_that_waits_hears_its_place(
    phone: httpx.AsyncClient, guests: GuestAccess, node: HearthNode
) -> None:
    """As comments of the stream, which programs skip; then come the events."""
    await come_in(phone, guests)
    mark = {"X-Hearthmesh": "page"}
    async with (
        busy(node.administration.queries, caller=LOOPBACK) as end,
        phone.stream("POST", CHAT, json={**QUESTION, "stream": True}, headers=mark) as waiting,
    ):
        lines = waiting.aiter_lines()
        assert (waiting.status_code, await anext(lines)) == (200, ": queue 1")
        assert node.administration.status().queue.guest == 1
        await end()
        rest = [line async for line in lines if line]
    assert rest[0].startswith("data: {")
    assert rest[-1] == "data: [DONE]"


async def test_what_befalls_a_question_that_waits_is_told(
    phone: httpx.AsyncClient, guests: GuestAccess, node: HearthNode
) -> None:
    """The stream has begun by then: the error is its last event."""
    await come_in(phone, guests)
    too_long = {"messages": [{"role": "user", "content": "x" * 40_000}], "stream": True}
    async with (
        busy(node.administration.queries, caller=LOOPBACK) as end,
        phone.stream("POST", CHAT, json=too_long, headers={"X-Hearthmesh": "page"}) as waiting,
    ):
        lines = waiting.aiter_lines()
        assert await anext(lines) == ": queue 1"
        await end()
        error, done = [line async for line in lines if line]
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "context_length_exceeded"
    assert done == "data: [DONE]"


async def test_a_phone_that_vanishes_leaves_the_queue(
    phone: httpx.AsyncClient, guests: GuestAccess, node: HearthNode
) -> None:
    """Its place is free at once, not when its turn would have come."""
    await come_in(phone, guests)
    question = {**QUESTION, "stream": True}
    async with busy(node.administration.queries, caller=LOOPBACK):
        async with phone.stream("POST", CHAT, json=question, headers={"X-Hearthmesh": "page"}) as waiting:
            lines = waiting.aiter_lines()
            assert await anext(lines) == ": queue 1"
        await until(lambda: node.administration.queries.counts().running == 1)
        assert node.administration.status().queue.guest == 0
