"""The applications: the public one on loopback and on the LAN, and the owner's, which can do everything."""

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from device.administration import Administration
from device.core.tries import Tries
from device.errors import DeviceError
from device.http.access import access_routes
from device.http.captive import CaptiveAnswers
from device.http.chat import chat_routes
from device.http.completions import completion_routes
from device.http.documents import document_routes
from device.http.errors import on_error, on_http_error
from device.http.gate import Door, Gate, OwnersGate
from device.http.guests import guest_routes
from device.http.health import health_routes
from device.http.metrics import metrics_routes
from device.http.models import model_routes
from device.http.ollama import ollama_routes
from device.http.owner import owner_routes
from device.http.page import page_routes
from device.keyring import KeyRing
from device.queries import Queries
from mesh.errors import MeshError
from models.errors import ModelsError

CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is left to read it


@dataclass(frozen=True, kw_only=True)
class Apps:
    """The three doors: the owner's socket, loopback, and the LAN."""

    owner: ASGIApp
    loopback: ASGIApp
    lan: ASGIApp


def build_apps(queries: Queries, administration: Administration, keyring: KeyRing) -> Apps:
    """Build what stands behind each door."""
    tries = Tries()
    shared = [*public_routes(queries, administration), *guest_routes(keyring, tries)]
    public = _app([*shared, *page_routes(administration.mesh.name)])
    owner = _app([*shared, *owner_routes(administration), *access_routes(administration.guests)])
    return Apps(
        owner=OwnersGate(owner),
        loopback=CaptiveAnswers(Gate(public, door=Door.LOOPBACK, keyring=keyring, tries=tries, owner=owner)),
        lan=CaptiveAnswers(
            Gate(public, door=Door.LAN, keyring=keyring, tries=tries, names=lambda: administration.guests.names)
        ),
    )


def public_routes(queries: Queries, administration: Administration) -> list[Route]:
    """Everything that /openapi.json describes."""
    return [
        *chat_routes(queries),
        *completion_routes(queries),
        *model_routes(administration),
        *ollama_routes(queries, administration),
        *health_routes(administration),
        *metrics_routes(administration),
        *document_routes(administration.version),
    ]


def _app(routes: list[Route]) -> Starlette:
    handlers = {
        DeviceError: on_error,
        MeshError: on_error,
        ModelsError: on_error,
        HTTPException: on_http_error,
        ClientDisconnect: _on_hang_up,
        Exception: on_error,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


async def _on_hang_up(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)
