"""The server under honest, slow, many and vanishing clients; over real sockets, with an application of its own."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from device.http.server import HttpServer, Patience, _Connection

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
WITHIN_S = 10.0


async def greet(_: Scope, receive: Receive, send: Send) -> None:
    """Answer with one word."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def serving(
    app: ASGIApp, *, patience: Patience | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    """A running server and its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(app, listener, grace_s=1, patience=patience or Patience(), tls=tls)
    running = asyncio.create_task(server.run())
    try:
        async with asyncio.timeout(WITHIN_S):
            yield server, listener.getsockname()[1]
    finally:
        server.stop()
        await running


@asynccontextmanager
async def connected(
    port: int, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_a_connection_serves_one_request_after_the_other() -> None:
    """Keep-alive works, also where a request arrives in pieces."""
    async with serving(greet) as (_, port), connected(port) as (reader, writer):
        for _ in range(2):
            writer.write(REQUEST[:10])
            await writer.drain()
            writer.write(REQUEST[10:])
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_small_pieces_do_not_wait_for_each_other() -> None:
    """What is written is sent, acknowledged or not: tokens come one by one."""
    async with serving(greet) as (server, port), connected(port) as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"hello")
        (connection,) = server._server.server_state.connections
        accepted = cast("_Connection", connection).transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("sent", [[b""], [REQUEST[:-2]], [REQUEST, REQUEST[:10]]])
async def test_an_unfinished_request_is_cut(sent: list[bytes]) -> None:
    """Whoever says nothing, or half a request, or half of a second one, does not keep a connection."""
    async with (
        serving(greet, patience=Patience(head_within_s=0.05)) as (_, port),
        connected(port) as (reader, writer),
    ):
        for part in sent:
            writer.write(part)
            if part == REQUEST:
                await reader.readuntil(b"hello")
        assert await reader.read() == b""


async def test_a_client_that_does_not_read_is_cut() -> None:
    """A full send buffer frees its answer after a while; the application sees a hang-up."""
    hung_up = asyncio.Event()

    async def pour(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        pouring = asyncio.create_task(_pour(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        pouring.cancel()
        hung_up.set()

    async def _pour(send: Send) -> None:
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})

    async with serving(pour, patience=Patience(read_within_s=0.05)) as (_, port), connected(port) as (_reader, writer):
        writer.write(REQUEST)
        await hung_up.wait()


async def test_connections_beyond_the_bound_are_closed() -> None:
    """While those before them are being answered they get no answer; afterwards there is room."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await go_on.wait()
        await greet(scope, receive, send)

    async with (
        serving(slow, patience=Patience(connections=1)) as (_, port),
        connected(port) as (reader, writer),
    ):
        writer.write(REQUEST)
        await begun.wait()
        assert not await _answers(port)
        go_on.set()
        await reader.readuntil(b"hello")
        assert await _answers(port)


async def test_idle_connections_make_room() -> None:
    """Whoever holds all of them and asks nothing, from one address or several, keeps nobody out who does ask."""
    patience = Patience(connections=3, per_source=2)
    async with serving(greet, patience=patience) as (_, port), contextlib.AsyncExitStack() as stack:
        asked, asking = await stack.enter_async_context(connected(port, "127.0.0.5"))
        asking.write(REQUEST)
        await asked.readuntil(b"hello")
        oldest, newer = [(await stack.enter_async_context(connected(port, "127.0.0.66")))[0] for _ in range(2)]
        reader, writer = await stack.enter_async_context(connected(port, "127.0.0.6"))
        writer.write(REQUEST)
        await reader.readuntil(b"hello")
        assert await oldest.read() == b""
        assert not newer.at_eof()
        asking.write(REQUEST)
        await asked.readuntil(b"hello")


async def test_one_source_does_not_take_all_connections() -> None:
    """It has its part; another address still gets in."""
    async with serving(greet, patience=Patience(per_source=1)) as (_, port), connected(port) as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"hello")
        assert not await _answers(port)
        other, sending = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.5", 0))
        sending.write(REQUEST)
        assert (await other.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        sending.close()


async def _answers(port: int) -> bool:
    async with connected(port) as (reader, writer):
        writer.write(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        try:
            return (await reader.read()).endswith(b"hello")
        except ConnectionError:
            return False


async def test_a_stop_lets_a_running_answer_end() -> None:
    """Nothing new is accepted, what runs goes on to its end, idle connections are closed."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await go_on.wait()
        await greet(scope, receive, send)

    async with serving(slow) as (server, port), connected(port) as (reader, writer), connected(port) as (idle, _):
        writer.write(REQUEST)
        await begun.wait()
        server.stop()
        assert await idle.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        go_on.set()
        assert (await reader.read()).endswith(b"hello")


async def test_a_cancelled_server_cuts_its_connections() -> None:
    """When the node falls, no client is left waiting."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    running = asyncio.create_task(HttpServer(greet, listener, grace_s=1).run())
    async with connected(port) as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"hello")
        running.cancel()
        assert await reader.read() == b""
    assert running.cancelled()


async def test_after_a_cancelled_server_another_one_listens() -> None:
    """The loop lets go of the socket, whose number the next one may get."""
    for _ in range(2):
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        running = asyncio.create_task(HttpServer(greet, listener, grace_s=1).run())
        async with asyncio.timeout(WITHIN_S):
            while not await _answers(port):
                pass  # it is starting
        running.cancel()
        await asyncio.wait((running,))
