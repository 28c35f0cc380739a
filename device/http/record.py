"""The owner's API for the community's record: its entries, its models, published and retired, and who gave what."""

from dataclasses import asdict
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.administration import Administration
from device.api_of_models import PullProgress
from device.api_of_record import LogEnd, LogLine, OnRecord
from device.core.json_fields import optional, parse_object
from device.core.record_text import Wanted
from device.errors import BadRequestError
from device.http.owners_models import StepStream
from device.http.requests import MAX_TEXT_CHARACTERS, read_body, text_of

MAX_LAST_DIGITS: Final = 9


def record_routes(administration: Administration) -> list[Route]:
    """What `hearth log`, `hearth contributions`, `hearth models publish` and `hearth models retire` ask."""
    publishing = administration.publishing

    async def log(request: Request) -> StepStream[LogLine | LogEnd]:
        asked = request.query_params
        wanted = Wanted(kind=_text(asked, "kind"), author=_text(asked, "author"), model=_text(asked, "model"))
        lines = administration.log.lines(wanted, last=_last(asked), follow=asked.get("follow") == "1")
        return StepStream(lines, _told)

    async def publish(request: Request) -> StepStream[PullProgress | OnRecord]:
        fields = parse_object(await read_body(request))
        return StepStream(publishing.publish(text_of(fields, "name")), _published)

    async def retire(request: Request) -> Response:
        fields = parse_object(await read_body(request))
        reason: str = optional(fields, "reason", str, default="")
        return JSONResponse(asdict(await publishing.retire(text_of(fields, "name"), reason)))

    async def contributions(_: Request) -> Response:
        return JSONResponse(asdict((await administration.readings.now()).contributions))

    return [
        Route("/api/contributions", contributions, methods=["GET"]),
        Route("/api/log", log, methods=["GET"]),
        Route("/api/models/publish", publish, methods=["POST"]),
        Route("/api/models/retire", retire, methods=["POST"]),
    ]


def _told(one: LogLine | LogEnd) -> dict[str, object]:
    if isinstance(one, LogLine):
        return {"stage": "entry", "entry": vars(one)}  # flat, and there may be many
    return {"stage": "done", **asdict(one)}


def _published(one: PullProgress | OnRecord) -> dict[str, object]:
    return {"stage": "done", "on_record": asdict(one)} if isinstance(one, OnRecord) else asdict(one)


def _text(asked: QueryParams, key: str) -> str:
    text = asked.get(key, "")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise BadRequestError(f"{key}: a text of up to {MAX_TEXT_CHARACTERS} characters", param=key)
    return text


def _last(asked: QueryParams) -> int | None:
    text = asked.get("last")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_LAST_DIGITS):
        raise BadRequestError("last: a whole number", param="last")
    return int(text)
