"""One listening socket served by uvicorn inside the daemon's loop; the only module that knows uvicorn.

What is different from a bare uvicorn: it leaves the signals alone, has no timer while nothing happens, and cuts
clients that send a request or read an answer too slowly.
"""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from device.core.tries import network_of

MAX_HEAD_BYTES: Final = 32 * 1024
KEEP_ALIVE_S: Final = 15
MAX_UNSENT_BYTES: Final = 64 * 1024  # asyncio's own bound for TCP; for TLS it has another


@dataclass(frozen=True, kw_only=True)
class Patience:
    """What clients may ask of a server."""

    connections: int = 256  # some 30 kB each where nothing comes
    per_source: int = 256  # of them from one address
    head_within_s: float = 10.0  # from the connection, or a request's first byte, to the end of its headers; TLS too
    read_within_s: float = 30.0  # how long a full send buffer may be left unread


DEFAULT_PATIENCE: Final = Patience()


class _Connection(H11Protocol):
    """An HTTP/1.1 connection with patience for honest clients only."""

    def __init__(self, *, patience: Patience, **uvicorns: Any) -> None:  # noqa: ANN401  passed through
        super().__init__(**uvicorns)
        self._patience = patience
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False
        self.made_at = self.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport) or not self.finds_room(transport):
            # Too many: closed without a word, before it costs anything.
            self._refused = True
            transport.close()
            return
        _send_at_once(transport)
        super().connection_made(transport)
        self._expect(self._patience.head_within_s)

    def finds_room(self, transport: asyncio.Transport) -> bool:
        """Where all connections are taken, one that asks nothing makes room: the oldest of the network with most."""
        source = _source(transport)
        others = [one for one in self.connections if isinstance(one, _Connection)]
        if sum(_source(one.transport) == source for one in others) >= self._patience.per_source:
            return False
        if len(others) < self._patience.connections:
            return True
        networks = {one: network_of(_source(one.transport)) for one in others}
        sizes = Counter(networks.values())
        idle = (one for one in others if not one.is_answering())
        leaves = min(idle, key=lambda one: (-sizes[networks[one]], one.made_at), default=None)
        if leaves is not None:
            self.connections.discard(leaves)
            leaves.cut()
        return leaves is not None

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self.is_answering():
            self._stop_expecting()
        elif self._deadline is None:
            self._expect(self._patience.head_within_s)

    def on_response_complete(self) -> None:
        self._stop_expecting()  # from here on uvicorn's own keep-alive timer runs
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect(self._patience.read_within_s)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_expecting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_expecting()
        if not self._refused:
            super().connection_lost(exc)

    def is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect(self, within_s: float) -> None:
        self._stop_expecting()
        self._deadline = self.loop.call_later(within_s, self.cut)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def cut(self) -> None:
        self.transport.abort()


class _Handshake(asyncio.Protocol):
    """What comes before a connection over TLS: it takes that one's place, and is cut where no handshake comes.

    uvicorn's own TLS would count connections from their handshake on only, and wait a minute for it.
    """

    def __init__(self, *, tls: ssl.SSLContext, patience: Patience, **uvicorns: Any) -> None:  # noqa: ANN401  passed through
        self._tls = tls
        self._patience = patience
        self._connection = _Connection(patience=patience, **uvicorns)
        self._early = b""  # what came in the same flight as the end of the handshake
        self._lost = self._done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = self._connection
        if not isinstance(transport, asyncio.Transport) or not connection.finds_room(transport):
            transport.close()
            return
        connection.transport = transport  # so that whoever looks at it sees its source, and can end it
        connection.connections.add(connection)
        transport.pause_reading()  # until TLS begins: what is said before it is never taken for what came sealed
        self._task = asyncio.get_running_loop().create_task(self._shake(transport), name="TLS handshake")

    async def _shake(self, transport: asyncio.Transport) -> None:
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                self._tls,
                server_side=True,
                ssl_handshake_timeout=self._patience.head_within_s,
                ssl_shutdown_timeout=self._patience.read_within_s,
            )
        except OSError:  # no TLS, none that is wanted here, or none in time
            secured = None
        finally:
            self._connection.connections.discard(self._connection)
        if secured is None or self._lost:
            transport.abort()
            return
        self._done = True
        secured.set_write_buffer_limits(MAX_UNSENT_BYTES)
        secured.set_protocol(self._connection)
        self._connection.connection_made(secured)
        if self._early:
            self._connection.data_received(self._early)

    def data_received(self, data: bytes) -> None:
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._done:  # it was on its way here when the connection was handed over
            self._connection.connection_lost(exc)


def _source(transport: asyncio.BaseTransport) -> str:
    """The address of the other end; "" on a unix socket."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _send_at_once(transport: asyncio.Transport) -> None:
    """Let no small piece of an answer wait until the client has acknowledged the one before.

    asyncio would do so, but takes a connection accepted by a socket of unnamed protocol for no TCP: each answer's
    body came 40 ms after its headers.
    """
    accepted = transport.get_extra_info("socket")
    if accepted.family != socket.AF_UNIX:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Server(uvicorn.Server):
    """uvicorn's server, stopped by an event instead of a flag that is looked at ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopped = asyncio.Event()

    async def main_loop(self) -> None:
        await self.stopped.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves `app` on `listener` until `stop`, with `tls` over TLS; answers that run then have `grace_s` to end."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        grace_s: float,
        patience: Patience = DEFAULT_PATIENCE,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listener = listener
        connection = (
            functools.partial(_Handshake, tls=tls, patience=patience)
            if tls
            else functools.partial(_Connection, patience=patience)
        )
        config = uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", connection),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(grace_s)),
        )
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until `stop`, or until cancelled: then connections are cut.  The socket is closed at the end."""
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
            for server in getattr(self._server, "servers", ()):  # none before it has started
                server.close()  # or the loop would go on watching a number that the next socket gets
            self._listener.close()

    def stop(self) -> None:
        """Accept nothing more; `run` returns once running answers have ended."""
        self._server.stopped.set()
