"""HTTP over a unix socket: h11 speaks the protocol, asyncio moves the bytes.

One request a connection.  A general client would do, but takes longer to load than the answer takes: `hearth status`
takes 0.55 s with httpx and 0.2 s so, and far more of both on a small board.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import h11

READ_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 << 20
MAX_LINE_BYTES = 1 << 20
ERROR_STATUS = 400


class NotHttpError(Exception):
    """What came back is no HTTP reply, or longer than any that is expected."""


class ConnectError(Exception):
    """Nobody listens at the socket, or not for this user."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.forbidden = isinstance(reason, PermissionError)


class Reply:
    """A reply whose head is here and whose body is read from the connection as it comes."""

    def __init__(self, status: int, chunks: AsyncIterator[bytes]) -> None:
        self.status = status
        self._chunks = chunks

    @property
    def is_error(self) -> bool:
        """The status says that the request was not carried out."""
        return self.status >= ERROR_STATUS

    async def body(self) -> bytes:
        """The whole body.  EOFError if the connection ended before it did, NotHttpError beyond MAX_BODY_BYTES."""
        body = bytearray()
        async for chunk in self._chunks:
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise NotHttpError(f"a body of more than {MAX_BODY_BYTES} bytes")
        return bytes(body)

    async def lines(self) -> AsyncIterator[bytes]:
        """Lines as they arrive, without the line feeds; empty ones are left out."""
        held = b""
        async for chunk in self._chunks:
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line
            if len(held) > MAX_LINE_BYTES:
                raise NotHttpError(f"a line of more than {MAX_LINE_BYTES} bytes")
        if held.strip():
            yield held


@contextlib.asynccontextmanager
async def request(
    socket_path: Path, method: str, path: str, body: bytes | None, *, connect_within_s: float
) -> AsyncIterator[Reply]:
    """Send one request and give its reply; leaving the context hangs up, which the other side notices.

    Raises ConnectError when nobody can be reached, NotHttpError, and OSError or EOFError when the connection ends.
    """
    try:
        async with asyncio.timeout(connect_within_s):
            reader, writer = await asyncio.open_unix_connection(socket_path)
    except OSError as error:  # TimeoutError is one too
        raise ConnectError(error) from error
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        writer.write(_request_bytes(connection, method, path, body))
        await writer.drain()
        event = await _next_event(connection, reader)
        while isinstance(event, h11.InformationalResponse):
            event = await _next_event(connection, reader)
        if not isinstance(event, h11.Response):
            raise NotHttpError("no HTTP reply")
        yield Reply(event.status_code, _chunks(connection, reader))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _request_bytes(connection: h11.Connection, method: str, path: str, body: bytes | None) -> bytes:
    headers = [("Host", "localhost"), ("Connection", "close")]
    if body is not None:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    events = [h11.Request(method=method, target=path, headers=headers), h11.Data(body or b""), h11.EndOfMessage()]
    return b"".join(connection.send(event) or b"" for event in events)


async def _chunks(connection: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while isinstance(event := await _next_event(connection, reader), h11.Data):
        yield bytes(event.data)


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    """Read until h11 has something to tell."""
    while True:
        try:
            event = connection.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = await reader.read(READ_BYTES)
            connection.receive_data(data)
            if not data and connection.their_state is h11.SEND_RESPONSE:
                raise EOFError("the connection ended before the reply")
        except h11.RemoteProtocolError as error:
            if reader.at_eof():
                raise EOFError("the connection ended in the middle of the reply") from error
            raise NotHttpError(str(error)) from error
