"""Reading a request within bounds, and work that ends when its client hangs up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from device.errors import ForbiddenError, RequestTooLargeError, RequestTooSlowError
from device.http.errors import error_response

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_DISCARDED_BYTES: Final = 16 * MAX_BODY_BYTES
BODY_WITHIN_S: Final = 15.0
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})

T = TypeVar("T")


class LoopbackOnly:
    """Lets only this machine through: no page of another origin, and no foreign name (DNS rebinding)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        app = self._app
        if headers.get("origin", f"http://{host}") != f"http://{host}":  # our own page says where it came from, too
            forbidden = ForbiddenError("a web page asked; this API is for programs on this machine")
            app = error_response(forbidden, path=scope["path"])
        elif _without_port(host) not in LOOPBACK_NAMES:
            app = error_response(ForbiddenError("the Host header names another machine"), path=scope["path"])
        await app(scope, receive, send)


async def read_body(request: Request, *, within_s: float = BODY_WITHIN_S) -> bytes:
    """Read a body of at most 1 MiB.

    What is larger is read on for a while and thrown away, so that the client hears why it was refused.
    Raises RequestTooLargeError, RequestTooSlowError, ClientDisconnect.
    """
    body = bytearray()
    size = 0
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= MAX_BODY_BYTES:
                    body += chunk
                else:
                    body.clear()
                if size > MAX_DISCARDED_BYTES:
                    break
    except TimeoutError as error:
        raise RequestTooSlowError(f"the body did not arrive within {within_s:.0f} s") from error
    if size > MAX_BODY_BYTES:
        raise RequestTooLargeError(f"the body is larger than {MAX_BODY_BYTES} bytes")
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


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
