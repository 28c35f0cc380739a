"""The owner's API on the unix socket: whoever may open the socket is the owner."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import asdict
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from device.administration import Administration
from device.api import Model, Models, PullProgress
from device.core.json_fields import parse_object
from device.errors import BadRequestError, DeviceError
from device.http.cards import card_routes
from device.http.errors import error_fields
from device.http.requests import read_body, while_connected
from device.library import Library
from mesh.errors import MeshError
from models.errors import ModelsError

MAX_TEXT_CHARACTERS: Final = 512


def owner_routes(administration: Administration) -> list[Route]:
    """What the command and the terminal interface ask."""
    nodes = [*_node_routes(administration), *_peer_routes(administration)]
    return [*nodes, *_model_routes(administration.library), *card_routes(administration)]


def _node_routes(administration: Administration) -> list[Route]:
    async def status(_: Request) -> Response:
        return JSONResponse(asdict(administration.status()))

    async def doctor(_: Request) -> Response:
        return JSONResponse(asdict(await administration.doctor()))

    async def pair(_: Request) -> Response:
        return JSONResponse(asdict(await administration.pair()))

    async def close_offer(_: Request) -> Response:
        await administration.close_offer()
        return JSONResponse({})

    async def join(request: Request) -> Response:
        fields = parse_object(await read_body(request))
        at = _text(fields, "at") if fields.get("at") is not None else None
        joined = administration.join(_text(fields, "words"), at=at)
        return JSONResponse(asdict(await while_connected(request.receive, joined)))

    async def rekey(_: Request) -> Response:
        return JSONResponse(asdict(administration.rekey()))

    async def accept_board(_: Request) -> Response:
        administration.accept_board()
        return JSONResponse({})

    async def leave(_: Request) -> Response:
        await administration.leave()
        return JSONResponse({})

    return [
        Route("/api/status", status, methods=["GET"]),
        Route("/api/doctor", doctor, methods=["GET"]),
        Route("/api/pair", pair, methods=["POST"]),
        Route("/api/pair", close_offer, methods=["DELETE"]),
        Route("/api/join", join, methods=["POST"]),
        Route("/api/leave", leave, methods=["POST"]),
        Route("/api/rekey", rekey, methods=["POST"]),
        Route("/api/board", accept_board, methods=["POST"]),
    ]


def _peer_routes(administration: Administration) -> list[Route]:
    async def peers(_: Request) -> Response:
        return JSONResponse(asdict(administration.peers()))

    async def block(request: Request) -> Response:
        await administration.block(request.path_params["node_id"])
        return JSONResponse({})

    async def unblock(request: Request) -> Response:
        await administration.unblock(request.path_params["node_id"])
        return JSONResponse({})

    async def forget(request: Request) -> Response:
        await administration.forget(request.path_params["node_id"])
        return JSONResponse({})

    return [
        Route("/api/peers", peers, methods=["GET"]),
        Route("/api/peers/{node_id}", forget, methods=["DELETE"]),
        Route("/api/peers/{node_id}/block", block, methods=["POST"]),
        Route("/api/peers/{node_id}/block", unblock, methods=["DELETE"]),
    ]


def _model_routes(library: Library) -> list[Route]:
    async def models(_: Request) -> Response:
        return JSONResponse(asdict(Models(models=library.models(), catalogue=library.catalogue())))

    async def model(request: Request) -> Response:
        return JSONResponse(asdict(library.model(request.path_params["name"])))

    async def remove(request: Request) -> Response:
        await library.remove(request.path_params["name"])
        return JSONResponse({})

    async def pull(request: Request) -> "PullStream":
        fields = parse_object(await read_body(request))
        return PullStream(library.pull(_text(fields, "name")))

    return [
        Route("/api/models", models, methods=["GET"]),
        Route("/api/models/pull", pull, methods=["POST"]),
        Route("/api/models/{name}", model, methods=["GET"]),
        Route("/api/models/{name}", remove, methods=["DELETE"]),
    ]


class PullStream:
    """One JSON object a line: stages, then the model or an error; ends the pull when its client hangs up."""

    def __init__(self, steps: AsyncGenerator[PullProgress | Model, None]) -> None:
        self._steps = steps

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the lines."""
        with suppress(ClientDisconnect):
            await while_connected(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        headers = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with aclosing(self._steps):
            try:
                async for step in self._steps:
                    done = isinstance(step, Model)
                    await _line(send, {"stage": "done", "model": asdict(step)} if done else asdict(step))
            except (DeviceError, MeshError, ModelsError) as error:
                await _line(send, {"error": error_fields(error)})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _line(send: Send, fields: dict[str, object]) -> None:
    await send({"type": "http.response.body", "body": json.dumps(fields).encode() + b"\n", "more_body": True})


def _text(fields: dict[str, object], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_CHARACTERS:
        raise BadRequestError(f"{key}: a text of 1 to {MAX_TEXT_CHARACTERS} characters", param=key)
    return value
