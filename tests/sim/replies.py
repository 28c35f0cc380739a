"""The form of what the simulated daemon answers."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Json = dict[str, Any]
Reply = Callable[[Request, Json], Awaitable[Response]]


def refused(status: int, message: str, *, code: str, hint: str, param: str | None = None) -> Response:
    """A refusal, with what to do about it."""
    kind = "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": param, "code": code, "hint": hint}}
    return JSONResponse(body, status_code=status)
