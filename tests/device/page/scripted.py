"""The real page before an API whose every word a test chooses: what hostile models say, and how boxes fail."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from device.http.page import page_routes
from device.http.server import HttpServer

Json = dict[str, Any]
ABOUT: Json = {
    "node_id": "mq7wz4tdhb3ynkxc5ovrpj2sfeulagi6m4mq7wz4tdhb3ynkxc5q",
    "node_name": "workshop",
    "model": "smollm2-135m",
    "model_digest": "5f" * 32,
    "local": False,
}
MODEL: Json = {"id": "smollm2-135m", "object": "model", "hearthmesh": {"model_digest": "5f" * 32, "local": True}}


class ScriptedHearth:
    """A box: `says`, `queue`, `ends`, `fails`, `breaks` go to the answer that is being given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = ""
        self.models: list[Json] = [MODEL]
        self.refusals: list[Response] = []
        self.session: Response = Response(status_code=204)
        self.asked: list[Json] = []
        self.exchanged: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.left = asyncio.Event()
        self._lines: asyncio.Queue[str | Exception | None] = asyncio.Queue()

    def refuse(self, status: int, code: str, message: str = "no", **headers: str) -> None:
        """Answer the next question with an error."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.refusals.append(JSONResponse({"error": {"message": message, "code": code, "hint": ""}}, status, names))

    def queue(self, place: int) -> None:
        """Tell the place in the queue."""
        self._lines.put_nowait(f": queue {place}\n\n")

    def loads(self, percent: int = 0) -> None:
        """Tell that the model is being loaded, or how far it is converted."""
        self._lines.put_nowait(f": converting {percent}\n\n" if percent else ": loading\n\n")

    def says(self, *pieces: str, by: Json | None = None) -> None:
        """Give the next words."""
        for piece in pieces:
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            self._event({"choices": [choice], "hearthmesh": by or ABOUT})

    def ends(self, reason: str = "stop", **about: object) -> None:
        """End the answer as a whole one."""
        choice = {"index": 0, "delta": {}, "finish_reason": reason}
        self._event({"choices": [choice], "hearthmesh": {**ABOUT, **about}})
        self._lines.put_nowait("data: [DONE]\n\n")
        self._lines.put_nowait(None)

    def fails(self, code: str, message: str = "it went wrong") -> None:
        """End the answer with an error event."""
        self._event({"error": {"message": message, "code": code, "hint": "ask again"}})
        self._lines.put_nowait("data: [DONE]\n\n")
        self._lines.put_nowait(None)

    def breaks(self) -> None:
        """Let the connection go in the middle."""
        self._lines.put_nowait(ConnectionError("gone"))

    def _event(self, fields: Json) -> None:
        self._lines.put_nowait(f"data: {json.dumps(fields)}\n\n")

    async def _chat(self, request: Request) -> Response:
        self.asked.append(await request.json())
        self.headers.append(dict(request.headers))
        if self.refusals:
            return self.refusals.pop(0)
        return StreamingResponse(self._given(), media_type="text/event-stream")

    async def _given(self) -> AsyncIterator[str]:
        try:
            while (line := await self._lines.get()) is not None:
                if isinstance(line, Exception):
                    raise line
                yield line
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": self.models})

    async def _session(self, request: Request) -> Response:
        self.exchanged.append((await request.json())["key"])
        return self.session

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Serve on loopback while the block runs."""
        routes = [
            *page_routes(self.name),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/guest/session", self._session, methods=["POST"]),
        ]
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = HttpServer(Starlette(routes=routes), listener, grace_s=1)
        running = asyncio.create_task(server.run())
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
