"""What the simulated daemon answers about its community: who decides, on what, and what the record says."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tests.sim.replies import Json, Reply, refused
from tests.sim.scripts import CONTRIBUTIONS, COUNCIL, LOG

PAPER = "legal winner thank year wave sausage worth useful legal winner thank yellow"
NO_COMMUNITY = "found one with `hearth pair`, or join one with `hearth join WORDS`"


class CouncilDesk:
    """State that a test may change between two questions, and the replies that come of it."""

    def __init__(self) -> None:
        self.log: list[Json] = copy.deepcopy(LOG)
        self.council: Json = copy.deepcopy(COUNCIL)
        self.contributions: Json = copy.deepcopy(CONTRIBUTIONS)
        self.status: Json = {}
        self.followers = 0
        self.most_followers = 16
        self.ends_logs = False  # as a daemon does that ends

    def council_routes(self) -> list[tuple[str, str, Reply]]:
        """Which question has which reply."""
        return [
            ("GET", "/api/community", self._get_council),
            ("POST", "/api/proposals", self._propose),
            ("POST", "/api/proposals/{proposal}/vote", self._vote),
            ("POST", "/api/community/paper", self._make_paper),
            ("POST", "/api/community/choose", self._choose),
            ("GET", "/api/log", self._get_log),
            ("GET", "/api/contributions", self._get_contributions),
        ]

    async def _get_council(self, _request: Request, _body: Json) -> Response:
        if self.status["community"] is None:
            return refused(409, "this node belongs to no community", code="no_community", hint=NO_COMMUNITY)
        return JSONResponse(self.council)

    async def _propose(self, _request: Request, body: Json) -> Response:
        if body["what"] == "remove":
            return refused(403, "the last voter stays", code="not_allowed", hint="propose another voter first")
        return JSONResponse({"id": "c4" * 32, "decided": body["what"] == "observer"})

    async def _vote(self, request: Request, body: Json) -> Response:
        for motion in self.council["motions"]:
            if motion["id"] == request.path_params["proposal"]:
                motion["answer"] = "yes" if body["agrees"] else "no"
                return JSONResponse(self.council)
        return refused(
            404, "nothing that can be decided on has this id", code="proposal_not_found", hint="hearth community"
        )

    async def _make_paper(self, _request: Request, _body: Json) -> Response:
        return JSONResponse({"words": PAPER})

    async def _choose(self, _request: Request, body: Json) -> Response:
        for one in self.council["begun"]:
            if one["id"] == body["id"]:
                self.council["begun"] = []
                return JSONResponse({"kept": "/var/lib/hearth/left/street.record"})
        return refused(
            404, "no member has begun a community anew by this id", code="proposal_not_found", hint="hearth community"
        )

    async def _get_log(self, request: Request, _body: Json) -> Response:
        asked = request.query_params
        if asked.get("follow") and self.followers == self.most_followers:
            return refused(503, "16 follow the record already", code="busy", hint="try again later")
        last = int(asked.get("last", len(self.log)))
        found = [line for line in self.log if asked.get("kind") in (None, line["kind"])][-last:]
        lines = self._follow(found) if asked.get("follow") and not self.ends_logs else self._all(found)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    async def _all(self, found: list[Json]) -> AsyncIterator[str]:
        for line in found:
            yield _entry(line)
        yield json.dumps({"stage": "done", "entries": len(self.log)}) + "\n"

    async def _follow(self, found: list[Json]) -> AsyncIterator[str]:
        told = {line["id"] for line in self.log}
        self.followers += 1
        try:
            while True:
                for line in found:
                    yield _entry(line)
                await asyncio.sleep(0.02)
                found = [line for line in self.log if line["id"] not in told]
                told |= {line["id"] for line in found}
        finally:
            self.followers -= 1

    async def _get_contributions(self, _request: Request, _body: Json) -> Response:
        return JSONResponse(self.contributions)


def _entry(line: Json) -> str:
    return json.dumps({"stage": "entry", "entry": line}) + "\n"
