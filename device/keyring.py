"""The keys of this node and the phones that came with one: in one file, written as a whole, hashes only.

A new key is on the disk before anybody hears of it.  What is revoked or closed is so at once; where the disk takes
nothing that is said, and written again later.  What changes with every question (tokens used, last
use, phones) is written a minute after it changed, and at the end: a crash or a power cut gives back at most the tokens
of that minute, and phones of that minute must scan the code again.
"""

import asyncio
import base64
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from device.core.access import (
    MAX_KEYS,
    UNLIMITED,
    Caller,
    Key,
    caller_with,
    digest_of,
    find_key,
    phone_at,
)
from device.core.budgets import Allowance, Spent
from device.core.tries import network_of
from device.data_directory import write_atomically
from device.errors import (
    BadRequestError,
    DataDirectoryError,
    DeviceError,
    ForbiddenError,
    NoSuchKeyError,
    UnknownKeyError,
)
from device.meter import Meter
from device.parsing import MalformedReplyError, parse

FILE_NAME: Final = "keys.json"
VERSION: Final = 1
SECRET_BYTES: Final = 20
WRITE_AFTER_S: Final = 60.0
MAX_SESSIONS: Final = 256
MAX_OF_SOURCE: Final = 8  # sessions from one address: a phone, and its owner's other browsers
SESSION_S: Final = 12 * 3600.0  # without a question; a phone that comes back later scans the code again

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _KeptKey:
    name: str
    digest: str
    scopes: tuple[str, ...]
    guest: bool
    per_minute: int
    per_day: int
    used_at_s: float = -1.0
    tokens: int = 0
    tokens_since_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _KeptSession:
    digest: str
    key: str
    used_at_s: float
    source: str = ""
    tokens: int = 0
    tokens_since_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The file.  age_s: how long the node had been running, all its lives together."""

    version: int
    age_s: float = 0.0
    lan: bool = False
    keys: tuple[_KeptKey, ...] = ()
    sessions: tuple[_KeptSession, ...] = ()


@dataclass
class _Session:
    """A cookie.  source: the address it was given to; phone: what stands for that one in the accounts."""

    key: str
    source: str
    phone: str
    used_at_s: float


class KeyRing:
    """The keys, the phones, and what they have used.  Errors of the disk: DataDirectoryError."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.monotonic, write_after_s: float = WRITE_AFTER_S
    ) -> None:
        """Read the file; where there is none there are no keys.  Raises DataDirectoryError for one that is none."""
        self._path = path
        self._clock = clock
        self._write_after_s = write_after_s
        kept = _read(path)
        self._age_at_start_s, self._started_at = kept.age_s, clock()
        self._keys = {one.digest: _key(one) for one in kept.keys}
        self._used_at = {one.digest: one.used_at_s for one in kept.keys if one.used_at_s >= 0}
        self._sessions = {
            one.digest: _Session(one.key, one.source, phone_at(one.source, self._keys[one.key]), one.used_at_s)
            for one in kept.sessions
            if one.key in self._keys
        }
        self._lan = kept.lan
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self.on_revoked: Callable[[str], None] = lambda _: None
        """Called with the digest of each key that is no more."""
        self.meter = Meter(allowance=self._allowance, age=self.age, on_change=self._changed.set)
        spent = [(one.digest, one.tokens, one.tokens_since_s) for one in kept.keys]
        spent += [
            (self._sessions[one.digest].phone, one.tokens, one.tokens_since_s)
            for one in kept.sessions
            if one.digest in self._sessions
        ]
        for digest, tokens, since_s in spent:
            if tokens:
                self.meter.spent[digest] = Spent(tokens=tokens, since_s=since_s)

    def age(self) -> float:
        """For how many seconds this node has been running, all its lives together."""
        return self._age_at_start_s + self._clock() - self._started_at

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, in the order they were made."""
        return tuple(self._keys.values())

    @property
    def phones(self) -> int:
        """How many phones have come with a guests' key and may still ask."""
        self._drop_old_sessions()
        return len({session.phone for session in self._sessions.values()})

    @property
    def lan_opened(self) -> bool:
        """Whether the owner has opened the LAN to guests."""
        return self._lan

    def used_ago_s(self, key: Key) -> float | None:
        """For how long (of the node's running time) a key has not been used; None = never was."""
        used_at = self._used_at.get(key.digest)
        return None if used_at is None else max(0.0, self.age() - used_at)

    async def add(
        self, name: str, scopes: tuple[str, ...], *, guest: bool = False, allowance: Allowance = UNLIMITED
    ) -> tuple[Key, str]:
        """Make a key; return it with its secret, which nobody can show again.  Raises BadRequestError."""
        secret = f"hk_{_random()}"
        key = Key(name=name, digest=digest_of(secret), scopes=scopes, guest=guest, allowance=allowance)
        if not guest and find_key(name, self.keys):
            raise BadRequestError(f"there is a key {name} already: choose another name", param="name")
        if len(self._keys) >= MAX_KEYS:
            error = BadRequestError(f"there are {MAX_KEYS} keys, which is all there can be")
            error.hint = "remove one that is used no more: hearth keys rm NAME"
            raise error
        self._keys[key.digest] = key
        try:
            await self._write()
        except DeviceError:
            del self._keys[key.digest]
            raise
        return key, secret

    async def remove(self, wanted: str) -> Key:
        """Revoke a key by name or id, and the phones that came with it.  Raises NoSuchKeyError, BadRequestError.

        A DataDirectoryError says that it is revoked until the next start only.
        """
        found = find_key(wanted, self.keys)
        if not found:
            raise NoSuchKeyError(f"there is no key {wanted}")
        if len(found) > 1:
            raise BadRequestError(f"{wanted} may be {' or '.join(key.id for key in found)}: give the id")
        self._drop_keys(found)
        await self._write_now("the key is revoked")
        return found[0]

    async def open_lan(self) -> None:
        """Keep in mind that the LAN is open to guests, beyond this run."""
        before, self._lan = self._lan, True
        try:
            await self._write()
        except DeviceError:
            self._lan = before
            raise

    async def close_lan(self) -> None:
        """Revoke every guests' key, and with it every phone; keep in mind that the LAN is closed.

        A DataDirectoryError says that this holds until the next start only.
        """
        self._lan = False
        self._drop_keys([key for key in self.keys if key.guest])
        await self._write_now("the guests' access is closed")

    def caller_of_key(self, secret: str) -> Caller:
        """Tell who asks with a key.  Raises UnknownKeyError, and ForbiddenError for a guests': that opens a session."""
        key = self._use(digest_of(secret))
        if key.guest:
            error = ForbiddenError("a guests' key is shown once, at /guest/session; from then on the cookie asks")
            error.hint = "open the address of the QR code; a program has a key of its own: hearth keys add NAME"
            raise error
        return caller_with(key)

    def caller_of_session(self, token: str) -> Caller:
        """Tell which phone asks.  Raises UnknownKeyError."""
        self._drop_old_sessions()
        digest = digest_of(token)
        session = self._sessions.get(digest)
        if session is None:
            raise UnknownKeyError("this phone is not known here any more")
        session.used_at_s = self.age()
        return caller_with(self._use(session.key), session=session.phone)

    def open_session(self, secret: str, source: str) -> str:
        """Let a phone in that has a guests' key; return the token it shows from now on.  Raises UnknownKeyError.

        source: the address it comes from.  When there are too many sessions of that, or of all, one must make room:
        of the network that has most, the one that has not asked for longest.
        """
        key = self._use(digest_of(secret))
        if not key.guest:
            raise UnknownKeyError("this key is for programs, not for the page")
        self._drop_old_sessions()
        token = _random()
        self._sessions[digest_of(token)] = _Session(key.digest, source, phone_at(source, key), self.age())
        self._make_room(source)
        return token

    def _make_room(self, source: str) -> None:
        same = [one for one, session in self._sessions.items() if session.source == source]
        if len(same) > MAX_OF_SOURCE:
            self._drop_session(min(same, key=lambda one: self._sessions[one].used_at_s))
        elif len(self._sessions) > MAX_SESSIONS:
            networks = {one: network_of(session.source) for one, session in self._sessions.items()}
            sizes = Counter(networks.values())
            self._drop_session(min(networks, key=lambda one: (-sizes[networks[one]], self._sessions[one].used_at_s)))

    async def run(self) -> None:
        """Write what has changed, a while after it has, until cancelled; `aclose` writes the rest."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(self._write_after_s)
            await self._write_or_log()

    async def aclose(self) -> None:
        """Write what is not written yet."""
        if self._keys or self._path.exists():
            await self._write_or_log()

    async def _write_or_log(self) -> None:
        try:
            await self._write()
        except DeviceError as error:
            self._changed.set()  # there may be room later
            log.error("%s; %s", error, error.hint)  # noqa: TRY400  a message for people; the cause is in it

    def _allowance(self, digest: str) -> Allowance:
        if not digest:
            return UNLIMITED  # who came without one
        if digest not in self._keys:
            raise UnknownKeyError("the key has been revoked")
        return self._keys[digest].allowance

    def _use(self, digest: str) -> Key:
        key = self._keys.get(digest)
        if key is None:
            raise UnknownKeyError("the key is wrong, or has been revoked")
        self._used_at[digest] = self.age()
        self._changed.set()
        return key

    async def _write_now(self, done: str) -> None:
        """Write what the owner took away.  It stays so whatever the disk says: what failed is tried again later."""
        try:
            await self._write()
        except DeviceError as error:
            self._changed.set()
            kept = DataDirectoryError(f"{done}, but not on the disk, and comes back with a restart: {error}")
            kept.hint = f"{error.hint}; once there is room it is written within a minute"
            raise kept from error

    def _drop_keys(self, keys: list[Key]) -> None:
        for key in keys:
            del self._keys[key.digest]
            self._used_at.pop(key.digest, None)
            self.meter.forget(key.digest)
            self.on_revoked(key.digest)
        for digest in [one for one, session in self._sessions.items() if session.key not in self._keys]:
            self._drop_session(digest)

    def _drop_old_sessions(self) -> None:
        oldest = self.age() - SESSION_S
        for digest in [one for one, session in self._sessions.items() if session.used_at_s < oldest]:
            self._drop_session(digest)

    def _drop_session(self, digest: str) -> None:
        phone = self._sessions.pop(digest).phone
        if all(session.phone != phone for session in self._sessions.values()):
            self.meter.forget(phone)

    async def _write(self) -> None:
        async with self._writing:
            self._changed.clear()
            content = json.dumps(asdict(self._kept()), ensure_ascii=False, indent=1).encode() + b"\n"
            await asyncio.to_thread(write_atomically, self._path, content)

    def _kept(self) -> _Kept:
        keys = [
            _KeptKey(
                name=key.name,
                digest=key.digest,
                scopes=key.scopes,
                guest=key.guest,
                per_minute=key.allowance.per_minute,
                per_day=key.allowance.per_day,
                used_at_s=self._used_at.get(key.digest, -1.0),
                tokens=self._spent(key.digest).tokens,
                tokens_since_s=self._spent(key.digest).since_s,
            )
            for key in self.keys
        ]
        sessions = [
            _KeptSession(
                digest=digest,
                key=session.key,
                used_at_s=session.used_at_s,
                source=session.source,
                tokens=self._spent(session.phone).tokens,
                tokens_since_s=self._spent(session.phone).since_s,
            )
            for digest, session in self._sessions.items()
            if session.key in self._keys
        ]
        return _Kept(version=VERSION, age_s=self.age(), lan=self._lan, keys=tuple(keys), sessions=tuple(sessions))

    def _spent(self, digest: str) -> Spent:
        return self.meter.spent.get(digest, Spent())


def _read(path: Path) -> _Kept:
    try:
        kept = parse(_Kept, json.loads(path.read_bytes()), path.name)
        if kept.version != VERSION:
            raise MalformedReplyError(f"version {kept.version} is none that this program knows")
        for one in kept.keys:
            _key(one)
    except FileNotFoundError:
        return _Kept(version=VERSION)
    except (OSError, ValueError, RecursionError, BadRequestError) as error:
        damaged = DataDirectoryError(f"the keys in {path} cannot be read: {error}")
        damaged.hint = "restore the file, or move it away: then every key must be made anew (hearth keys add NAME)"
        raise damaged from error
    return kept


def _key(one: _KeptKey) -> Key:
    allowance = Allowance(per_minute=one.per_minute, per_day=one.per_day)
    return Key(name=one.name, digest=one.digest, scopes=one.scopes, guest=one.guest, allowance=allowance)


def _random() -> str:
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode().lower()
