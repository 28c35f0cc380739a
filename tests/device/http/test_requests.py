"""A long body is given away piece by piece, while its client is watched."""

import asyncio
from typing import Any

import pytest

from device.errors import BadRequestError
from device.http.requests import MAX_HELD, MAX_TEXT_CHARACTERS, RequestBody, text_of


class _Client:
    """What a server is told of a client."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": piece, "more_body": index + 1 < len(pieces)}
            for index, piece in enumerate(pieces)
        ]
        self.taken = 0
        self.hung_up = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self.taken < len(self._messages):
            self.taken += 1
            return self._messages[self.taken - 1]
        await self.hung_up.wait()
        return {"type": "http.disconnect"}


async def test_the_pieces_come_in_order() -> None:
    """To the end of the body; after it the client is watched."""
    client = _Client([b"a", b"", b"b"])
    body = RequestBody(client.receive)
    pump = asyncio.create_task(body.pump())
    assert [piece async for piece in body.pieces()] == [b"a", b"", b"b"]
    assert not pump.done()
    client.hung_up.set()
    await pump


async def test_no_more_is_taken_than_is_wanted() -> None:
    """Until somebody throws the rest away."""
    client = _Client([b"x"] * 100)
    body = RequestBody(client.receive)
    pump = asyncio.create_task(body.pump())
    for _ in range(200):
        await asyncio.sleep(0)
    assert client.taken == MAX_HELD + 1
    body.discard()
    client.hung_up.set()
    await pump
    assert client.taken == 100


@pytest.mark.parametrize("value", [None, 7, "", "x" * (MAX_TEXT_CHARACTERS + 1)])
def test_a_text_is_one(value: object) -> None:
    """The error names the field."""
    assert text_of({"name": "tiny"}, "name") == "tiny"
    with pytest.raises(BadRequestError) as raised:
        text_of({"name": value}, "name")
    assert raised.value.param == "name"
