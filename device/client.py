"""The typed client of the daemon: one method a thing to ask, frozen values back, every failure a DeviceError.

It speaks HTTP over the owner's unix socket, so whoever may open the socket is the owner and needs no key.
"""

import asyncio
import json
import shlex
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from device.answer_stream import AnswerStream, delayed
from device.api import (
    AnswerDelayed,
    Answerer,
    AnswerFinished,
    AnswerLoading,
    AnswerPart,
    AnswerPiece,
    AnswerQueued,
    ApiKey,
    CatalogueEntry,
    ChatMessage,
    Community,
    Diagnosis,
    Finding,
    GuestAccess,
    HeldModel,
    Joined,
    Keys,
    Member,
    Memory,
    Model,
    Models,
    Nearby,
    Neighbour,
    NewKey,
    Offer,
    Peers,
    PullProgress,
    Queue,
    Rekeyed,
    Sampling,
    Status,
)
from device.errors import (
    AnswerBrokenOffError,
    DaemonTimeoutError,
    DaemonUnreachableError,
    DeviceError,
    RequestRefusedError,
    UnexpectedReplyError,
)
from device.parsing import MalformedReplyError, one_line, parse
from device.socket_http import ConnectError, NotHttpError, Reply, request
from device.wording import (
    Pace,
    answered_by,
    count,
    delay,
    duration,
    fingerprint_lines,
    pull_figures,
    readiness,
    share,
    short_id,
    size,
    speed,
)

__all__ = [  # what a user interface needs, in one place
    "AnswerBrokenOffError",
    "AnswerDelayed",
    "AnswerFinished",
    "AnswerLoading",
    "AnswerPart",
    "AnswerPiece",
    "AnswerQueued",
    "Answerer",
    "ApiKey",
    "CatalogueEntry",
    "ChatMessage",
    "Community",
    "DaemonClient",
    "DaemonTimeoutError",
    "DaemonUnreachableError",
    "DeviceError",
    "Diagnosis",
    "Finding",
    "GuestAccess",
    "HeldModel",
    "Joined",
    "Keys",
    "Member",
    "Memory",
    "Model",
    "Models",
    "Nearby",
    "Neighbour",
    "NewKey",
    "Offer",
    "Pace",
    "Peers",
    "PullProgress",
    "Queue",
    "Rekeyed",
    "RequestRefusedError",
    "Sampling",
    "Status",
    "UnexpectedReplyError",
    "answered_by",
    "count",
    "delay",
    "duration",
    "fingerprint_lines",
    "pull_figures",
    "readiness",
    "share",
    "short_id",
    "size",
    "speed",
]

T = TypeVar("T")

CONNECT_WITHIN_S = 3.0
REPLY_WITHIN_S = 15.0  # a daemon on a small board that is busy computing
JOIN_WITHIN_S = 120.0  # Argon2 on a small board, then the search for the right door
DOCTOR_WITHIN_S = 60.0  # it knocks at ports that may not answer
HTTP_OK = 200  # the status of a stream that fails later on


