"""Who gets in at which door: everything is decided here before any route sees a request.

The owner's socket lets in whoever the file system lets open it.  Loopback asks for no key, and takes one: that is then
what the request may do, also everything for a key of scope admin, which is how an owner administers over SSH.  The LAN
always asks for a key, or for the cookie of a phone that came with one; it never administers.
"""

import asyncio
import enum
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from device.core.access import (
    ADMIN,
    KEY_PREFIX,
    LOOPBACK,
    LOOPBACK_NAMES,
    OWNER,
    Caller,
    check_cookie_use,
    check_host,
    check_origin,
    check_scope,
    needed_scope,
)
from device.core.tries import Tries
from device.errors import DeviceError, ForbiddenError, UnknownKeyError
from device.http.errors import error_response
from device.keyring import KeyRing

COOKIE: Final = "hearth_guest"
# Over TLS it has another name: what was heard or planted over plain HTTP counts for nothing there.
TLS_COOKIE: Final = f"__Host-{COOKIE}"
OWN_HEADER: Final = "x-hearthmesh"
_CALLER: Final = "hearth.caller"

T = TypeVar("T")


class Door(enum.Enum):
    """Where a request comes in."""

    LOOPBACK = enum.auto()
    LAN = enum.auto()


def caller_of(request: Request) -> Caller:
    """Tell who asks.  Raises UnknownKeyError where nobody needed to say."""
    caller: Caller | None = request.scope.get(_CALLER)
    if caller is None:
        raise UnknownKeyError("this needs a key")
    return caller


class OwnersGate:
    """Lets in whoever could open the socket, as the owner."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        scope[_CALLER] = OWNER
        await self._app(scope, receive, send)


class Gate:
    """The gate of a TCP door.  names: what a Host header may say; owner: the application for keys of scope admin."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        door: Door,
        keyring: KeyRing,
        tries: Tries,
        names: Callable[[], Collection[str]] = lambda: LOOPBACK_NAMES,
        owner: ASGIApp | None = None,
    ) -> None:
        self._app = app
        self._owner = owner
        self._door = door
        self._keyring = keyring
        self._tries = tries
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with who asks, or say why not."""
        app = self._app
        try:
            caller = scope[_CALLER] = self._let_in(scope, Headers(scope=scope))
            if self._owner is not None and caller is not None and caller.key and ADMIN in caller.scopes:
                app = self._owner
        except DeviceError as error:
            app = error_response(error, path=scope["path"])
        await app(scope, receive, send)

    def _let_in(self, scope: Scope, headers: Headers) -> Caller | None:
        host, path = headers.get("host", ""), scope["path"]
        check_host(host, self._names())
        check_origin(headers.get("origin"), f"{scope.get('scheme', 'http')}://{host}")
        caller = self._identified(scope, headers)
        if caller is LOOPBACK:
            return caller
        needed = needed_scope(path)
        if caller is None and needed is not None:
            raise UnknownKeyError("this node asks for a key")
        if needed == ADMIN and self._door is Door.LAN:
            error = ForbiddenError("this is not answered over the network, where anybody may listen")
            error.hint = "use SSH: ssh -L 4327:127.0.0.1:4327 this-node, then ask 127.0.0.1:4327"
            raise error
        if caller is not None:
            check_scope(caller, path)
        return caller

    def _identified(self, scope: Scope, headers: Headers) -> Caller | None:
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and (self._door is Door.LAN or secret.startswith(KEY_PREFIX)):
            # On loopback other keys mean nothing: OpenAI's clients must send one.
            return tried(self._tries, source_of(scope), lambda: self._keyring.caller_of_key(secret.strip()))
        if self._door is Door.LOOPBACK:
            return LOOPBACK
        token = cookie_parser(headers.get("cookie", "")).get(cookie_of(scope), "")
        if not token or needed_scope(scope["path"]) is None:
            return None
        check_cookie_use(scope["method"], origin=headers.get("origin"), marked=OWN_HEADER in headers)
        return self._keyring.caller_of_session(token)  # an old cookie is no guess: its phone is told to scan again


def tried(tries: Tries, source: str, look_up: Callable[[], T]) -> T:
    """Look a key up.  A right one always opens, also where others share its address with whoever guesses.

    Raises UnknownKeyError for a wrong one, and TooManyRequestsError once too many of them came from there.
    """
    try:
        return look_up()
    except UnknownKeyError:
        now = asyncio.get_running_loop().time()
        tries.check(source, now=now)
        tries.failed(source, now=now)
        raise


def cookie_of(scope: Scope) -> str:
    """Name the cookie of a phone that comes in this way."""
    return TLS_COOKIE if scope.get("scheme") == "https" else COOKIE


def source_of(scope: Scope) -> str:
    """The address that a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else "127.0.0.1"
