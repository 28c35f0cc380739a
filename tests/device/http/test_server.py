"""The server under honest, slow, many and vanishing clients; over real sockets, with an application of its own."""

import asyncio
import contextlib
import socket
import ssl
from typing import cast

import pytest

from device.http.server import HttpServer, Patience, _Connection
from mesh.certificates import PageCertificate
from tests.device.http.servers import REQUEST, WITHIN_S, Held, Pouring, connected, greet, phone, serving


@pytest.fixture(params=["plain", "TLS"])
def tls(
    request: pytest.FixtureRequest, certificate: PageCertificate
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """What the server and its client speak."""
    return (None, None) if request.param == "plain" else (certificate.context, phone())


async def test_a_connection_serves_one_request_after_the_other() -> None:
    """Keep-alive works, also where a request arrives in pieces."""
    async with serving(greet) as (_, port), connected(port) as (reader, writer):
        for _ in range(2):
            writer.write(REQUEST[:10])
            await writer.drain()
            writer.write(REQUEST[10:])
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_small_pieces_do_not_wait_for_each_other(
    tls: tuple[ssl.SSLContext | None, ssl.SSLContext | None],
) -> None:
    """What is written is sent, acknowledged or not: tokens come one by one."""
    ours, theirs = tls
    async with serving(greet, tls=ours) as (server, port), connected(port, tls=theirs) as (reader, writer):
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


async def test_a_client_that_does_not_read_is_cut(tls: tuple[ssl.SSLContext | None, ssl.SSLContext | None]) -> None:
    """A full send buffer frees its answer after a while; the application sees a hang-up."""
    (ours, theirs), app = tls, Pouring()
    async with (
        serving(app, patience=Patience(read_within_s=0.1), tls=ours) as (server, port),
        connected(port, tls=theirs) as (_, writer),
    ):
        writer.write(REQUEST)
        await app.hung_up.wait()
        assert not server._server.server_state.connections


async def test_connections_beyond_the_bound_are_closed() -> None:
    """While those before them are being answered they get no answer; afterwards there is room."""
    app = Held()
    async with (
        serving(app, patience=Patience(connections=1)) as (_, port),
        connected(port) as (reader, writer),
    ):
        writer.write(REQUEST)
        await app.begun.wait()
        assert not await _answers(port)
        app.go_on.set()
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
    app = Held()
    async with serving(app) as (server, port), connected(port) as (reader, writer), connected(port) as (idle, _):
        writer.write(REQUEST)
        await app.begun.wait()
        server.stop()
        assert await idle.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        app.go_on.set()
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
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
