"""The API on the addresses of this node's networks, while it is open: each its own socket, as addresses come and go.

Where TLS is wanted, each address has a second one, with the same application.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp

from device.http.server import HttpServer, Patience
from mesh.addresses import near_ones
from mesh.interfaces import Interface, choose, survey
from mesh.netlink import network_news

# A phone has one or two connections; a browser six at most.
PATIENCE: Final = Patience(per_source=16)
TLS_PATIENCE: Final = Patience(connections=64, per_source=8)  # asyncio keeps 256 kB for each
POLL_S: Final = 30.0  # the kernel tells of most changes at once, but not everywhere of all
LOOPBACK: Final = "127.0.0.1"  # has a door of its own

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Port:
    """A port to listen on at every address; with `tls` over TLS."""

    number: int
    tls: ssl.SSLContext | None = None


class LanServer:
    """Serves an application on every private address of the wanted interfaces, while it is open."""

    def __init__(
        self,
        *,
        interfaces: tuple[str, ...],
        grace_s: float,
        poll_s: float = POLL_S,
        look: Callable[[], tuple[Interface, ...]] = survey,
    ) -> None:
        self._app: ASGIApp | None = None
        self._ports: tuple[Port, ...] = ()
        self._interfaces = interfaces
        self._grace_s = grace_s
        self._poll_s = poll_s
        self._look = look
        self._news = asyncio.Event()
        self._servers: dict[tuple[str, Port], HttpServer] = {}
        self._open = self._stopping = False
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is to be reached at all."""
        return self._open

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens now."""
        return tuple(address for address, port in self._servers if port.tls is None)

    @property
    def tls_addresses(self) -> tuple[str, ...]:
        """Where it listens over TLS now."""
        return tuple(address for address, port in self._servers if port.tls)

    def open(self) -> None:
        """Listen from now on, or as soon as it runs."""
        self._open = not self._stopping
        self._follow()

    def close(self) -> None:
        """Listen no more; answers that run may end."""
        self._open = False
        self._follow()

    async def run(self, app: ASGIApp, *ports: Port) -> None:
        """Serve `app` on those ports and follow the addresses until `stop`."""
        self._app, self._ports = app, ports
        with network_news() as news:
            self._news = news
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                while not self._stopping:
                    self._follow()
                    await self._pause()
                self.close()

    def stop(self) -> None:
        """Accept nothing more; `run` returns once running answers have ended."""
        self._stopping = True
        self._news.set()

    async def _pause(self) -> None:
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_s if self._open else None):
                await self._news.wait()

    def _follow(self) -> None:
        if self._app is None or self._tasks is None:
            return
        wanted = [(one, port) for one in self._wanted() for port in self._ports] if self._open else []
        for place in self._servers.keys() - {*wanted}:
            self._servers.pop(place).stop()
        for address, port in wanted:
            if (address, port) not in self._servers and (listener := _listener(address, port.number)) is not None:
                patience, kind = (TLS_PATIENCE, "https") if port.tls else (PATIENCE, "http")
                server = self._servers[address, port] = HttpServer(
                    self._app, listener, grace_s=self._grace_s, patience=patience, tls=port.tls
                )
                self._tasks.create_task(server.run(), name=f"{kind} {address}")
                log.info("the API listens on %s port %d (%s)", address, port.number, kind)

    def _wanted(self) -> tuple[str, ...]:
        """Private addresses alone: what stands in the internet itself is no place for guests."""
        near = near_ones(choose(self._look(), self._interfaces))
        return tuple(one for one in near if one != LOOPBACK and not one.startswith("fe80:"))


def _listener(address: str, port: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        log.warning("the API cannot listen on %s port %d: %s", address, port, error.strerror)
        return None
    return listener
