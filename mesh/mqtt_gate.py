"""The gate in front of the built-in broker: TLS, one connection for each certified client, and every bound.

The broker behind it sees only well-formed packets of clients it knows, each under its certificate's name, and no more
of them at once than it has room for.
"""

import asyncio
import gc
import logging
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from mesh.allowance import Allowance
from mesh.core import mqtt_packets
from mesh.core.mqtt_packets import PacketType
from mesh.core.topic_policy import CommonName
from mesh.errors import MalformedError

log = logging.getLogger(__name__)

ENTERING = 64  # clients in the TLS handshake or before their CONNECT; one more, and the oldest is dropped
ENTER_S = 5.0
LEAVE_S = 5.0
SILENCE_MS = 10_000  # TCP_USER_TIMEOUT
DEFAULT_KEEPALIVE_S = 60  # of a client that promises none
KEEPALIVE_GRACE = 1.5  # MQTT 3.1.1, 3.1.2.10
READ_BYTES = 64 * 1024
MAX_WAITING_MESSAGES = 16  # of one client, taken from the socket and not yet by the broker
MAX_WAITING_BYTES = 2 * 1024 * 1024
OUT_OF_FILES_S = 1.0
ACCEPTED_PER_S = 100.0  # connections, and as many at once: TLS handshakes of strangers leave time for members' messages
SWEPT_AFTER = 64  # clients that did not get in: each leaves a quarter of a megabyte in cycles of asyncio's TLS


class GatedConnection:
    """One client's connection, read packet by packet; has the read methods the broker asks of a reader."""

    def __init__(self, name: CommonName, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self.writer = writer
        self.ended = asyncio.Event()
        self._reader = reader
        self._rest = memoryview(b"")
        self._silence_s = ENTER_S
        self._waiting: deque[int] = deque()
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._closed = False

    async def connect(self) -> None:
        """Read the client's CONNECT and put one under its certificate's name in its place.

        Raises MalformedError, OSError, TimeoutError.
        """
        kind, _, body = await self._packet()
        if kind is not PacketType.CONNECT:
            raise MalformedError(f"{kind.name} before CONNECT")
        connect = mqtt_packets.parse_connect(body)
        self._silence_s = KEEPALIVE_GRACE * (connect.keepalive_s or DEFAULT_KEEPALIVE_S)
        self._rest = memoryview(mqtt_packets.connect_packet(str(self.name)))

    async def read(self, n: int = -1) -> bytes:
        """Give the broker up to n bytes of the packet at hand, b"" once the connection is over."""
        while not self._rest and not self._closed:
            try:
                await self._next()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, MalformedError) as error:
                log.debug("%s left: %s", self.name, error or type(error).__name__)
                self.abort()
        piece, self._rest = (self._rest[:n], self._rest[n:]) if n >= 0 else (self._rest, memoryview(b""))
        return bytes(piece)

    def feed_eof(self) -> None:
        """End reading."""
        self.abort()

    def taken(self) -> None:
        """Note that the broker has taken the oldest waiting message."""
        if self._waiting:
            self._waiting_bytes -= self._waiting.popleft()
            self._room.set()

    def abort(self) -> None:
        """Cut the connection."""
        self._closed = True
        self._rest = memoryview(b"")
        self._room.set()
        self.writer.transport.abort()

    async def _next(self) -> None:
        kind, first, body = await self._packet()
        if kind is PacketType.CONNECT:
            raise MalformedError("a second CONNECT")
        if kind is PacketType.PUBLISH:
            mqtt_packets.check_publish(first, body)
            await self._wait_for_room()
            self._waiting.append(len(body))
            self._waiting_bytes += len(body)
        self._rest = memoryview(bytes([first]) + mqtt_packets.remaining_length(len(body)) + body)

    async def _wait_for_room(self) -> None:
        while len(self._waiting) >= MAX_WAITING_MESSAGES or self._waiting_bytes >= MAX_WAITING_BYTES:
            self._room.clear()
            await self._room.wait()
            if self._closed:
                raise ConnectionAbortedError("closed while its messages waited")

    async def _packet(self) -> tuple[PacketType, int, bytes]:
        first = (await self._exactly(1))[0]
        length = 0
        for position in range(mqtt_packets.MAX_REMAINING_LENGTH_BYTES):
            digit = (await self._exactly(1))[0]
            length |= (digit & 0x7F) << (7 * position)
            if digit < 0x80:  # noqa: PLR2004  the continuation bit
                break
        else:
            raise MalformedError("a length of more than four bytes")
        kind = mqtt_packets.packet_type(first, length)
        pieces = [await self._exactly(min(READ_BYTES, length - at)) for at in range(0, length, READ_BYTES)]
        return kind, first, b"".join(pieces)

    async def _exactly(self, count: int) -> bytes:
        async with asyncio.timeout(self._silence_s):
            return await self._reader.readexactly(count)


