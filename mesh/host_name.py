"""`<name>.local`: the name by which phones find the page of this node, answered over mDNS while it is wanted.

A machine that has the name already keeps it, and this node takes the next one.  Where this very machine answers to it
(its own mDNS responder, under the machine's name), the name is used as it is and nothing is registered: two responders
with different records for one name would drive each other away.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Final

from zeroconf import (  # type: ignore[attr-defined]  # the DNS classes are public, though not in __all__
    DNSAddress,
    DNSOutgoing,
    DNSQuestion,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    Zeroconf,
    current_time_millis,
)
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mesh.core.host_names import DOMAIN, TRIES, host_labels

log = logging.getLogger(__name__)

SERVICE: Final = "_http._tcp.local."
DNS_QUERY, DNS_A, DNS_AAAA, DNS_IN = 0, 1, 28, 1  # RFC 1035, RFC 3596
PROBES: Final = 3
PROBE_S: Final = 0.25  # RFC 6762, 8.1
CHECK_S: Final = 60.0  # between looks whether a name that another responder answers still is
CONFLICT_S: Final = 10.0  # how long a name is kept at least, whoever disputes it

Addresses = frozenset[bytes]


class HostName:
    """Has at most one name at a time; `on_change` is called in the loop when that is another than before.

    here: every address of this machine.  use: those to be told, as text.
    """

    def __init__(self, node_id: str, *, on_change: Callable[[], None] | None = None) -> None:
        self._suffix = node_id[:8]
        self._on_change = on_change
        self._wanted: tuple[str, int] | None = None
        self._name = ""
        self._news = asyncio.Event()
        self._disputed = False
        self._claimed = ""  # the host of the records that are told, from the first one on
        self._told = (frozenset[bytes](), frozenset[bytes]())  # the addresses told last, and those before

    @property
    def name(self) -> str:
        """The name that leads here now, as `ember.local`; empty while there is none."""
        return self._name

    def want(self, node_name: str | None, port: int) -> None:
        """Answer to a name made of this one, for a page at that port; None: to no name."""
        self._wanted = None if node_name is None else (node_name, port)
        self._news.set()

    def moved(self) -> None:
        """Say that this machine's addresses are others than before."""
        self._news.set()

    async def run(
        self, zeroconf: AsyncZeroconf, *, here: Callable[[], Addresses], use: Callable[[], list[str]]
    ) -> None:
        """Have the wanted name until cancelled; zeroconf says goodbye when it is closed."""

        def own() -> Addresses:
            """This machine's addresses, and those that it has just lost: echoes of them are no other machine."""
            return here().union(*self._told)

        ears = _Disputes(lambda: self._claimed, own, self._dispute)
        zeroconf.zeroconf.async_add_listener(ears, None)
        try:
            while True:
                # So that boards that start together, or have both taken a name, do not ask together.
                await asyncio.sleep(random.uniform(0, CONFLICT_S if self._disputed else PROBE_S))  # noqa: S311
                self._news.clear()
                self._disputed = False
                wanted, addresses, info = self._wanted, use(), None
                if wanted is not None and addresses:
                    info = await self._take(zeroconf, *wanted, addresses, own)
                await self._wait(None if self._wanted is None or info is not None else CHECK_S)
                if info is not None:
                    await self._give_back(zeroconf, info)
        finally:
            self._set_name("")
            zeroconf.zeroconf.async_remove_listener(ears)

    async def _take(
        self, zeroconf: AsyncZeroconf, node_name: str, port: int, addresses: list[str], own: Callable[[], Addresses]
    ) -> AsyncServiceInfo | None:
        """Find a name that is free, and register it; None where there is nothing to register."""
        for label in host_labels(node_name):
            host = f"{label}.{DOMAIN}"
            holders = await _holders(zeroconf.zeroconf, f"{host}.")
            if holders - own():
                log.info("another machine has the name %s", host)
                continue
            info = None
            if not holders:
                info = AsyncServiceInfo(
                    SERVICE,
                    f"{label} {self._suffix}.{SERVICE}",
                    port=port,
                    server=f"{host}.",
                    parsed_addresses=addresses,
                )
                self._claimed = info.server or ""
                self._told = (frozenset(info.addresses_by_version(IPVersion.All)), self._told[0])
                telling = await zeroconf.async_register_service(info, cooperating_responders=True)
                self._set_name(host)
                await telling
            self._set_name(host)
            return info
        log.warning("%d machines have names like %s; this one has none", TRIES, node_name)
        self._set_name("")
        return None

    async def _give_back(self, zeroconf: AsyncZeroconf, info: AsyncServiceInfo) -> None:
        if self._wanted is None:
            self._set_name("")
        self._claimed = ""
        await (await zeroconf.async_unregister_service(info))
        # Our own records come back over the network: they are not another's.
        cache = zeroconf.zeroconf.cache
        cache.async_remove_records(list(cache.async_entries_with_name(info.server or "")))

    async def _wait(self, seconds: float | None) -> None:
        """Wait for news; a dispute is not settled more often than every CONFLICT_S."""
        if self._wanted is None:
            self._set_name("")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        if self._disputed:
            await asyncio.sleep(CONFLICT_S)

    def _dispute(self) -> None:
        if not self._disputed:
            log.warning("another machine uses the name %s too", self._claimed)
            self._disputed = True
            self._news.set()

    def _set_name(self, name: str) -> None:
        if name != self._name:
            self._name = name
            if name:
                log.info("phones find this node at %s", name)
            if self._on_change is not None:
                self._on_change()


class _Disputes(RecordUpdateListener):
    """Notices when another machine answers to the name of this one."""

    def __init__(self, name: Callable[[], str], own: Callable[[], Addresses], on_dispute: Callable[[], None]) -> None:
        self._name = name
        self._own = own
        self._on_dispute = on_dispute

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:  # noqa: ARG002  zeroconf's
        """Look at the addresses that a packet tells."""
        name = self._name()
        for record in (update.new for update in records):
            if not isinstance(record, DNSAddress) or record.name.lower() != name or record.ttl == 0:
                continue
            if record.address not in self._own():
                self._on_dispute()


async def _holders(zeroconf: Zeroconf, host: str) -> Addresses:
    """Ask who answers to a name: the addresses told."""
    found: set[bytes] = set()
    for _ in range(PROBES):
        probe = DNSOutgoing(DNS_QUERY)
        probe.add_question(DNSQuestion(host, DNS_A, DNS_IN))
        probe.add_question(DNSQuestion(host, DNS_AAAA, DNS_IN))
        zeroconf.async_send(probe)
        await asyncio.sleep(PROBE_S)
        now = current_time_millis()
        known = zeroconf.cache.async_entries_with_name(host)
        found |= {one.address for one in known if isinstance(one, DNSAddress) and not one.is_expired(now)}
        if found:
            break
    return frozenset(found)
