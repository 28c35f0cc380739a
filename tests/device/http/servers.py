"""A server with an application of the test's own, over real sockets, and clients of it with and without TLS."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from device.http.server import HttpServer, Patience

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
WITHIN_S = 10.0


async def greet(_: Scope, receive: Receive, send: Send) -> None:
    """Answer with one word."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


class Held:
    """An application that greets once it is let.  begun: somebody waits for it."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with one word, later."""
        self.begun.set()
        await self.go_on.wait()
        await greet(scope, receive, send)


class Pouring:
    """An application whose answer has no end.  hung_up: it has been told that its client is gone."""

    def __init__(self) -> None:
        self.hung_up = asyncio.Event()

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send as fast as the client takes it, until it is gone."""
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        pouring = asyncio.create_task(self._pour(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        pouring.cancel()
        self.hung_up.set()

    async def _pour(self, send: Send) -> None:
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})


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
    port: int, source: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, over TLS if the client speaks that; closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), ssl=tls)
    try:
        yield reader, writer
    finally:
        if tls:
            writer.transport.abort()  # a close would wait for the other side's
        else:
            writer.close()


def phone(*, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """What a browser speaks whose user went on after the warning."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    return context
