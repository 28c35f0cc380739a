"""The owner's API on the unix socket: whoever may open the socket is the owner."""

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from device.administration import Administration
from device.core.json_fields import parse_object
from device.http.cards import card_routes
from device.http.council import council_routes
from device.http.owners_models import owners_model_routes
from device.http.record import record_routes
from device.http.requests import read_body, text_of, while_connected


def owner_routes(administration: Administration) -> list[Route]:
    """What the command and the terminal interface ask."""
    nodes = [*_node_routes(administration), *_peer_routes(administration)]
    nodes += council_routes(administration)
    models = [*record_routes(administration), *owners_model_routes(administration), *card_routes(administration)]
    return [*nodes, *models]


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
        at = text_of(fields, "at") if fields.get("at") is not None else None
        joined = administration.join(text_of(fields, "words"), at=at)
        return JSONResponse(asdict(await while_connected(request.receive, joined)))

    async def rekey(_: Request) -> Response:
        return JSONResponse(asdict(administration.rekey()))

    async def accept_board(_: Request) -> Response:
        administration.accept_board()
        return JSONResponse({})

    async def leave(_: Request) -> Response:
        await administration.leave()
        return JSONResponse({})

    async def record(request: Request) -> Response:
        written = await administration.record(fixed=request.query_params.get("fixed") == "1")
        headers = {"Content-Length": str(written.size_bytes)}
        return StreamingResponse(written.pieces(), media_type="text/plain", headers=headers)

    return [
        Route("/api/record", record, methods=["GET"]),
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
        return JSONResponse(asdict(administration.forget(request.path_params["node_id"])))

    return [
        Route("/api/peers", peers, methods=["GET"]),
        Route("/api/peers/{node_id}", forget, methods=["DELETE"]),
        Route("/api/peers/{node_id}/block", block, methods=["POST"]),
        Route("/api/peers/{node_id}/block", unblock, methods=["DELETE"]),
    ]
