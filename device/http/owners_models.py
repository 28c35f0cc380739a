"""The owner's API for models: what is here, what comes and goes, and how it is cared for."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import asdict
from typing import Final, Generic, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from device.administration import Administration
from device.api_of_models import Model, Models, PullProgress, Removed, Verification
from device.body_source import BodySource
from device.core.json_fields import parse_object
from device.errors import DeviceError
from device.http.errors import error_fields
from device.http.requests import RequestBody, end_tasks, read_body, text_of, while_connected
from device.library import Library
from mesh.errors import MeshError
from models.errors import CorruptStoreError, ModelsError

MAX_LENGTH_DIGITS: Final = 15
LINGER_S: Final = 10.0  # for a client to hear why its bundle is not read any further

log = logging.getLogger(__name__)

T = TypeVar("T")
Step = PullProgress | Removed | Model | Verification


def owners_model_routes(administration: Administration) -> list[Route]:
    """What `hearth models` asks."""
    return [*_store_routes(administration), *_moving_routes(administration)]


def _store_routes(administration: Administration) -> list[Route]:
    library = administration.library

    async def models(_: Request) -> Response:
        found = Models(models=library.models(), arriving=library.arriving(), catalogue=library.catalogue())
        return JSONResponse(asdict(found))

    async def mesh_models(_: Request) -> Response:
        return JSONResponse(asdict(await administration.mesh_models()))

    async def model(request: Request) -> Response:
        return JSONResponse(asdict(library.model(request.path_params["name"])))

    async def remove(request: Request) -> Response:
        return JSONResponse(asdict(await library.remove(request.path_params["name"])))

    async def pin(request: Request) -> Response:
        pinned = request.method == "PUT"
        return JSONResponse(asdict(await library.pin(request.path_params["name"], pinned=pinned)))

    return [
        Route("/api/models", models, methods=["GET"]),
        Route("/api/mesh/models", mesh_models, methods=["GET"]),
        Route("/api/models/{name}", model, methods=["GET"]),
        Route("/api/models/{name}", remove, methods=["DELETE"]),
        Route("/api/models/{name}/pin", pin, methods=["PUT", "DELETE"]),
    ]


def _moving_routes(administration: Administration) -> list[Route]:
    library = administration.library

    async def pull(request: Request) -> "StepStream[Step]":
        fields = parse_object(await read_body(request))
        return StepStream(library.pull(text_of(fields, "name"), anyway=fields.get("anyway") is True), _fields)

    async def verify(request: Request) -> "StepStream[Step]":
        fields = parse_object(await read_body(request))
        return StepStream(library.verify(text_of(fields, "name") if fields.get("name") else ""), _fields)

    async def import_bundle(request: Request) -> "ImportStream":
        return ImportStream(library, _length(request), request.query_params.get("name", ""))

    async def export_bundle(request: Request) -> "ExportStream":
        size, pieces = await asyncio.to_thread(library.bundle, request.path_params["name"])
        return ExportStream(size, pieces)

    return [
        Route("/api/models/pull", pull, methods=["POST"]),
        Route("/api/models/verify", verify, methods=["POST"]),
        Route("/api/models/import", import_bundle, methods=["POST"]),
        Route("/api/models/{name}/bundle", export_bundle, methods=["GET"]),
    ]


class StepStream(Generic[T]):
    """One JSON object a line: stages, then the result or an error; ends the work when its client hangs up."""

    def __init__(self, steps: AsyncGenerator[T, None], fields: Callable[[T], dict[str, object]]) -> None:
        """fields: writes one of them as an object."""
        self._steps = steps
        self._fields = fields

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the lines."""
        with suppress(ClientDisconnect):
            await while_connected(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await _begin(send, b"application/x-ndjson")
        await _send_steps(send, self._steps, self._fields)
        await _end(send)


class ImportStream:
    """As a StepStream, while the bundle still comes; what nobody reads any more is thrown away for a while.

    So the client, which sends and listens at once, hears why; whoever hangs up leaves nothing behind.
    """

    def __init__(self, library: Library, size: int, name: str) -> None:
        self._library = library
        self._size = size
        self._name = name

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Read and send side by side."""
        body = RequestBody(receive)
        source = BodySource(body.pieces())
        coming = asyncio.create_task(body.pump(), name="body of a bundle")
        working = asyncio.create_task(self._work(send, body, source, coming), name="import")
        try:
            await asyncio.wait((coming, working), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            source.close()
            await end_tasks(coming, working)

    async def _work(self, send: Send, body: RequestBody, source: BodySource, coming: asyncio.Task[None]) -> None:
        await _begin(send, b"application/x-ndjson")
        steps = self._library.import_bundle(source, self._size, name=self._name)
        if not await _send_steps(send, steps, _fields):
            body.discard()
            await asyncio.wait((coming,), timeout=LINGER_S)
        await _end(send)


class ExportStream:
    """A bundle's bytes; cut off where a file of the model turns out to be damaged, so that no bundle is complete."""

    def __init__(self, size: int, pieces: Iterator[bytes]) -> None:
        self._size = size
        self._pieces = pieces

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send as fast as they are read."""
        with suppress(ClientDisconnect):
            await while_connected(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await _begin(send, b"application/x-tar", size=self._size)
        try:
            while piece := await asyncio.to_thread(next, self._pieces, b""):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except CorruptStoreError as error:
            log.error("an export was cut off: %s; %s", error, error.hint)  # noqa: TRY400  for people
            return
        await _end(send)


async def _send_steps(send: Send, steps: AsyncGenerator[T, None], fields: Callable[[T], dict[str, object]]) -> bool:
    """Send what is told line by line; False when the last line is an error."""
    async with aclosing(steps):
        try:
            async for step in steps:
                await _line(send, fields(step))
        except (DeviceError, MeshError, ModelsError) as error:
            await _line(send, {"error": error_fields(error)})
            return False
    return True


def _fields(step: Step) -> dict[str, object]:
    match step:
        case Model():
            return {"stage": "done", "model": asdict(step)}
        case Verification():
            return {"stage": "done", "verification": asdict(step)}
        case Removed():
            return {"stage": "removed", "removed": asdict(step)}
    return asdict(step)


async def _begin(send: Send, content_type: bytes, *, size: int | None = None) -> None:
    headers = [(b"content-type", content_type), (b"cache-control", b"no-store")]
    if size is not None:
        headers.append((b"content-length", str(size).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _line(send: Send, fields: dict[str, object]) -> None:
    await send({"type": "http.response.body", "body": json.dumps(fields).encode() + b"\n", "more_body": True})


async def _end(send: Send) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _length(request: Request) -> int:
    """What the client says that the body has; 0 where it does not say."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_LENGTH_DIGITS else 0
