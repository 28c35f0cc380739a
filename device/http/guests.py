"""POST /guest/session: a phone shows the key of its QR code once, and has a cookie of its own from then on."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from device.core.access import digest_of
from device.core.json_fields import parse_object
from device.core.tries import Tries
from device.errors import BadRequestError, UnknownKeyError
from device.http.gate import TLS_COOKIE, cookie_of, source_of, tried
from device.http.requests import read_body
from device.keyring import KeyRing

MAX_KEY_CHARACTERS = 128
MAX_BODY_BYTES = 1024  # from strangers: parsing must cost nothing


def guest_routes(keyring: KeyRing, tries: Tries) -> list[Route]:
    """What a phone does before it asks."""

    async def open_session(request: Request) -> Response:
        key = parse_object(await read_body(request, max_bytes=MAX_BODY_BYTES)).get("key")
        if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARACTERS:
            raise BadRequestError(f"key: a text of 1 to {MAX_KEY_CHARACTERS} characters", param="key")
        reply = Response(status_code=204)
        if not _is_in_already(request, key):
            source = source_of(request.scope)
            token = tried(tries, source, lambda: keyring.open_session(key, source))
            # No max_age: the phone forgets it with the browser.
            name = cookie_of(request.scope)
            reply.set_cookie(name, token, httponly=True, samesite="strict", secure=name == TLS_COOKIE)
        return reply

    def _is_in_already(request: Request, key: str) -> bool:
        try:
            return keyring.caller_of_session(request.cookies.get(cookie_of(request.scope), "")).key == digest_of(key)
        except UnknownKeyError:
            return False

    return [Route("/guest/session", open_session, methods=["POST"])]
