"""A daemon of scripted answers on a unix socket: what the client, the command and the TUI are tested against.

It speaks the owner's API as the real one does and keeps what was asked.  Run by hand, to look at the TUI:
`python -m tests.sim.daemon DIR`, then `hearth --data DIR tui`.
"""

import asyncio
import copy
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mesh.identity import fingerprint
from tests.sim.council_desk import CouncilDesk
from tests.sim.replies import Json, Reply, refused
from tests.sim.scripts import (
    ATTIC_ID,
    BUNDLE,
    CARD,
    CATALOGUE,
    DIAGNOSIS,
    EMBER_ID,
    GUESTS,
    KEYS,
    LINEAGE,
    MESH_MODELS,
    MODEL,
    OFFER,
    ON_RECORD,
    PEERS,
    PULL,
    SPARK_ID,
    STATUS,
    VERIFICATION,
)

MAX_TEMPERATURE = 5
ATTIC = {"node_id": ATTIC_ID, "node_name": "attic"}
PARTS: list[Json] = [
    {"node_id": EMBER_ID, "node_name": "workshop", "from_token": 0, "tokens": 3},
    {**ATTIC, "from_token": 3, "tokens": 5},
]


DELAYS: Final = {  # comments in the stream of a question with that word
    "queue": ("queue 3", "queue 1"),
    "load": ("loading", "converting 4", "converting 15", "converting 100"),
}


