"""The door: a plain TCP port where pairing and enrolment happen, and nothing else (decision 5 of docs/protocol.md).

Eight connections, ten seconds each until the other side has proven something, 4 KiB a message.  What is slow, half
open or noise is cut; a stranger costs a socket for ten seconds and nothing that stays.
"""

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from mesh import ports
from mesh.addresses import host_of
from mesh.core.door_messages import DoorReader, DoorType, parse_message
from mesh.counters import Counted, Counters
from mesh.errors import LinkDownError, MeshError, PeerMisbehavedError
from mesh.reach import reason

log = logging.getLogger(__name__)

PORT_KEY: Final = "[door] port"
MAX_CONNECTIONS: Final = 8
MAX_PER_SOURCE: Final = 4  # so that one host cannot hold every place
PATIENCE_S: Final = 10.0
CONNECT_S: Final = 3.0
CLOSE_S: Final = 1.0
ACCEPTING_TURNS: Final = 2  # of the loop, from a connection's arrival to its conversation
READ_BYTES: Final = 4096
BACKLOG: Final = 16


class Conversation:
    """One connection at a door, from either side: messages in, messages out, until a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._messages = DoorReader()
        self._waiting: list[bytes] = []
        self._deadline: asyncio.Timeout | None = None
        self.source = host_of(writer.get_extra_info("peername") or ("",))

    @classmethod
    async def open(cls, address: str, port: int) -> Self:
        """Knock at a door.  Errors: LinkDownError."""
        try:
            async with asyncio.timeout(CONNECT_S):
                return cls(*await asyncio.open_connection(address, port, limit=2 * READ_BYTES))
        except (OSError, TimeoutError) as error:
            raise LinkDownError(f"nobody opens at {address} port {port}: {reason(error)}") from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection; the other side may be gone already, or read nothing of what is still to be sent."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            log.debug("a conversation with %s was cut short", self.source)
        finally:
            self._writer.transport.abort()

    def end_by(self, deadline: asyncio.Timeout) -> None:
        """Be ended by a deadline that `take_time` moves."""
        self._deadline = deadline

    def take_time(self, seconds: float) -> None:
        """Let the other side, which has proven something, take so long from now on."""
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    async def receive(self) -> tuple[DoorType, bytes]:
        """Return the next message.  Errors: PeerMisbehavedError, DoorRefusedError, LinkDownError at the end."""
        while not self._waiting:
            try:
                data = await self._reader.read(READ_BYTES)
            except OSError as error:
                raise LinkDownError("the connection broke") from error
            if not data:
                raise LinkDownError("the other side closed the connection")
            self._waiting.extend(self._messages.receive(data))
        return parse_message(self._waiting.pop(0))

    async def send(self, data: bytes) -> None:
        """Send what is already framed.  Errors: LinkDownError."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise LinkDownError("the connection broke") from error


class Door:
    """Listens for whoever knocks; `answer` holds the conversation, and may take `patience_s`, or more if it says so.

    bind_address: the one IPv4 address to listen on; None = every address of both families.  counters: where
    conversations are counted that broke the protocol or its bounds.
    """

    def __init__(
        self,
        port: int,
        answer: Callable[[Conversation], Awaitable[None]],
        *,
        bind_address: str | None = None,
        patience_s: float = PATIENCE_S,
        counters: Counters | None = None,
    ) -> None:
        self.port = port
        self._bind_address = bind_address
        self._patience_s = patience_s
        self._answer = answer
        self._counters = counters or Counters()
        self._sources: Counter[str] = Counter()
        self._talking: set[asyncio.Task[None]] = set()

    async def run(self, ready: asyncio.Event) -> None:
        """Listen until cancelled.  Errors: PortInUseError."""
        sockets = _sockets(self.port, self._bind_address)
        self.port = sockets[0].getsockname()[1]
        servers = [await asyncio.start_server(self._knocked, sock=sock, limit=2 * READ_BYTES) for sock in sockets]
        try:
            ready.set()
            await asyncio.Event().wait()
        finally:
            for sock in sockets:
                asyncio.get_running_loop().remove_reader(sock)
            for _ in range(ACCEPTING_TURNS):  # a server closed meanwhile would lose the socket
                await asyncio.sleep(0)
            for server in servers:
                server.close()
            for task in self._talking:
                task.cancel()
            await asyncio.gather(*self._talking, return_exceptions=True)

    def _knocked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._talk(Conversation(reader, writer)), name="door conversation")
        self._talking.add(task)
        task.add_done_callback(self._talking.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # a task cancelled before it began closes nothing

    async def _talk(self, conversation: Conversation) -> None:
        source = conversation.source
        if self._sources.total() >= MAX_CONNECTIONS or self._sources[source] >= MAX_PER_SOURCE:
            self._counters.count(Counted.HUNG_UP_AT_DOOR)
            async with conversation:
                return
        self._sources[source] += 1
        try:
            async with conversation, asyncio.timeout(self._patience_s) as deadline:
                conversation.end_by(deadline)
                await self._answer(conversation)
        except PeerMisbehavedError as error:
            self._counters.count(Counted.HUNG_UP_AT_DOOR)
            log.info("hung up on %s at the door: %s", source, error)
        except TimeoutError:
            self._counters.count(Counted.HUNG_UP_AT_DOOR)
            log.debug("a conversation with %s at the door took too long", source)
        except MeshError as error:
            log.debug("a conversation with %s at the door ended: %s", source, error)
        finally:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]


def _sockets(port: int, bind_address: str | None) -> list[socket.socket]:
    """Listen on one port of an address, or of every address; 0 = a free one."""
    listening: list[socket.socket] = []
    everywhere = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))  # noqa: S104  a door is for others
    for family, address in ((socket.AF_INET, bind_address),) if bind_address else everywhere:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # no IPv6 on this machine
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            if family == socket.AF_INET6 and error.errno != errno.EADDRINUSE:
                continue
            for other in listening:
                other.close()
            raise ports.port_in_use(port, key=PORT_KEY) from error
        port = sock.getsockname()[1]
        listening.append(sock)
    return listening
