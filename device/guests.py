"""What the owner does about others: keys for programs, and the LAN opened to guests by a QR code."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from device.api import ApiKey, GuestAccess, HttpsAddress, Keys, NewKey
from device.core.access import ASK, UNLIMITED, Key, host_of_address
from device.core.budgets import Allowance
from device.keyring import KeyRing
from device.ports import Lan, Mesh

GUESTS_NAME: Final = "guests"
# A phone's chat with a small board: enough for a conversation, too little to keep the board from everyone else.
GUESTS: Final = Allowance(per_minute=6, per_day=50_000)
NAMED_WITHIN_S: Final = 5.0  # finding a free name takes a second; where mDNS cannot be used it never comes


class Guests:
    """Keys and the LAN.  always_open: the configuration opens the LAN, whatever is said here."""

    def __init__(
        self, keyring: KeyRing, lan: Lan, *, mesh: Mesh, port: int, always_open: bool, https: HttpsAddress | None = None
    ) -> None:
        self._keyring = keyring
        self._lan = lan
        self._mesh = mesh
        self._port = port
        self._https = https
        self._news = asyncio.Event()
        mesh.on_change(self._news.set)
        self._always_open = always_open
        self._key: Key | None = None
        self._secret = ""  # of the key of this run, so that its code can be shown again

    @property
    def is_open(self) -> bool:
        """Whether this node is reachable over the network."""
        return self._lan.is_open

    @property
    def phones(self) -> int:
        """How many phones have come with a guests' key."""
        return self._keyring.phones

    @property
    def names(self) -> frozenset[str]:
        """What this node is called on the LAN."""
        return frozenset({"localhost", *self._hosts(self._lan.addresses), *self._hosts(self._lan.tls_addresses)})

    def _hosts(self, addresses: Sequence[str]) -> list[str]:
        name = self._mesh.host_name
        return [*([name] if name else []), *(host_of_address(one) for one in addresses)]

    def start(self) -> None:
        """Listen on the LAN where the configuration or the owner has said so."""
        if self._always_open or self._keyring.lan_opened:
            self._open_lan()

    def _open_lan(self) -> None:
        self._lan.open()
        self._mesh.publish_host(self._mesh.name, port=self._port)

    def keys(self) -> Keys:
        """All keys, and when each was last used."""
        return Keys(keys=tuple(self._shown(key) for key in self._keyring.keys))

    async def add_key(self, name: str, scopes: tuple[str, ...], allowance: Allowance = UNLIMITED) -> NewKey:
        """Make a key for a program.  Raises BadRequestError, DataDirectoryError."""
        key, secret = await self._keyring.add(name, scopes, allowance=allowance)
        return NewKey(key=self._shown(key), secret=secret)

    async def remove_key(self, wanted: str) -> None:
        """Revoke a key by name or id.  Raises NoSuchKeyError, BadRequestError, DataDirectoryError."""
        await self._keyring.remove(wanted)

    async def open(self, allowance: Allowance = GUESTS) -> GuestAccess:
        """Open the LAN, with a key for guests.  Raises BadRequestError, DataDirectoryError.

        The code of this run is shown again; after a restart there is a new one, and those handed out before stay valid.
        """
        if self._key not in self._keyring.keys or self._key.allowance != allowance:
            self._key, self._secret = await self._keyring.add(GUESTS_NAME, (ASK,), guest=True, allowance=allowance)
        await self._keyring.open_lan()
        self._open_lan()
        await self._named()
        return self.status()

    async def _named(self) -> None:
        """Wait until it is known which name leads here: a code with another machine's would hand the key to that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NAMED_WITHIN_S):
                while not self._mesh.host_name:
                    self._news.clear()
                    await self._news.wait()

    async def close(self) -> GuestAccess:
        """Close the LAN, unless the configuration opens it, and revoke every key for guests.

        Both happen whatever the disk says.  A DataDirectoryError tells that they do not outlast this run.
        """
        if not self._always_open:
            self._lan.close()
            self._mesh.publish_host(None, port=self._port)
        await self._keyring.close_lan()
        return self.status()

    def status(self) -> GuestAccess:
        """How it is now; with the addresses to be scanned, if their key is known."""
        key = self._key if self._key in self._keyring.keys else None
        fragment = f"/#k={self._secret}" if key else "/"
        allowance = key.allowance if key else UNLIMITED
        return GuestAccess(
            open=self._lan.is_open,
            urls=self._urls("http", self._lan.addresses, self._port, fragment),
            https_urls=self._urls("https", self._lan.tls_addresses, self._https.port if self._https else 0, fragment),
            fingerprint=self._https.fingerprint if self._https else "",
            phones=self._keyring.phones,
            guest_keys=sum(one.guest for one in self._keyring.keys),
            shows_key=key is not None,
            per_minute=allowance.per_minute,
            per_day=allowance.per_day,
        )

    def _urls(self, scheme: str, addresses: Sequence[str], port: int, fragment: str) -> tuple[str, ...]:
        return tuple(f"{scheme}://{host}:{port}{fragment}" for host in (self._hosts(addresses) if addresses else ()))

    def _shown(self, key: Key) -> ApiKey:
        used_ago_s = self._keyring.used_ago_s(key)
        left = self._keyring.meter.left(key.digest, key.allowance)
        return ApiKey(
            id=key.id,
            name=key.name,
            scopes=key.scopes,
            guest=key.guest,
            used_ago_s=None if used_ago_s is None else round(used_ago_s),
            per_minute=key.allowance.per_minute,
            per_day=key.allowance.per_day,
            tokens_left=left,
            renews_in_s=None if left is None else round(self._keyring.meter.renews_in_s(key.digest)),
        )
