"""The owner's API for keys and guests."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.core.access import ASK, MAX_NAME_CHARACTERS, SCOPES
from device.core.budgets import Allowance
from device.core.json_fields import parse_object
from device.errors import BadRequestError
from device.guests import GUESTS, Guests
from device.http.requests import read_body

MAX_ALLOWANCE: Final = 2**31


def access_routes(guests: Guests) -> list[Route]:
    """What the owner says about who may ask."""

    async def keys(_: Request) -> Response:
        return JSONResponse(asdict(guests.keys()))

    async def add(request: Request) -> Response:
        fields = parse_object(await read_body(request))
        name, scopes = fields.get("name"), fields.get("scopes", [ASK])
        if not isinstance(name, str):
            raise BadRequestError(f"name: a text of 1 to {MAX_NAME_CHARACTERS} characters", param="name")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise BadRequestError(f"scopes: a list of {', '.join(SCOPES)}", param="scopes")
        made = await guests.add_key(name, tuple(dict.fromkeys(scopes)), _allowance(fields, Allowance()))
        return JSONResponse(asdict(made), status_code=201)

    async def remove(request: Request) -> Response:
        await guests.remove_key(request.path_params["key"])
        return JSONResponse({})

    async def status(_: Request) -> Response:
        return JSONResponse(asdict(guests.status()))

    async def open_lan(request: Request) -> Response:
        body = await read_body(request)
        return JSONResponse(asdict(await guests.open(_allowance(parse_object(body) if body else {}, GUESTS))))

    async def close_lan(_: Request) -> Response:
        return JSONResponse(asdict(await guests.close()))

    return [
        Route("/api/keys", keys, methods=["GET"]),
        Route("/api/keys", add, methods=["POST"]),
        Route("/api/keys/{key}", remove, methods=["DELETE"]),
        Route("/api/guests", status, methods=["GET"]),
        Route("/api/guests", open_lan, methods=["POST"]),
        Route("/api/guests", close_lan, methods=["DELETE"]),
    ]


def _allowance(fields: Mapping[str, Any], default: Allowance) -> Allowance:
    return Allowance(
        per_minute=_number(fields, "per_minute", default.per_minute),
        per_day=_number(fields, "per_day", default.per_day),
    )


def _number(fields: Mapping[str, Any], name: str, default: int) -> int:
    value = default if fields.get(name) is None else fields[name]
    if type(value) is not int or not 0 <= value <= MAX_ALLOWANCE:
        raise BadRequestError(f"{name}: 0 (no limit) to {MAX_ALLOWANCE}", param=name)
    return value
