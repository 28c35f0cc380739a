"""Reading a request within bounds, and work that ends when its client hangs up."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from device.errors import BadRequestError, RequestTooLargeError, RequestTooSlowError

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_DISCARDED_BYTES: Final = 16 * MAX_BODY_BYTES
BODY_WITHIN_S: Final = 15.0
MAX_HELD: Final = 8  # pieces of a long body; uvicorn gives 64 KiB of it at most
MAX_TEXT_CHARACTERS: Final = 512

T = TypeVar("T")


async def read_body(request: Request, *, max_bytes: int = MAX_BODY_BYTES, within_s: float = BODY_WITHIN_S) -> bytes:
    """Read a body of at most `max_bytes`.

    What is larger is read on for a while and thrown away, so that the client hears why it was refused.
    Raises RequestTooLargeError, RequestTooSlowError, ClientDisconnect.
    """
    body = bytearray()
    size = 0
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= max_bytes:
                    body += chunk
                else:
                    body.clear()
                if size > MAX_DISCARDED_BYTES:
                    break
    except TimeoutError as error:
        raise RequestTooSlowError(f"the body did not arrive within {within_s:.0f} s") from error
    if size > max_bytes:
        raise RequestTooLargeError(f"the body is larger than {max_bytes} bytes")
    return bytes(body)


class RequestBody:
    """A body of any length, of which MAX_HELD pieces are held: `pump` brings them, `pieces` gives them away."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._held: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_HELD)
        self._discarding = False

    async def pump(self) -> None:
        """Bring the pieces, then watch the connection; return when the client hangs up."""
        while (message := await self._receive())["type"] != "http.disconnect":
            if not self._discarding:
                await self._held.put(message.get("body", b""))
            if not message.get("more_body", False):
                await self._held.put(None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the pieces in order, to the end of the body."""
        while (piece := await self._held.get()) is not None:
            yield piece

    def discard(self) -> None:
        """Throw away what is here and what comes from now on."""
        self._discarding = True
        while not self._held.empty():
            self._held.get_nowait()


def text_of(fields: Mapping[str, object], key: str) -> str:
    """Give a short text of a request.  Raises BadRequestError."""
    value = fields.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_CHARACTERS:
        raise BadRequestError(f"{key}: a text of 1 to {MAX_TEXT_CHARACTERS} characters", param=key)
    return value


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end; when the client hangs up first, cancel it, wait for it, and raise ClientDisconnect."""
    working = asyncio.create_task(work, name="answer")
    watching = asyncio.create_task(_hang_up(receive), name="hang-up watch")
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        await end_tasks(working, watching)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them; how they end is nobody's business any more."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it a second time