class DaemonClient:
    """One daemon, reached by its socket; each call is a connection of its own, so nothing needs closing."""

    def __init__(
        self, socket_path: Path, *, reply_within_s: float = REPLY_WITHIN_S, data_dir: Path | None = None
    ) -> None:
        """data_dir: as the person named it, if so: a hint how to start the daemon names it too."""
        self.socket_path = socket_path
        self._data_dir = data_dir
        self._reply_within_s = reply_within_s

    async def status(self) -> Status:
        """This node now."""
        return self._parse(Status, await self._call("GET", "/api/status"))

    async def peers(self) -> Peers:
        """Neighbours, nodes nearby, members."""
        return self._parse(Peers, await self._call("GET", "/api/peers"))

    async def doctor(self) -> Diagnosis:
        """What keeps neighbours away, and what to do about it."""
        return self._parse(Diagnosis, await self._call("GET", "/api/doctor", within_s=DOCTOR_WITHIN_S))

    async def pair(self) -> Offer:
        """Open an offer to pair, or show the open one; a lone node founds a community by it."""
        return self._parse(Offer, await self._call("POST", "/api/pair", within_s=JOIN_WITHIN_S))

    async def close_offer(self) -> None:
        """Take the open offer back."""
        await self._call("DELETE", "/api/pair")

    async def join(self, words: str, *, at: str | None = None) -> Joined:
        """Take a neighbour's offer by its words or its QR text; `at` is HOST[:PORT] where discovery does not reach."""
        body = {"words": words} if at is None else {"words": words, "at": at}
        return self._parse(Joined, await self._call("POST", "/api/join", body, within_s=JOIN_WITHIN_S))

    async def leave(self) -> None:
        """Leave the community."""
        await self._call("POST", "/api/leave")

    async def rekey(self) -> Rekeyed:
        """Give the node a new identity; it restarts with it."""
        return self._parse(Rekeyed, await self._call("POST", "/api/rekey"))

    async def accept_board(self) -> None:
        """Let the node's identity be used on the board it is on now."""
        await self._call("POST", "/api/board")

    async def forget(self, node_id: str) -> None:
        """Undo the pairing with a node; an unambiguous beginning of its id is enough."""
        await self._call("DELETE", f"/api/peers/{_segment(node_id)}")

    async def block(self, node_id: str) -> None:
        """Cut a node off at once."""
        await self._call("POST", f"/api/peers/{_segment(node_id)}/block")

    async def unblock(self, node_id: str) -> None:
        """Let a blocked node in again."""
        await self._call("DELETE", f"/api/peers/{_segment(node_id)}/block")

    async def keys(self) -> Keys:
        """Every key that somebody may ask with."""
        return self._parse(Keys, await self._call("GET", "/api/keys"))

    async def add_key(
        self, name: str, *, scopes: Sequence[str] = ("ask",), per_minute: int = 0, per_day: int = 0
    ) -> NewKey:
        """Make a key; its secret is told this once.  per_minute, per_day: questions and tokens, 0 = no limit."""
        body = {"name": name, "scopes": list(scopes), "per_minute": per_minute, "per_day": per_day}
        return self._parse(NewKey, await self._call("POST", "/api/keys", body))

    async def remove_key(self, key: str) -> None:
        """Revoke a key by its name or id."""
        await self._call("DELETE", f"/api/keys/{_segment(key)}")

    async def guests(self) -> GuestAccess:
        """Who may ask over the network."""
        return self._parse(GuestAccess, await self._call("GET", "/api/guests"))

    async def open_guests(self, *, per_minute: int | None = None, per_day: int | None = None) -> GuestAccess:
        """Let guests ask over the network; what is None is left to the daemon."""
        body = {"per_minute": per_minute, "per_day": per_day}
        return self._parse(GuestAccess, await self._call("POST", "/api/guests", body))

    async def close_guests(self) -> GuestAccess:
        """Let no guest ask any more."""
        return self._parse(GuestAccess, await self._call("DELETE", "/api/guests"))

    async def models(self) -> Models:
        """The store and the catalogue."""
        return self._parse(Models, await self._call("GET", "/api/models"))

    async def model(self, name: str) -> Model:
        """One model of the store, by name or digest."""
        return self._parse(Model, await self._call("GET", f"/api/models/{_segment(name)}"))

    async def remove(self, name: str) -> None:
        """Remove a model from the store."""
        await self._call("DELETE", f"/api/models/{_segment(name)}")

    async def pull(self, name: str) -> AsyncGenerator[PullProgress | Model, None]:
        """Fetch a model of the catalogue; the last item is the model.

        Closing the iterator stops the pull; what arrived is kept for the next one.
        """
        async with self._stream("POST", "/api/models/pull", {"name": name}) as lines:
            async for line in lines:
                fields = _decode(line)
                if "error" in fields:
                    raise _refusal(fields)
                if "model" in fields:
                    yield self._parse(Model, fields["model"])
                    return
                yield self._parse(PullProgress, fields)
        raise AnswerBrokenOffError(f"the pull of {name} broke off")

    async def ask(
        self,
        messages: Sequence[ChatMessage],
        *,
        model: str = "default",
        node: str = "auto",
        sampling: Sampling | None = None,
    ) -> AsyncGenerator[AnswerPiece | AnswerFinished | AnswerDelayed, None]:
        """Ask a model; the last item is AnswerFinished.  Closing the iterator stops the answer wherever it is made.

        While the question waits for its turn or its model, that is told as often as it changes.
        """
        options = {key: value for key, value in vars(sampling or Sampling()).items() if value is not None}
        body = {
            "model": model,
            "messages": [vars(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "hearthmesh": {"node": node},
            **options,
        }
        async with self._stream("POST", "/v1/chat/completions", body) as lines:
            answer = AnswerStream()
            async for line in lines:
                if (why := delayed(line)) is not None:
                    yield why
                if not line.startswith(b"data:"):
                    continue
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    break
                fields = _decode(data)
                if "error" in fields:
                    raise _refusal(fields)
                if piece := answer.feed(fields):
                    yield piece
        yield answer.finish()

    async def _call(self, method: str, path: str, body: object = None, *, within_s: float | None = None) -> object:
        with _translated(self.socket_path, self._data_dir):
            async with asyncio.timeout(within_s or self._reply_within_s), self._request(method, path, body) as reply:
                text = await reply.body()
        return _decode(text) if text else {}

    @asynccontextmanager
    async def _stream(self, method: str, path: str, body: object) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a reply that may take long: a prompt, too, is read for minutes on a small board."""
        with _translated(self.socket_path, self._data_dir):
            async with self._request(method, path, body) as reply:
                yield reply.lines()

    @asynccontextmanager
    async def _request(self, method: str, path: str, body: object) -> AsyncIterator[Reply]:
        sent = _encode(body)
        async with request(self.socket_path, method, path, sent, connect_within_s=CONNECT_WITHIN_S) as reply:
            if reply.is_error:
                raise _refusal(_decode(await reply.body()), reply.status)
            yield reply

    @staticmethod
    def _parse(kind: type[T], value: object) -> T:
        try:
            return parse(kind, value)
        except MalformedReplyError as error:
            raise UnexpectedReplyError(f"the daemon's answer does not fit: {error}") from error


@contextmanager
def _translated(socket_path: Path, data_dir: Path | None) -> Iterator[None]:
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


def _decode(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnexpectedReplyError("the daemon's answer is no JSON") from error
    if not isinstance(value, dict):
        raise UnexpectedReplyError("the daemon's answer is no JSON object")
    return value


def _refusal(fields: dict[str, Any], status: int = HTTP_OK) -> DeviceError:
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


def _segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="") or "-"
