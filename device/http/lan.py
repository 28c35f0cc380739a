"""The API on the addresses of this node's networks, while it is open: each its own socket, as addresses come and go."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp

from device.http.server import HttpServer, Patience
from mesh.addresses import near_ones
from mesh.interfaces import Interface, choose, survey
from mesh.netlink import network_news

# A phone has one or two connections; a browser six at most.
PATIENCE: Final = Patience(per_source=16)
POLL_S: Final = 30.0  # the kernel tells of most changes at once, but not everywhere of all
LOOPBACK: Final = "127.0.0.1"  # has a door of its own

log = logging.getLogger(__name__)


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
        self._port = 0
        self._interfaces = interfaces
        self._grace_s = grace_s
        self._poll_s = poll_s
        self._look = look
        self._news = asyncio.Event()
        self._servers: dict[str, HttpServer] = {}
        self._open = self._stopping = False
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is to be reached at all."""
        return self._open

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens now."""
        return tuple(self._servers)

    def open(self) -> None:
        """Listen from now on, or as soon as it runs."""
        self._open = not self._stopping
        self._follow()

    def close(self) -> None:
        """Listen no more; answers that run may end."""
        self._open = False
        self._follow()

    def look_again(self) -> None:
        """The network has changed."""
        self._news.set()

    async def run(self, app: ASGIApp, port: int) -> None:
        """Serve `app` on that port and follow the addresses until `stop`."""
        self._app, self._port = app, port
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
        wanted = self._wanted() if self._open else ()
        for address in self._servers.keys() - {*wanted}:
            self._servers.pop(address).stop()
        for address in wanted:
            if address not in self._servers and (listener := self._listener(address)) is not None:
                server = self._servers[address] = HttpServer(
                    self._app, listener, grace_s=self._grace_s, patience=PATIENCE
                )
                self._tasks.create_task(server.run(), name=f"http {address}")
                log.info("the API listens on %s port %d", address, self._port)

    def _wanted(self) -> tuple[str, ...]:
        """Private addresses alone: what stands in the internet itself is no place for guests."""
        near = near_ones(choose(self._look(), self._interfaces))
        return tuple(one for one in near if one != LOOPBACK and not one.startswith("fe80:"))

    def _listener(self, address: str) -> socket.socket | None:
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, self._port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            log.warning("the API cannot listen on %s port %d: %s", address, self._port, error.strerror)
            return None
        return listener
