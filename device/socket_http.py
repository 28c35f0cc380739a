"""HTTP over a unix socket, as little as the owner's API needs: a general client loads longer than the answer takes.

HTTP/1.0 on purpose: one request a connection, and a reply of unknown length ends with the connection, so that
there is nothing to frame, pool or keep alive.  Source: RFC 1945.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 << 20
MAX_LINE_BYTES = 1 << 20
ERROR_STATUS = 400


class NotHttpError(Exception):
    """What came back is no HTTP reply, or longer than any that is expected."""


@dataclass(frozen=True)
class Reply:
    """A reply whose head is here and whose body is read from the connection."""

    status: int
    length: int | None
    reader: asyncio.StreamReader

    @property
    def is_error(self) -> bool:
        """The status says that the request was not carried out."""
        return self.status >= ERROR_STATUS

    async def body(self) -> bytes:
        """The whole body.  asyncio.IncompleteReadError if the connection ended before it did."""
        if self.length is not None:
            return await self.reader.readexactly(self.length)
        body = bytearray()
        while chunk := await self.reader.read(MAX_HEAD_BYTES):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise NotHttpError(f"a body of more than {MAX_BODY_BYTES} bytes")
        return bytes(body)

    async def lines(self) -> AsyncIterator[bytes]:
        """Lines as they arrive, without the line feeds; empty ones are left out."""
        held = b""
        while chunk := await self.reader.read(MAX_HEAD_BYTES):
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
            reader, writer = await asyncio.open_unix_connection(socket_path, limit=MAX_HEAD_BYTES)
    except OSError as error:  # TimeoutError is one too
        raise ConnectError(error) from error
    try:
        writer.write(_head(method, path, body) + (body or b""))
        await writer.drain()
        status, length = _parse_head(await reader.readuntil(b"\r\n\r\n"))
        yield Reply(status, length, reader)
    except asyncio.LimitOverrunError as error:
        raise NotHttpError(f"a head of more than {MAX_HEAD_BYTES} bytes") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class ConnectError(Exception):
    """Nobody listens at the socket, or not for this user."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.forbidden = isinstance(reason, PermissionError)


def _head(method: str, path: str, body: bytes | None) -> bytes:
    lines = [f"{method} {path} HTTP/1.0", "Host: localhost"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _parse_head(head: bytes) -> tuple[int, int | None]:
    """Status and the length of the body, None if it ends with the connection."""
    first, *fields = head.decode("latin-1").split("\r\n")
    match first.split(" ", 2):
        case [version, status, *_] if version.startswith("HTTP/1.") and status.isdecimal():
            code = int(status[:3])
        case _:
            raise NotHttpError("no HTTP status line")
    length = None
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "content-length":
            if not value.strip().isdecimal() or int(value[:20]) > MAX_BODY_BYTES:
                raise NotHttpError("a body of no sensible length")
            length = int(value)
        elif name.lower() == "transfer-encoding":
            raise NotHttpError("a chunked reply to HTTP/1.0")
    return code, length
