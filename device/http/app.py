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
from device.http.errors import on_error, on_http_error
from device.http.metrics import metrics_routes
from device.http.openai import public_routes
from device.http.owner import owner_routes
from device.http.page import page_routes
from device.http.requests import LoopbackOnly
from device.queries import Queries
from mesh.errors import MeshError
from models.errors import ModelsError

CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is left to read it


def public_app(queries: Queries, administration: Administration) -> ASGIApp:
    """Build the API for programs on this machine, and the page for people."""
    routes = [*public_routes(queries, administration), *metrics_routes(administration)]
    return CaptiveAnswers(LoopbackOnly(_app([*routes, *page_routes(administration.mesh.name)])))


def owner_app(queries: Queries, administration: Administration) -> ASGIApp:
    """Build the API for the owner's command and terminal."""
    shared = [*public_routes(queries, administration), *metrics_routes(administration)]
    return _app([*shared, *owner_routes(administration)])


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