class Gate:
    """Lets certified clients in to `serve`, which returns when it is done with a connection."""

    def __init__(self, *, tls: ssl.SSLContext, serve: Callable[[GatedConnection], Awaitable[None]]) -> None:
        self._tls = tls
        self._serve = serve
        self._allowed: frozenset[CommonName] = frozenset()
        self._live: dict[CommonName, GatedConnection] = {}
        self._entering: dict[asyncio.Task[None], None] = {}  # oldest first
        self._turned_away = 0  # since the last sweep
        self._accepting = Allowance(ACCEPTED_PER_S, ACCEPTED_PER_S)

    def allow(self, names: Collection[CommonName]) -> None:
        """Let exactly these in; whoever is in and is not named is out at once."""
        self._allowed = frozenset(names)
        for name, connection in list(self._live.items()):
            if name not in self._allowed:
                connection.abort()

    def connection(self, name: CommonName) -> GatedConnection | None:
        """Find a client's connection."""
        return self._live.get(name)

    async def run(self, listener: socket.socket) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as connections:
                while True:
                    if not self._accepting.take():
                        await asyncio.sleep(1 / ACCEPTED_PER_S)
                    try:
                        accepted, _ = await loop.sock_accept(listener)
                    except OSError as error:
                        log.warning("no connection can be accepted: %s", error)
                        await asyncio.sleep(OUT_OF_FILES_S)
                        continue
                    if len(self._entering) >= ENTERING:  # silent strangers must not keep members out
                        oldest = next(iter(self._entering))
                        oldest.cancel()
                        self._entering.pop(oldest)
                    self._entering[connections.create_task(self._handle(accepted))] = None
        finally:
            for connection in list(self._live.values()):
                connection.abort()

    async def _handle(self, accepted: socket.socket) -> None:
        task = asyncio.current_task()
        try:
            connection = await self._enter(accepted)
        except asyncio.CancelledError:
            self._sweep()
            raise
        finally:
            if task is not None:
                self._entering.pop(task, None)
        if connection is None:
            self._sweep()
            return
        try:
            await self._serve(connection)
        except Exception as error:  # noqa: BLE001  the broker behind is foreign code; one client must not end the others
            log.warning("the connection of %s failed: %r", connection.name, error)
        finally:
            connection.abort()
            if self._live.get(connection.name) is connection:
                del self._live[connection.name]
            connection.ended.set()

    def _sweep(self) -> None:
        """Free what strangers left, now and then: too few objects for the collector to come by itself soon."""
        self._turned_away += 1
        if self._turned_away >= SWEPT_AFTER:
            self._turned_away = 0
            gc.collect()

    async def _enter(self, accepted: socket.socket) -> GatedConnection | None:
        """Take a client through TLS and CONNECT; None when it is a stranger, or too slow."""
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._tls, ssl_handshake_timeout=ENTER_S, ssl_shutdown_timeout=1.0
            )
        except (OSError, TimeoutError) as error:
            log.debug("a stranger was turned away: %s", error)
            accepted.close()
            return None
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        name = _common_name(writer)
        if name is None or name not in self._allowed:
            log.info("a client named %s was turned away", name)
            transport.abort()
            return None
        connection = GatedConnection(name, reader, writer)
        try:
            await connection.connect()
            await self._replace(connection)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, MalformedError) as error:
            log.info("the connection of %s was refused: %s", name, error or type(error).__name__)
            connection.abort()
            return None
        except asyncio.CancelledError:
            connection.abort()
            raise
        return connection

    async def _replace(self, connection: GatedConnection) -> None:
        """Put a connection in its name's place, after the older one of that name has ended."""
        async with asyncio.timeout(LEAVE_S):
            while older := self._live.get(connection.name):
                older.abort()
                await older.ended.wait()
        if connection.name not in self._allowed:
            raise ConnectionAbortedError("it was removed meanwhile")
        self._live[connection.name] = connection


def server_context(*, ca_path: Path, certificate_path: Path, key_path: Path) -> ssl.SSLContext:
    """Build the TLS 1.3 context of a broker that lets in only clients with a certificate of its own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=ca_path)
    context.load_cert_chain(certificate_path, key_path)
    return context


def _common_name(writer: asyncio.StreamWriter) -> CommonName | None:
    certificate = writer.get_extra_info("peercert") or {}
    names = [value for pairs in certificate.get("subject", ()) for key, value in pairs if key == "commonName"]
    return CommonName.parse(names[0]) if len(names) == 1 else None
