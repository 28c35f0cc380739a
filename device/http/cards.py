"""The owner's API for cards: read and replace them, and see where models come from."""

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.administration import Administration
from device.core.json_fields import parse_object
from device.http.requests import read_body
from device.model_cards import ModelCards
from models.core.card import Card


def card_routes(administration: Administration) -> list[Route]:
    """What `hearth models card` and `hearth models lineage` ask."""
    cards = ModelCards(administration.library)

    async def card(request: Request) -> Response:
        community = administration.status().community
        said = await administration.publishing.on_record([cards.digest(request.path_params["name"])])
        return JSONResponse(cards.shown(request.path_params["name"], community, said).to_fields())

    async def keep(request: Request) -> Response:
        known = Card.from_fields(parse_object(await read_body(request)))
        await cards.keep(request.path_params["name"], known)
        return await card(request)

    async def lineage(request: Request) -> Response:
        return JSONResponse(asdict(cards.lineage(request.path_params["name"], administration.status().community)))

    return [
        Route("/api/models/{name}/card", card, methods=["GET"]),
        Route("/api/models/{name}/card", keep, methods=["PUT"]),
        Route("/api/models/{name}/lineage", lineage, methods=["GET"]),
    ]
