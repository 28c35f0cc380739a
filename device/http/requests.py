"""Reading a request within bounds, and work that ends when its client hangs up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from device.errors import RequestTooLargeError, RequestTooSlowError

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_DISCARDED_BYTES: Final = 16 * MAX_BODY_BYTES
BODY_WITHIN_S: Final = 15.0

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
        await _end(working, watching)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it a second time
