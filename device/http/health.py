"""GET /health: this node is alive; GET /readyz: it can take questions, or what it lacks for that."""

import http

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.administration import Administration


def health_routes(administration: Administration) -> list[Route]:
    """What a supervisor asks."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "node_id": administration.mesh.node_id})

    async def ready(_: Request) -> Response:
        missing = administration.missing()
        status = http.HTTPStatus.SERVICE_UNAVAILABLE if missing else http.HTTPStatus.OK
        return JSONResponse({"ready": not missing, "missing": list(missing)}, status)

    return [Route("/health", health, methods=["GET"]), Route("/readyz", ready, methods=["GET"])]
