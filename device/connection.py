"""One daemon at its socket: requests out, lines and errors back; what is asked stands in device.client."""

import asyncio
import json
import shlex
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from device.errors import (
    AnswerBrokenOffError,
    DaemonTimeoutError,
    DaemonUnreachableError,
    DeviceError,
    RequestRefusedError,
    UnexpectedReplyError,
)
from device.parsing import MalformedReplyError, one_line, parse
from device.socket_http import ConnectError, NotHttpError, Reply, Upload, request

T = TypeVar("T")

CONNECT_WITHIN_S = 3.0
REPLY_WITHIN_S = 15.0  # a daemon on a small board that is busy computing
DONE = "done"  # the last stage of a stream
HTTP_OK = 200  # the status of a stream that fails later on


class Connection:
    """One daemon, reached by its socket; each call is a connection of its own, so nothing needs closing."""

    def __init__(
        self, socket_path: Path, *, reply_within_s: float = REPLY_WITHIN_S, data_dir: Path | None = None
    ) -> None:
        """data_dir: as the person named it, if so: a hint how to start the daemon names it too."""
        self.socket_path = socket_path
        self._data_dir = data_dir
        self._reply_within_s = reply_within_s

    async def _call(self, method: str, path: str, body: object = None, *, within_s: float | None = None) -> object:
        with translated(self.socket_path, self._data_dir):
            async with asyncio.timeout(within_s or self._reply_within_s), self._request(method, path, body) as reply:
                text = await reply.body()
        return decode(text) if text else {}

    @asynccontextmanager
    async def _stream(self, method: str, path: str, body: object) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a reply that may take long: a prompt, too, is read for minutes on a small board."""
        with translated(self.socket_path, self._data_dir):
            async with self._request(method, path, body) as reply:
                yield reply.lines()

    @asynccontextmanager
    async def _request(self, method: str, path: str, body: object) -> AsyncIterator[Reply]:
        sent = body if isinstance(body, Upload) else _encode(body)
        async with request(self.socket_path, method, path, sent, connect_within_s=CONNECT_WITHIN_S) as reply:
            if reply.is_error:
                raise refusal(decode(await reply.body()), reply.status)
            yield reply

    async def _events(self, method: str, path: str, body: object, *, what: str) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the objects of a stream, whose last one has the stage "done"; an error in it is raised.

        Raises AnswerBrokenOffError, which names `what` broke off, where none comes.
        """
        async with self._stream(method, path, body) as lines:
            async for line in lines:
                fields = decode(line)
                if "error" in fields:
                    raise refusal(fields)
                yield fields
                if fields.get("stage") == DONE:
                    return
        raise AnswerBrokenOffError(f"{what} broke off")

    @staticmethod
    def _parse(kind: type[T], value: object) -> T:
        try:
            return parse(kind, value)
        except MalformedReplyError as error:
            raise UnexpectedReplyError(f"the daemon's answer does not fit: {error}") from error


@contextmanager
def translated(socket_path: Path, data_dir: Path | None) -> Iterator[None]:
    """Turn the connection's errors into ours."""
    try:
        yield
    except ConnectError as error:
        raise _unreachable(socket_path, data_dir, forbidden=error.forbidden) from error
    except NotHttpError as error:
        raise UnexpectedReplyError(f"what listens at {socket_path} does not speak as a daemon does: {error}") from error
    except TimeoutError as error:
        raise DaemonTimeoutError("the daemon does not answer in time") from error
    except (OSError, EOFError) as error:
        raise AnswerBrokenOffError("the connection to the daemon broke off") from error


def _unreachable(socket_path: Path, data_dir: Path | None = None, *, forbidden: bool) -> DaemonUnreachableError:
    if not forbidden:
        error = DaemonUnreachableError(f"Hearthmesh is not running here (nobody listens at {socket_path})")
        if data_dir is not None:
            error.hint = f"start it: hearth serve --data {shlex.quote(str(data_dir))}"
        return error
    error = DaemonUnreachableError(f"this user may not open {socket_path}")
    error.hint = "run it as the user who runs the daemon, or join that user's group"
    return error


def _encode(body: object) -> bytes | None:
    """JSON of a request; what is no text (a broken byte of a command line) becomes a question mark."""
    return None if body is None else json.dumps(body, ensure_ascii=False).encode(errors="replace")


def decode(text: bytes) -> dict[str, Any]:
    """Read a JSON object.  Raises UnexpectedReplyError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnexpectedReplyError("the daemon's answer is no JSON") from error
    if not isinstance(value, dict):
        raise UnexpectedReplyError("the daemon's answer is no JSON object")
    return value


def refusal(fields: dict[str, Any], status: int = HTTP_OK) -> DeviceError:
    """The error that an error object describes."""
    error = fields.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return UnexpectedReplyError(f"the daemon refused with status {status} and no reason")
    hint, code, param = error.get("hint"), error.get("code"), error.get("param")
    return RequestRefusedError(
        one_line(error["message"]),
        hint=one_line(hint) if isinstance(hint, str) and hint else DeviceError.hint,
        code=one_line(code) if isinstance(code, str) else "",
        status=status,
        param=one_line(param) if isinstance(param, str) else "",
    )


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="") or "-"
