"""One file over HTTP, going on where an earlier try stopped.

The part file only ever grows by bytes that follow those in it; what a server or a captive portal sends instead
of the file never replaces it.  Whether the whole is the right file is for the caller to check, by hash.
"""

import asyncio
import importlib
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import urlsplit

from models.errors import FetchError
from models.files import writing

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S: Final = 15.0
SILENCE_TIMEOUT_S: Final = 30.0
MAX_REDIRECTS: Final = 5
MAX_BREAKS: Final = 20  # of the connection, as long as each brought something
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})", re.ASCII)
_UNSATISFIED: Final = re.compile(r"bytes \*/(\d{1,15})", re.ASCII)

Room = Callable[[int], None]
"""Called before the first byte is written with the number of bytes to come; raises if they do not fit."""

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the total, 0 while it is unknown."""


async def download(url: str, part: Path, *, limit_bytes: int, room: Room, progress: Progress) -> None:
    """Bring `part` to its full length; several tries while bytes keep arriving.

    Raises FetchError (what arrived is kept), NotEnoughSpaceError (through `room`), DiskFullError, StoreWriteError.
    """
    await asyncio.to_thread(importlib.import_module, "httpx")  # half a second on a small board: not in the loop
    import httpx  # noqa: PLC0415  the daemon stays light until something is fetched

    context = await asyncio.to_thread(ssl.create_default_context)  # the system's CAs, or SSL_CERT_FILE's
    timeout = httpx.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    async with httpx.AsyncClient(
        verify=context, timeout=timeout, follow_redirects=True, max_redirects=MAX_REDIRECTS
    ) as client:
        breaks = 0
        while True:
            before = _size(part)
            try:
                return await _receive(client, url, part, limit_bytes=limit_bytes, room=room, progress=progress)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                breaks += 1
                if breaks > MAX_BREAKS or _size(part) == before:
                    reason = str(error) or type(error).__name__
                    raise FetchError(f"{_host(url)}: {reason}; {_size(part)} bytes are kept") from error


async def _receive(
    client: "httpx.AsyncClient", url: str, part: Path, *, limit_bytes: int, room: Room, progress: Progress
) -> None:
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    async with client.stream("GET", url, headers=headers) as response:
        if have and response.status_code == 416:  # noqa: PLR2004  range not satisfiable: there is nothing after `have`
            _require_whole(response, part, have)
            return
        start, total = _span(response, have)
        if total > limit_bytes:
            raise FetchError(f"{_host(url)} offers {total} bytes, at most {limit_bytes} were expected")
        room(max(total, start) - start)
        with writing(part):
            file = part.open("r+b" if start else "wb")
        with file:
            file.seek(start)
            async for chunk in response.aiter_raw():
                start += len(chunk)
                if start > limit_bytes:
                    raise FetchError(f"{_host(url)} sends more than {limit_bytes} bytes")
                await asyncio.to_thread(_append, file, chunk, part)
                progress(start, total)


def _span(response: "httpx.Response", have: int) -> tuple[int, int]:
    """Where the body begins in the file, and the file's length (0 = unknown).  Raises FetchError."""
    host = response.url.host
    if response.status_code not in (200, 206):
        raise FetchError(f"{host} answered {response.status_code} {response.reason_phrase}; {have} bytes are kept")
    if response.headers.get("content-type", "").startswith("text/html"):
        raise FetchError(f"{host} sent a web page instead of the file: does this network want a login?")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchError(f"{host} sent the file encoded though asked not to")
    if response.status_code == 206:  # noqa: PLR2004  partial content
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if found is None or int(found[1]) != have or not have:
            raise FetchError(f"{host} sent another part of the file than asked for; {have} bytes are kept")
        return have, int(found[2])
    length = response.headers.get("content-length", "")
    total = int(length) if re.fullmatch(r"\d{1,15}", length, re.ASCII) else 0
    if 0 < total < have:
        raise FetchError(f"{host} sent {total} bytes where {have} have been seen; they are kept")
    return 0, total  # the server ignored the range: from the beginning


def _require_whole(response: "httpx.Response", part: Path, have: int) -> None:
    """Accept "nothing follows" if the part is as long as the file; a longer one is worthless."""
    found = _UNSATISFIED.fullmatch(response.headers.get("content-range", ""))
    if found is None or int(found[1]) != have:
        part.unlink(missing_ok=True)
        raise FetchError(f"{response.url.host} has a file of another length; the part here was removed")


def _append(file: BinaryIO, chunk: bytes, part: Path) -> None:
    with writing(part):
        file.write(chunk)
        file.flush()


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the server"
