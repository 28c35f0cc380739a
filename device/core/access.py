"""Who asks and what that one may do: keys, doors, and the names this node goes by.

A key is 160 random bits, so an unsalted fast hash of it (BLAKE2b) gives nothing away: there is no list of likely keys
to try.  Only the hash is kept.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from device.core.admission import Client, Standing
from device.core.budgets import Allowance
from device.errors import BadRequestError, ForbiddenError

ASK: Final = "ask"
EMBED: Final = "embed"
ADMIN: Final = "admin"
SCOPES: Final = (ASK, EMBED, ADMIN)
KEY_PREFIX: Final = "hk_"
KEY: Final = re.compile(r"hk_[a-z2-7]{32}", re.ASCII)
COOKIE: Final = re.compile(r"[a-z2-7]{32}", re.ASCII)
MAX_KEYS: Final = 64
MAX_NAME_CHARACTERS: Final = 63
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
SAFE_METHODS: Final = ("GET", "HEAD")
# What anyone in reach may load: the page, what it is drawn with, and signs of life.  Anything else needs a key.
OPEN_PATHS: Final = frozenset({"/", "/guest/session", "/health", "/readyz", "/docs", "/openapi.json", "/favicon.ico"})
OPEN_FOLDERS: Final = ("/static/",)
EMBED_PATHS: Final = frozenset({"/v1/embeddings", "/api/embed", "/api/embeddings"})
ADMIN_PATHS: Final = frozenset({"/metrics"})
UNLIMITED: Final = Allowance()


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key as it is kept.  id: its public name, the beginning of its hash; guest: it opens the page for guests."""

    name: str
    digest: str
    scopes: tuple[str, ...] = (ASK,)
    guest: bool = False
    allowance: Allowance = UNLIMITED

    def __post_init__(self) -> None:
        if not (1 <= len(self.name) <= MAX_NAME_CHARACTERS and self.name.isprintable() and self.name.strip()):
            raise BadRequestError(f"name: 1 to {MAX_NAME_CHARACTERS} printable characters", param="name")
        if not self.scopes or not set(self.scopes) <= set(SCOPES) or (self.guest and self.scopes != (ASK,)):
            raise BadRequestError(f"scopes: at least one of {', '.join(SCOPES)}; guests may only ask", param="scopes")

    @property
    def id(self) -> str:
        """What people call it where names are equal."""
        return self.digest[:8]


@dataclass(frozen=True)
class Caller:
    """Who asks.  scopes: what it may; key: the digest of the key that let it in, none for the owner's own."""

    client: Client
    scopes: tuple[str, ...]
    key: str = ""


OWNER: Final = Caller(Client("owner", Standing.OWNER), SCOPES)
LOOPBACK: Final = Caller(Client("this machine", Standing.OWN), (ASK, EMBED))


def caller_with(key: Key, *, session: str = "") -> Caller:
    """Who asks with a key; session: the name of a guest's phone, since each is a client of its own."""
    standing = Standing.GUEST if key.guest else Standing.OWN
    return Caller(Client(session or key.digest, standing), key.scopes, key.digest)


def phone_at(source: str, key: Key) -> str:
    """Name the phone that came with a key from an address.

    However many cookies it takes, it has one phone's places, pace and part of the budget.
    """
    return digest_of(f"{key.digest} {source}")


def digest_of(secret: str) -> str:
    """Hash a key or a session's token."""
    return hashlib.blake2b(secret.encode(errors="replace"), digest_size=32, person=b"hearth key/1").hexdigest()


def find_key(wanted: str, keys: Iterable[Key]) -> list[Key]:
    """List the keys that have this id or this name."""
    return [key for key in keys if wanted in (key.id, key.name)]


def needed_scope(path: str) -> str | None:
    """What a caller must be allowed to do for a path; None = anybody may."""
    if path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
        return None
    if path in EMBED_PATHS:
        return EMBED
    return ADMIN if path in ADMIN_PATHS else ASK


def host_of_address(address: str) -> str:
    """Write an IP address as it stands in a URL or a Host header."""
    return f"[{address}]" if ":" in address else address


def check_host(host: str, names: Collection[str]) -> None:
    """Refuse a Host header that is none of this node's names: a page elsewhere has had its name point here."""
    if _without_port(host) not in names:
        # A page under the foreign name can read this: it says nothing of the names and addresses here.
        error = ForbiddenError("the Host header names another machine")
        error.hint = "ask for this node by its own name or address; hearth guests status says them"
        raise error


def check_origin(origin: str | None, own: str) -> None:
    """Refuse a request that another web page makes.  The page at `own`, which is here, and what is no page may ask."""
    if origin is not None and origin.lower() != own.lower():
        raise ForbiddenError("another web page asked; this API is for programs and for this node's own page")


def check_cookie_use(method: str, *, origin: str | None, marked: bool) -> None:
    """Refuse what another page may have a browser send together with a guest's cookie.

    marked: it has a header that no page can send elsewhere without being asked first (CORS).
    """
    if method not in SAFE_METHODS and origin is None and not marked:
        error = ForbiddenError("a request with a cookie must say which page it comes from")
        error.hint = "send an Origin or an X-Hearthmesh header, or use a key instead of the cookie"
        raise error


def check_scope(caller: Caller, path: str) -> None:
    """Refuse what the caller's key is not for; one for admin is for everything."""
    needed = needed_scope(path)
    if needed is not None and not {needed, ADMIN} & set(caller.scopes):
        error = ForbiddenError(f"this key may not do that: it is for {', '.join(caller.scopes)}, not for {needed}")
        error.hint = f"the owner of this node can make one that may: hearth keys add NAME --scope {needed}"
        raise error


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()
