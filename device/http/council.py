"""The owner's API for what voters decide."""

from dataclasses import asdict
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.administration import Administration
from device.api_of_council import MAX_REASON
from device.core.json_fields import optional, parse_object
from device.errors import BadRequestError
from device.http.requests import read_body, text_of

RULES: Final = ("margin", "notice", "invitations")
MAX_WITHOUT: Final = 256


def council_routes(administration: Administration) -> list[Route]:
    """What `hearth community`, `hearth propose` and `hearth vote` ask."""
    council = administration.council

    async def community(_: Request) -> Response:
        return JSONResponse(asdict(await council.shown()))

    async def propose(request: Request) -> Response:
        fields = parse_object(await read_body(request))
        what = text_of(fields, "what")
        reason: str = optional(fields, "reason", str, default="")
        if len(reason) > MAX_REASON or not (reason.isprintable() or not reason):
            raise BadRequestError(f"reason: up to {MAX_REASON} printable characters", param="reason")
        if what == "rules":
            return JSONResponse(asdict(council.amend(_rules(fields), reason)))
        return JSONResponse(asdict(administration.propose(what, text_of(fields, "node"), reason)))

    async def vote(request: Request) -> Response:
        fields = parse_object(await read_body(request))
        agrees = fields.get("agrees")
        if not isinstance(agrees, bool):
            raise BadRequestError("agrees: true or false", param="agrees")
        return JSONResponse(asdict(await council.answer(request.path_params["proposal"], agrees=agrees)))

    return [
        Route("/api/community", community, methods=["GET"]),
        Route("/api/proposals", propose, methods=["POST"]),
        Route("/api/proposals/{proposal}/vote", vote, methods=["POST"]),
        *_lost_board_routes(administration),
    ]


def _lost_board_routes(administration: Administration) -> list[Route]:
    council = administration.council

    async def paper(_: Request) -> Response:
        return JSONResponse(asdict(council.make_paper()))

    async def recover(request: Request) -> Response:
        fields = parse_object(await read_body(request))
        return JSONResponse(asdict(await council.recover(text_of(fields, "words"))))

    async def fork(request: Request) -> Response:
        without = parse_object(await read_body(request)).get("without")
        if not isinstance(without, list) or len(without) > MAX_WITHOUT or not all(isinstance(o, str) for o in without):
            raise BadRequestError(f"without: a list of up to {MAX_WITHOUT} nodes", param="without")
        return JSONResponse(asdict(await administration.fork(without)))

    async def choose(request: Request) -> Response:
        fields = parse_object(await read_body(request))
        return JSONResponse(asdict(await council.choose(text_of(fields, "id"))))

    return [
        Route("/api/community/fork", fork, methods=["POST"]),
        Route("/api/community/choose", choose, methods=["POST"]),
        Route("/api/community/paper", paper, methods=["POST"]),
        Route("/api/community/recover", recover, methods=["POST"]),
    ]


def _rules(fields: dict[str, object]) -> dict[str, int]:
    changes = {}
    for name in RULES:
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise BadRequestError(f"{name}: a number of 0 or more", param=name)
        changes[name] = value
    return changes
