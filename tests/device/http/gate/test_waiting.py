"""A phone's question in the queue, as the phone hears it."""

import json

import httpx
import pytest

from device.api import GuestAccess
from device.node import HearthNode
from tests.device.http.phones import CHAT, QUESTION, come_in, reaching
from tests.models.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_question_that_waits_hears_its_place(
    phone: httpx.AsyncClient, guests: GuestAccess, node: HearthNode
) -> None:
    """As comments of the stream, which programs skip; then come the events."""
    await come_in(phone, guests)
    mark = {"X-Hearthmesh": "page"}
    async with reaching(node, "127.0.0.1") as program:
        endless = {**QUESTION, "max_tokens": 15_000, "stream": True}
        async with program.stream("POST", CHAT, json=endless) as running:
            words = running.aiter_lines()  # kept: dropped, it would end the answer
            await anext(words)
            async with phone.stream("POST", CHAT, json={**QUESTION, "stream": True}, headers=mark) as waiting:
                lines = waiting.aiter_lines()
                assert (waiting.status_code, await anext(lines)) == (200, ": queue 1")
                assert node.administration.status().queue.guest == 1
                await running.aclose()
                rest = [line async for line in lines if line]
    assert rest[0].startswith("data: {")
    assert rest[-1] == "data: [DONE]"


async def test_what_befalls_a_question_that_waits_is_told(
    phone: httpx.AsyncClient, guests: GuestAccess, node: HearthNode
) -> None:
    """The stream has begun by then: the error is its last event."""
    await come_in(phone, guests)
    too_long = {"messages": [{"role": "user", "content": "x" * 40_000}], "stream": True}
    endless = {**QUESTION, "max_tokens": 15_000, "stream": True}
    async with reaching(node, "127.0.0.1") as program, program.stream("POST", CHAT, json=endless) as running:
        words = running.aiter_lines()  # kept: dropped, it would end the answer
        await anext(words)
        async with phone.stream("POST", CHAT, json=too_long, headers={"X-Hearthmesh": "page"}) as waiting:
            lines = waiting.aiter_lines()
            assert await anext(lines) == ": queue 1"
            await running.aclose()
            error, done = [line async for line in lines if line]
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "context_length_exceeded"
    assert done == "data: [DONE]"


async def test_a_phone_that_vanishes_leaves_the_queue(
    phone: httpx.AsyncClient, guests: GuestAccess, node: HearthNode
) -> None:
    """Its place is free at once, not when its turn would have come."""
    await come_in(phone, guests)
    endless = {**QUESTION, "max_tokens": 15_000, "stream": True}
    async with reaching(node, "127.0.0.1") as program, program.stream("POST", CHAT, json=endless) as running:
        words = running.aiter_lines()  # kept: dropped, it would end the answer
        await anext(words)
        async with phone.stream("POST", CHAT, json=endless, headers={"X-Hearthmesh": "page"}) as waiting:
            lines = waiting.aiter_lines()
            assert await anext(lines) == ": queue 1"
        await until(lambda: node.administration.queries.counts().running == 1)
        assert node.administration.status().queue.guest == 0
