"""GET /v1/models and /v1/models/{model}, as OpenAI's clients expect them."""

from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.administration import Administration
from device.api_of_models import HeldModel, Model
from device.errors import NoSuchModelError

UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Offered:
    """A model that can be asked, and the nodes that hold it: this one first, then those in reach."""

    model: HeldModel
    nodes: tuple[str, ...]
    local: bool


def model_routes(administration: Administration) -> list[Route]:
    """Which models can be asked."""

    async def list_models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_fields(one) for one in offered(administration)]})

    async def model(request: Request) -> Response:
        return JSONResponse(_fields(find_offered(administration, request.path_params["model"])))

    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{model:path}", model, methods=["GET"]),
    ]


def offered(administration: Administration) -> list[Offered]:
    """Each model once, by name and digest."""
    own = administration.mesh.node_id
    found: dict[tuple[str, str], tuple[HeldModel, list[str]]] = {}
    here: tuple[HeldModel, ...] = administration.library.models()
    for model in here:
        found.setdefault((model.name, model.digest), (model, []))[1].append(own)
    for neighbour in administration.status().neighbours:
        for model in neighbour.models if neighbour.hops else ():
            found.setdefault((model.name, model.digest), (model, []))[1].append(neighbour.node_id)
    return [Offered(model, tuple(nodes), local=nodes[0] == own) for model, nodes in found.values()]


def find_offered(administration: Administration, name: str) -> Offered:
    """The model of that name, the one here before others.  Raises NoSuchModelError."""
    for one in offered(administration):
        if name == one.model.name:
            return one
    raise NoSuchModelError(f"no model {name[:256]!r} is here or in reach")


def _fields(one: Offered) -> dict[str, Any]:
    return {
        "id": one.model.name,
        "object": "model",
        "created": 0,  # a model is its content: it has no date
        "owned_by": one.nodes[0],
        "hearthmesh": about_model(one),
    }


def about_model(one: Offered) -> dict[str, Any]:
    """What stands under "hearthmesh" of a model: which it is, who holds it, and its card."""
    return {
        "model_digest": one.model.digest,
        "nodes": list(one.nodes),
        "local": one.local,
        "card": _card(one.model),
    }


def _card(model: HeldModel) -> dict[str, str]:
    """What people should know of a model; what is not known of it, or only where it is held, is "unknown"."""
    known = model if isinstance(model, Model) else None
    return {
        "licence": known.licence if known else UNKNOWN,
        "description": (known.description if known else "") or UNKNOWN,
        "trained_on": known.trained_on if known else UNKNOWN,
        "bad_at": known.bad_at if known else UNKNOWN,
    }
