"""The two applications: the public one on loopback, and the owner's, which can do everything."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from device.administration import Administration
from device.errors import DeviceError
from device.http.captive import CaptiveAnswers
from device.http.chat import chat_routes
from device.http.completions import completion_routes
from device.http.documents import document_routes
from device.http.errors import on_error, on_http_error
from device.http.health import health_routes
from device.http.metrics import metrics_routes
from device.http.models import model_routes
from device.http.ollama import ollama_routes
from device.http.owner import owner_routes
from device.http.page import page_routes
from device.http.requests import LoopbackOnly
from device.queries import Queries
from mesh.errors import MeshError
from models.errors import ModelsError

CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is left to read it


def public_app(queries: Queries, administration: Administration) -> ASGIApp:
    """Build the API for programs on this machine, and the page for people."""
    routes = [*public_routes(queries, administration), *page_routes(administration.mesh.name)]
    return CaptiveAnswers(LoopbackOnly(_app(routes)))


def owner_app(queries: Queries, administration: Administration) -> ASGIApp:
    """Build the API for the owner's command and terminal: the public one and what only the owner may."""
    return _app([*public_routes(queries, administration), *owner_routes(administration)])


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
