"""HTTP over a unix socket: h11 speaks the protocol, asyncio moves the bytes.

One request a connection.  A general client would do, but takes longer to load than the answer takes: `hearth status`
takes 0.55 s with httpx and 0.2 s so, and far more of both on a small board.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Upload:
    """A body too large for memory: `size` bytes in all, in pieces, which are asked for as they can be sent."""

    size: int
    pieces: AsyncIterator[bytes]
    content_type: str = "application/x-tar"


class Reply:
    """A reply whose head is here and whose body is read from the connection as it comes.

    size: of the body, None where the head does not say.
    """

    def __init__(self, status: int, size: int | None, chunks: AsyncIterator[bytes]) -> None:
        self.status = status
        self.size = size
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

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives.  EOFError if the connection ended before it did."""
        return self._chunks

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
    socket_path: Path, method: str, path: str, body: bytes | Upload | None, *, connect_within_s: float
) -> AsyncIterator[Reply]:
    """Send one request and give its reply; leaving the context hangs up, which the other side notices.

    The reply may come while an upload is still being sent: both go on side by side.  Raises ConnectError when nobody
    can be reached, NotHttpError, and OSError or EOFError when the connection ends; what the pieces of an upload raise.
    """
    try:
        async with asyncio.timeout(connect_within_s):
            reader, writer = await asyncio.open_unix_connection(socket_path)
    except OSError as error:  # TimeoutError is one too
        raise ConnectError(error) from error
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    sending = asyncio.create_task(_send(connection, writer, method, path, body), name=f"sending {path}")
    try:
        yield await _reply(connection, reader)
    except (OSError, EOFError):
        failed = sending.exception() if sending.done() and not sending.cancelled() else None
        if failed is not None:
            raise failed from None  # it is why the connection ended
        raise
    finally:
        writer.close()  # before anything is waited for: whoever leaves may be in a hurry
        sending.cancel()
        await asyncio.wait((sending,))
        if not sending.cancelled():
            sending.exception()  # looked at: it matters only where it is why there is no reply
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, method: str, path: str, body: bytes | Upload | None
) -> None:
    """Send a request; hang up where its body cannot be had, so that nobody waits for the rest."""
    headers = [("Host", "localhost"), ("Connection", "close")]
    if isinstance(body, Upload):
        headers += [("Content-Type", body.content_type), ("Content-Length", str(body.size))]
    elif body is not None:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    try:
        writer.write(connection.send(h11.Request(method=method, target=path, headers=headers)) or b"")
        if isinstance(body, Upload):
            async for piece in body.pieces:
                writer.write(connection.send(h11.Data(piece)) or b"")
                await writer.drain()
        else:
            writer.write(connection.send(h11.Data(body or b"")) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
    except ConnectionError:
        pass  # whoever reads the reply learns why
    except BaseException:
        writer.transport.abort()
        raise


async def _reply(connection: h11.Connection, reader: asyncio.StreamReader) -> Reply:
    event = await _next_event(connection, reader)
    while isinstance(event, h11.InformationalResponse):
        event = await _next_event(connection, reader)
    if not isinstance(event, h11.Response):
        raise NotHttpError("no HTTP reply")
    sizes = [int(value) for name, value in event.headers if name == b"content-length"]  # h11 has looked at it
    return Reply(event.status_code, sizes[0] if sizes else None, _chunks(connection, reader))


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
