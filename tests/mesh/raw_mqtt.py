"""An MQTT client that says whatever a test wants, byte by byte."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from mesh.core.mqtt_packets import remaining_length


def text(value: str) -> bytes:
    """Encode a length-prefixed string."""
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(first: int, body: bytes = b"") -> bytes:
    """Frame a packet."""
    return bytes([first]) + remaining_length(len(body)) + body


def connect(client_id: str, *, flags: int = 0x02, keepalive: int = 60, rest: bytes = b"") -> bytes:
    """Build a CONNECT."""
    return packet(0x10, b"\x00\x04MQTT\x04" + bytes([flags]) + keepalive.to_bytes(2, "big") + text(client_id) + rest)


def publish(topic: str, payload: bytes, *, identifier: int = 1, retain: bool = False) -> bytes:
    """Build a PUBLISH with QoS 1."""
    return packet(0x32 | retain, text(topic) + identifier.to_bytes(2, "big") + payload)


def subscribe(topic_filter: str) -> bytes:
    """Build a SUBSCRIBE."""
    return packet(0x82, b"\x00\x01" + text(topic_filter) + b"\x01")


PING = packet(0xC0)
DISCONNECT = packet(0xE0)


class RawClient:
    """A TLS connection to a broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def say(self, *packets: bytes) -> None:
        """Send packets; a connection that is gone already is no error."""
        with contextlib.suppress(OSError):
            for each in packets:
                self.writer.write(each)
            await self.writer.drain()

    async def hear(self) -> tuple[int, bytes]:
        """Read a packet; its type is 0 when the connection has ended."""
        try:
            first = (await self._reader.readexactly(1))[0]
            length, shift = 0, 0
            while True:
                digit = (await self._reader.readexactly(1))[0]
                length |= (digit & 0x7F) << shift
                shift += 7
                if digit < 0x80:
                    return first >> 4, await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return 0, b""

    async def closed(self, *, within_s: float = 5.0) -> bool:
        """Tell whether the broker ends the connection."""
        try:
            async with asyncio.timeout(within_s):
                while (await self.hear())[0]:
                    pass
        except TimeoutError:
            return False
        return True


@contextlib.asynccontextmanager
async def raw_client(port: int, tls: ssl.SSLContext) -> AsyncIterator[RawClient]:
    """Open a connection while the block runs."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="")
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
