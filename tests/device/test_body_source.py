"""A thread reads what comes in the loop, and waits for nobody who has gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from device.body_source import BodySource
from device.errors import RequestTooSlowError


async def _pieces(*pieces: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if then is not None:
        raise then


def _whole(source: BodySource, size: int) -> bytes:
    return b"".join(iter(lambda: source.read(size), b""))


@pytest.mark.parametrize("size", [1, 7, 1_000_000, 5_000_000])
async def test_the_bytes_are_those_of_the_pieces(size: int) -> None:
    """In whatever portions they are asked for."""
    pieces = [bytes([number]) * 300_000 for number in range(10)] if size > 7 else [b"abc", b"", b"defgh"]
    source = BodySource(_pieces(*pieces))
    assert await asyncio.to_thread(_whole, source, size) == b"".join(pieces)


async def test_what_the_pieces_raise_reaches_the_thread() -> None:
    """As itself."""
    source = BodySource(_pieces(b"abc", then=ValueError("hung up")))
    with pytest.raises(ValueError, match="hung up"):
        await asyncio.to_thread(_whole, source, 100)


async def test_a_silent_body_is_given_up() -> None:
    """A stick may hang for ever."""

    async def silent() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.Event().wait()

    source = BodySource(silent(), silence_s=0.05)
    with pytest.raises(RequestTooSlowError, match="nothing came"):
        await asyncio.to_thread(_whole, source, 100)


async def test_closing_lets_the_thread_go() -> None:
    """Whether it waits already or comes later."""
    waiting = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        waiting.set()
        await asyncio.Event().wait()
        yield b""

    source = BodySource(silent())
    reading = asyncio.create_task(asyncio.to_thread(source.read, 1))
    await waiting.wait()
    source.close()
    with pytest.raises(asyncio.CancelledError):
        await reading
    closed = BodySource(_pieces(b"abc"))
    closed.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.to_thread(closed.read, 1)
