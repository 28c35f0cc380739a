"""Answers the probes by which phones judge a network; everything else goes on to the application behind."""

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from device.core.captive import Answer, answer_to_probe


class CaptiveAnswers:
    """Stands before the check of names: a probe comes under a foreign one, and only for that very path it is let in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a probe, or pass the request on."""
        answer = answer_to_probe(scope["method"], Headers(scope=scope).get("host", ""), scope["path"])
        app = self._app if answer is None else _response(answer)
        await app(scope, receive, send)


def _response(answer: Answer) -> Response:
    headers = {**dict(answer.headers), "Cache-Control": "no-store"}  # true of this network, now
    return Response(answer.body, answer.status, headers, answer.content_type or None)