class SimulatedDaemon(CouncilDesk):
    """A context manager; the API listens while it is open, in a thread of its own.

    A question that contains "slowly" stops after its first words until `release()`; one that contains "too long",
    "break off" or "fail" goes wrong in that way; one that contains "length" is cut; one that contains "pass on" is
    answered by two nodes; one that contains "queue" waits its turn before, one with "load" for its model.
    A pull stops in mid-download until `release()` if `slow_pull`.  others: how many questions of others come with each;
    longest: how many words a question may have.
    """

    def __init__(self, data_dir: Path, *, slow_pull: bool = False) -> None:
        super().__init__()
        self.data_dir = data_dir
        self.socket_path = data_dir / "api.sock"
        self.slow_pull = slow_pull
        self.status = copy.deepcopy(STATUS)
        for member in self.status["community"]["members"]:
            member |= {"fingerprint": fingerprint(member["node_id"]), "this_node": member["node_id"] == SPARK_ID}
        self.peers: Json = {**copy.deepcopy(PEERS), "members": self.status["community"]["members"]}
        self.diagnosis: Json = copy.deepcopy(DIAGNOSIS)
        self.catalogue: list[Json] = copy.deepcopy(CATALOGUE)
        self.card: Json = copy.deepcopy(CARD)
        self.keys: list[Json] = copy.deepcopy(KEYS)
        self.guests: Json = copy.deepcopy(STATUS["guests"])
        self.mesh_models: Json = copy.deepcopy(MESH_MODELS)
        self.arriving: list[Json] = []
        self.on_record: Json = copy.deepcopy(ON_RECORD)
        self.verification: Json = copy.deepcopy(VERIFICATION)
        self.removing: list[Json] = []
        """What is removed to make room for what is imported."""
        self.received = b""
        self.breaks_exports = False
        self.record = b"what hearth record wrote\n" * 5_000
        self.asked: list[tuple[str, str, Json]] = []
        self.abandoned = threading.Event()
        self.others = 0
        self.longest = 10_000
        self.answer: tuple[str, ...] = ("The capital", " of France", " is Paris.")
        self._released = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.socket_path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket_path))
        self._listener.listen()
        config = uvicorn.Config(self._app(), log_level="critical", lifespan="off", ws="none", loop="asyncio")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="simulated daemon")
        self._thread.start()

    def stop(self) -> None:
        """Go away, in the middle of whatever is going on; nothing happens if it has gone already."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._listener.close()
        self.socket_path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let what waits go on."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._released.set)

    def _serve(self) -> None:
        async def serve() -> None:
            self._released = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[self._listener])

        asyncio.run(serve())

    def _app(self) -> Starlette:
        routes: list[tuple[str, str, Reply]] = [
            *self.council_routes(),
            ("GET", "/api/status", self._get_status),
            ("GET", "/api/doctor", self._get_doctor),
            ("GET", "/api/record", self._get_record),
            ("GET", "/api/peers", self._get_peers),
            ("DELETE", "/api/peers/{id}", self._change_peer),
            ("POST", "/api/peers/{id}/block", self._change_peer),
            ("DELETE", "/api/peers/{id}/block", self._change_peer),
            ("POST", "/api/pair", self._pair),
            ("DELETE", "/api/pair", self._done),
            ("POST", "/api/join", self._join),
            ("POST", "/api/leave", self._done),
            ("POST", "/api/rekey", self._rekey),
            ("POST", "/api/board", self._done),
            ("POST", "/api/models/publish", self._publish),
            ("POST", "/api/models/retire", self._retire),
            ("GET", "/api/models", self._get_models),
            ("POST", "/api/models/pull", self._pull),
            ("GET", "/api/models/{name}", self._get_model),
            ("GET", "/api/models/{name}/card", self._get_card),
            ("PUT", "/api/models/{name}/card", self._put_card),
            ("GET", "/api/models/{name}/lineage", self._get_lineage),
            ("DELETE", "/api/models/{name}", self._remove_model),
            ("PUT", "/api/models/{name}/pin", self._pin),
            ("DELETE", "/api/models/{name}/pin", self._pin),
            ("GET", "/api/models/{name}/bundle", self._export),
            ("POST", "/api/models/verify", self._verify),
            ("GET", "/api/mesh/models", self._get_mesh_models),
            ("GET", "/api/keys", self._get_keys),
            ("POST", "/api/keys", self._add_key),
            ("DELETE", "/api/keys/{key}", self._remove_key),
            ("GET", "/api/guests", self._get_guests),
            ("POST", "/api/guests", self._open_guests),
            ("DELETE", "/api/guests", self._close_guests),
            ("POST", "/v1/chat/completions", self._chat),
            ("POST", "/v1/completions", self._complete),
        ]
        # A bundle is no JSON, so that this one is not recorded; and it comes before what takes any name.
        importing = Route("/api/models/import", self._import, methods=["POST"])
        recorded = [Route(path, self._recorded(reply), methods=[verb]) for verb, path, reply in routes]
        return Starlette(routes=[importing, *recorded])

    def _recorded(self, reply: Reply) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            body: Json = json.loads(await request.body() or b"{}")
            self.asked.append((request.method, request.url.path, body))
            return await reply(request, body)

        return endpoint

    async def _done(self, _request: Request, _body: Json) -> Response:
        return JSONResponse({})

    async def _get_status(self, _request: Request, _body: Json) -> Response:
        return JSONResponse(self.status)

    async def _rekey(self, _request: Request, _body: Json) -> Response:
        self.status["node_id"] = "n" * 52
        return JSONResponse({"kept": str(self.data_dir / "mesh" / "replaced-1")})

    async def _get_doctor(self, _request: Request, _body: Json) -> Response:
        return JSONResponse(self.diagnosis)

    async def _get_peers(self, _request: Request, _body: Json) -> Response:
        return JSONResponse({"neighbours": self.status["neighbours"], **self.peers})

    async def _change_peer(self, request: Request, _body: Json) -> Response:
        if request.path_params["id"].startswith("zz"):
            return refused(
                404, "no node's id begins with zz", code="unknown_node", hint="see who is there: hearth peers"
            )
        forgotten = request.method == "DELETE" and not request.url.path.endswith("/block")
        return JSONResponse({"ended": True} if forgotten else {})

    async def _pair(self, _request: Request, _body: Json) -> Response:
        return JSONResponse(OFFER)

    async def _join(self, _request: Request, body: Json) -> Response:
        if body["words"] != OFFER["words"]:
            return refused(404, "nobody in reach offers these words", code="wrong_words", hint="check the six words")
        return JSONResponse({key: OFFER[key] for key in ("node_id", "name", "fingerprint")} | {"community": "street"})

    async def _get_keys(self, _request: Request, _body: Json) -> Response:
        return JSONResponse({"keys": self.keys})

    async def _add_key(self, _request: Request, body: Json) -> Response:
        if "root" in body["scopes"]:
            return refused(400, "scopes: ask, embed, admin", code="invalid_value", hint="name one", param="scopes")
        limits = {"per_minute": body["per_minute"], "per_day": body["per_day"]}
        key = {"id": "0badcafe", "name": body["name"], "scopes": body["scopes"], "guest": False, **limits}
        self.keys.append({**key, "used_ago_s": None, "tokens_left": None, "renews_in_s": None})
        return JSONResponse({"key": self.keys[-1], "secret": f"hk_{'a' * 32}"})

    async def _remove_key(self, request: Request, _body: Json) -> Response:
        kept = [key for key in self.keys if request.path_params["key"] not in (key["id"], key["name"])]
        if kept == self.keys:
            return refused(
                404, "there is no such key", code="key_not_found", hint="see which keys there are: hearth keys"
            )
        self.keys = kept
        return JSONResponse({})

    async def _get_guests(self, _request: Request, _body: Json) -> Response:
        return JSONResponse(self.guests)

    async def _open_guests(self, _request: Request, body: Json) -> Response:
        limits = {"per_minute": body["per_minute"] or 6, "per_day": body["per_day"] or 50_000}
        self.guests = {**GUESTS, **limits}
        return JSONResponse(self.guests)

    async def _close_guests(self, _request: Request, _body: Json) -> Response:
        self.guests = copy.deepcopy(STATUS["guests"])
        return JSONResponse(self.guests)

    async def _get_models(self, _request: Request, _body: Json) -> Response:
        return JSONResponse({"models": self.status["models"], "arriving": self.arriving, "catalogue": self.catalogue})

    def _held(self, name: str) -> Json | None:
        return next((model for model in self.status["models"] if model["name"] == name), None)

    async def _get_model(self, request: Request, _body: Json) -> Response:
        model = self._held(request.path_params["name"])
        return JSONResponse(model) if model else _no_model(request.path_params["name"])

    async def _remove_model(self, request: Request, _body: Json) -> Response:
        model = self._held(request.path_params["name"])
        for one in [one for one in self.arriving if one["name"] == request.path_params["name"]]:
            self.arriving.remove(one)
            return JSONResponse({**_named(one), "size_bytes": one["bytes_here"], "arriving": True})
        if model is None:
            return _no_model(request.path_params["name"])
        self.status["models"].remove(model)
        self._mark_present(model["name"], present=False)
        return JSONResponse({**_named(model), "size_bytes": model["size_bytes"], "arriving": False})

    async def _get_card(self, request: Request, _body: Json) -> Response:
        name = request.path_params["name"]
        return JSONResponse(self.card) if self._held(name) else _no_model(name)

    async def _put_card(self, request: Request, body: Json) -> Response:
        self.card["card"] = body
        return await self._get_card(request, body)

    async def _get_lineage(self, request: Request, _body: Json) -> Response:
        name = request.path_params["name"]
        return JSONResponse(LINEAGE) if self._held(name) else _no_model(name)

    async def _pin(self, request: Request, _body: Json) -> Response:
        model = self._held(request.path_params["name"])
        if model is None:
            return _no_model(request.path_params["name"])
        model["pinned"] = request.method == "PUT"
        return JSONResponse(model)

    async def _export(self, request: Request, _body: Json) -> Response:
        if self._held(request.path_params["name"]) is None:
            return _no_model(request.path_params["name"])
        if self.breaks_exports:
            return StreamingResponse(_pieces(BUNDLE[:-1]), headers={"Content-Length": str(len(BUNDLE))})
        return Response(BUNDLE, media_type="application/x-tar")

    async def _get_record(self, _request: Request, _body: Json) -> Response:
        return Response(self.record, media_type="text/plain")

    async def _import(self, request: Request) -> Response:
        self.received = await request.body()
        name = request.query_params.get("name") or "carried"
        if self.received != BUNDLE:
            return refused(400, "the bundle is cut", code="invalid_bundle", hint="copy it again")
        return StreamingResponse(self._import_lines(name), media_type="application/x-ndjson")

    async def _import_lines(self, name: str) -> AsyncIterator[str]:
        yield json.dumps({"stage": "import", "done": len(BUNDLE), "total": len(BUNDLE)}) + "\n"
        for model in self.removing:
            yield json.dumps({"stage": "removed", "removed": model}) + "\n"
        yield json.dumps({"stage": "convert", "done": 1000, "total": 1000}) + "\n"
        yield json.dumps({"stage": "done", "model": {**MODEL, "name": name, "loaded": False}}) + "\n"

    async def _verify(self, _request: Request, body: Json) -> Response:
        if body["name"] and self._held(body["name"]) is None:
            return _no_model(body["name"])
        lines = [{"stage": "verify", "done": 44_100_000, "total": 44_100_000}, {"stage": "done", **self.verification}]
        return Response("".join(json.dumps(line) + "\n" for line in lines), media_type="application/x-ndjson")

    async def _publish(self, _request: Request, body: Json) -> Response:
        if self._held(body["name"]) is None:
            return _no_model(body["name"])
        lines = [{"stage": "verify", "done": 44_100_000, "total": 44_100_000}]
        lines.append({"stage": "done", "on_record": self.on_record})
        return Response("".join(json.dumps(line) + "\n" for line in lines), media_type="application/x-ndjson")

    async def _retire(self, _request: Request, body: Json) -> Response:
        if body["name"] != self.on_record["name"]:
            return refused(404, "no such model is published", code="model_not_published", hint="see hearth log")
        return JSONResponse(self.on_record)

    async def _get_mesh_models(self, _request: Request, _body: Json) -> Response:
        return JSONResponse(self.mesh_models)

    def _mark_present(self, name: str, *, present: bool) -> None:
        for entry in self.catalogue:
            if entry["name"] == name:
                entry["present"] = present

    async def _pull(self, _request: Request, body: Json) -> Response:
        if all(entry["name"] != body["name"] for entry in self.catalogue):
            return _no_model(body["name"])
        return StreamingResponse(self._pull_lines(body["name"]), media_type="application/x-ndjson")

    async def _pull_lines(self, name: str) -> AsyncIterator[str]:
        try:
            for progress in PULL:
                yield json.dumps(progress) + "\n"
                if self.slow_pull and progress["stage"] == "download" and progress["done"]:
                    await self._released.wait()
        except asyncio.CancelledError:
            self.abandoned.set()
            raise
        model = {**MODEL, "name": name, "loaded": False}
        self.status["models"].append(model)
        self._mark_present(name, present=True)
        yield json.dumps({"stage": "done", "model": model}) + "\n"

    async def _chat(self, _request: Request, body: Json) -> Response:
        question = body["messages"][-1]["content"]
        self.status["queries"]["asked"] += 1 + self.others
        if body.get("temperature", 0) > MAX_TEMPERATURE:
            hint = "correct the named field and send the request again"
            return refused(400, "temperature: 0 to 5", code="invalid_value", hint=hint, param="temperature")
        if "too long" in question or len(question.split()) > self.longest:
            return refused(
                400,
                "the prompt has 3000 tokens, the context holds 2048",
                code="context_length_exceeded",
                hint="shorten the prompt or start a new conversation",
            )
        return StreamingResponse(self._chunks(question, body), media_type="text/event-stream")

    async def _complete(self, request: Request, body: Json) -> Response:
        """Go on with a text as with a question: the pieces of one answer, in the other form."""
        return await self._chat(request, {**body, "messages": [{"content": body["prompt"]}]})

    async def _chunks(self, question: str, body: Json) -> AsyncIterator[str]:
        local = body["hearthmesh"]["node"] == "local"
        about: Json = {
            "node_id": SPARK_ID if local else EMBER_ID,
            "node_name": "kitchen" if local else "workshop",
            "model": MODEL["name"] if body["model"] == "default" else body["model"],
            "model_digest": MODEL["digest"],
            "local": local,
        }
        try:
            for word, comments in DELAYS.items():
                for index, comment in enumerate(comments if word in question else ()):
                    if index and "slowly" in question:
                        await self._released.wait()
                    yield f": {comment}\n\n"
            for index, piece in enumerate(self.answer):
                by = about | (ATTIC if index and "pass on" in question else {})
                said = {"text": piece} if "prompt" in body else {"delta": {"content": piece}}
                yield _event({"choices": [{**said, "finish_reason": None}], "hearthmesh": by})
                if index == 0 and "slowly" in question:
                    await self._released.wait()
                if index == 0 and "break off" in question:
                    return
                if index == 0 and "fail" in question:
                    error = {"message": "the neighbour stopped answering", "code": "lost", "hint": "ask again"}
                    yield _event({"error": error}) + "data: [DONE]\n\n"
                    return
        except asyncio.CancelledError:
            self.abandoned.set()
            raise
        reason = "length" if "length" in question else "stop"
        end = {"choices": [{"delta": {}, "finish_reason": reason}]}
        usage = {"prompt_tokens": 37, "completion_tokens": 8, "total_tokens": 45}
        about |= {"ttft_ms": 84.2, "tokens_per_s": 31.4}
        if "pass on" in question:
            about["parts"] = PARTS
        yield _event({**end, "usage": usage, "hearthmesh": about})
        yield "data: [DONE]\n\n"


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _event(value: Json) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _named(model: Json) -> Json:
    return {"name": model["name"], "digest": model["digest"]}


def _no_model(name: str) -> Response:
    hint = "see what is here and what can be had: hearth models ls"
    return refused(404, f"no model {name} is here", code="model_not_found", hint=hint)


if __name__ == "__main__":
    with SimulatedDaemon(Path(sys.argv[1])):
        threading.Event().wait()
