"""mDNS: find the addresses of nodes in reach, and let them find ours.

What is found is an address, never trust: a record from the network is parsed into a frozen `Sighting` or dropped.
The interfaces are always named explicitly to zeroconf, and polled, because they come and go.
"""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from zeroconf import (  # type: ignore[attr-defined]  # the DNS classes are public, though not in __all__
    DNSAddress,
    DNSOutgoing,
    DNSQuestion,
    DNSQuestionType,
    Error,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mesh.addresses import near_first
from mesh.allowance import Allowance
from mesh.core.topic_policy import NODE_ID
from mesh.facts import Hearing
from mesh.host_name import HostName
from mesh.interfaces import AUTO, Interface, choose, survey, unknown
from mesh.netlink import network_news
from mesh.sightings import VERSION, Sighting

log = logging.getLogger(__name__)

SERVICE = "_hearthmesh._tcp.local."

MAX_SIGHTINGS = 256
MAX_RESOLVING = 32
POLL_S = 3.0  # the kernel tells of most changes at once, but not everywhere of all
SETTLED_S = 0.2  # a change of the network comes in several steps
PAUSE_MAX_S = 30.0  # between tries to use mDNS where that fails
RESOLVE_MS = 3000
DNS_QUERY, DNS_ANY, DNS_IN = 0, 255, 1  # RFC 1035
DNS_ANSWER, DNS_KINDS = 0x8400, {4: 1, 6: 28}  # A and AAAA; RFC 3596
PROBES = 2
PROBE_S = 0.15
CLONE_CHECK_S = 60.0
DROPS_LOGGED_PER_S = 1 / 60
HEARD_WITHIN_S = 3.0  # an announcement comes back to its sender at once, and is repeated
ANSWERED_S = 1.5  # answers wait for up to 1.12 s (RFC 6762, 6)
FLUSHED_S = 1.1  # after another address has been told, the old one counts for a second (RFC 6762, 10.2)
BROWSE_ANEW_S = 600.0  # zeroconf's browser asks no more, and does not say so, once a query of its own has failed


class Discovery:
    """Announces this node and reports who else is there, in the event loop.

    `on_sighting` is called for each new or changed record, `on_lost` when a node says goodbye or its record runs out,
    `on_moved` when this node's own addresses are others than before, `on_duplicate` with where another machine uses
    its id; if that was there first, this node stays unannounced until it is gone.  It is reported, not raised: a record
    is no proof, and must not be able to stop a node.  `host_name` is answered on the same interfaces.
    """

    def __init__(
        self,
        *,
        node_id: str,
        mqtt_port: int,
        door_port: int,
        interfaces: tuple[str, ...] = (AUTO,),
        on_sighting: Callable[[Sighting], None],
        on_lost: Callable[[str], None] | None = None,
        on_duplicate: Callable[[Sighting | None], None] | None = None,
        on_moved: Callable[[], None] | None = None,
        poll_s: float = POLL_S,
        look: Callable[[], tuple[Interface, ...]] = survey,
        host_name: HostName | None = None,
    ) -> None:
        self._node_id = node_id
        self._name = f"{node_id}.{SERVICE}"
        self._mqtt_port = mqtt_port
        self._door_port = door_port
        self._interfaces = interfaces
        self._on_sighting = on_sighting
        self._on_lost = on_lost
        self._on_duplicate = on_duplicate
        self._on_moved = on_moved
        self._poll_s = poll_s
        self._look = look
        self._host_name = host_name or HostName(node_id)
        # Fresh for each start, so that a clone's record can be told from our own.
        self._host = f"{node_id[:8]}-{secrets.token_hex(4)}.local."
        self._sightings = OrderedDict[str, Sighting]()
        self._resolving: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._news = asyncio.Event()
        self._addresses: tuple[str, ...] = ()
        self._unknown: tuple[str, ...] = ()
        self._ears = _Ears(self._host, self._addresses_told)
        self._addresses_told_at = 0.0
        self._looking_again = False
        self._failure = ""
        self._announced_at = float("inf")
        self._dropped = 0
        self._drop_lines = Allowance(DROPS_LOGGED_PER_S)
        self._clone_reported_at = -CLONE_CHECK_S

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """Who is in reach as far as records tell; a node that was killed stays until its record runs out."""
        return tuple(self._sightings.values())

    @property
    def hearing(self) -> Hearing:
        """Whether mDNS works here, as far as this node can tell."""
        announced = time.monotonic() - self._announced_at >= HEARD_WITHIN_S
        return Hearing(failure=self._failure, announced=announced, own=self._ears.own, others=self._ears.others)

    async def run(self, ready: asyncio.Event) -> None:
        """Browse and announce until cancelled, then say goodbye; `ready` is set once it browses, or cannot yet."""
        pause_s = self._poll_s
        with network_news() as self._news:
            while True:
                self._look_around()
                try:
                    zeroconf = AsyncZeroconf(interfaces=list(self._addresses), ip_version=_ip_version())
                except (OSError, RuntimeError) as error:  # the latter for an address that has gone meanwhile
                    self._fail(error)
                    ready.set()
                    await self._pause(pause_s)
                    pause_s = min(2 * pause_s, PAUSE_MAX_S)
                else:
                    self._failure = ""
                    await self._live(zeroconf, ready)

    async def _live(self, zeroconf: AsyncZeroconf, ready: asyncio.Event) -> None:
        zeroconf.zeroconf.async_add_listener(self._ears, None)
        self._browser = self._browse(zeroconf)
        # A task of its own: a cancelled wait would cancel zeroconf's own start, and closing it would then leak sockets.
        starting = asyncio.create_task(zeroconf.zeroconf.async_wait_for_start(), name="discovery start")
        try:
            await asyncio.shield(starting)
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._announce(zeroconf), name="discovery announcement")
                tasks.create_task(self._follow_interfaces(zeroconf), name="discovery interfaces")
                answering = self._host_name.run(
                    zeroconf, here=lambda: self._ears.here, use=lambda: list(self._addresses)
                )
                tasks.create_task(answering, name="host name")
                ready.set()
        finally:
            self._tasks = None
            await asyncio.wait([starting])
            if not self._browser.done:  # it is where the end comes in the midst of a change of networks
                await self._browser.async_cancel()
            await zeroconf.async_close()  # sends the goodbye

    async def _follow_interfaces(self, zeroconf: AsyncZeroconf) -> None:
        browsing_since = time.monotonic()
        while True:
            await self._pause(self._poll_s)
            if not self._look_around():
                if time.monotonic() - browsing_since >= BROWSE_ANEW_S:
                    await self._browser.async_cancel()
                    self._browser, browsing_since = self._browse(zeroconf), time.monotonic()
                continue
            log.info("the network changed: %s", ", ".join(self._addresses) or "no address")
            self._ears.forget()
            await self._browser.async_cancel()
            known = zeroconf.zeroconf.registry.async_get_info_name(self._name.lower())
            if known is not None:
                # First, for new interfaces announce what stands there.
                await zeroconf.async_update_service(self._own_record())
                self._announced_at = time.monotonic()
            try:
                await zeroconf.async_update_interfaces(interfaces=list(self._addresses))
                self._failure = ""
                gone = {*known.parsed_scoped_addresses()} - {*self._addresses} if known is not None else ()
                if gone and self._tasks is not None:
                    self._tasks.create_task(self._take_back(zeroconf.zeroconf, gone), name="discovery goodbye")
            except (OSError, RuntimeError) as error:  # as above
                self._fail(error)
                self._addresses = ()  # so that it is tried again
            self._browser = self._browse(zeroconf)  # a new one asks again, also on the new interfaces
            self._host_name.moved()

    async def _take_back(self, zeroconf: Zeroconf, addresses: Collection[str]) -> None:
        """Say that this node is no longer at an address: who heard of it a second ago would go on believing it.

        Twice, for answers that told it may have been waiting for their turn.
        """
        for pause_s in (0.0, ANSWERED_S):
            await asyncio.sleep(pause_s)
            for one in {*addresses} - {*self._addresses}:
                gone, goodbye = ipaddress.ip_address(one.partition("%")[0]), DNSOutgoing(DNS_ANSWER)
                goodbye.add_answer_at_time(DNSAddress(self._host, DNS_KINDS[gone.version], DNS_IN, 0, gone.packed), 0)
                zeroconf.async_send(goodbye)

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until the kernel has told of a change, and that has had a moment to settle."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
                await asyncio.sleep(SETTLED_S)

    def _look_around(self) -> bool:
        """Look at the interfaces; return whether the addresses to use are others now.

        Says which of the wanted interfaces are not there.
        """
        interfaces = self._look()
        self._ears.at(interfaces)
        missing = unknown(interfaces, self._interfaces)
        if missing != self._unknown and missing:
            there = ", ".join(one.name for one in interfaces)
            log.warning(
                "[discovery] interfaces: there is no %s here (there are: %s); it is used once it is there",
                " and no ".join(missing),
                there,
            )
        self._unknown = missing
        before, self._addresses = self._addresses, choose(interfaces, self._interfaces)
        if before != self._addresses and self._on_moved is not None:
            self._on_moved()
        return before != self._addresses

    def _fail(self, error: Exception) -> None:
        failure = getattr(error, "strerror", None) or str(error)
        if failure != self._failure:
            log.warning("mDNS cannot be used (%s); it is tried again", failure)
        self._failure = failure

    def _browse(self, zeroconf: AsyncZeroconf) -> AsyncServiceBrowser:
        # Not QU: a unicast answer reaches only one of several processes on a machine.
        asking = DNSQuestionType.QM
        return AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[self._changed], question_type=asking)

    async def _announce(self, zeroconf: AsyncZeroconf) -> None:
        """Announce this node, unless another machine does so already under the same id."""
        while await self._is_taken(zeroconf.zeroconf):  # noqa: ASYNC110  a record that runs out tells nobody
            await asyncio.sleep(CLONE_CHECK_S)
        # Its own probing takes 1.2 s; ours is done (zeroconf calls leaving it out "cooperating").
        sent = await zeroconf.async_register_service(self._own_record(), cooperating_responders=True)
        self._announced_at = time.monotonic()
        await sent

    async def _is_taken(self, zeroconf: Zeroconf) -> bool:
        """Probe for the own name (RFC 6762, 8.1, at a faster pace); a responder defends its name at once."""
        probe = DNSOutgoing(DNS_QUERY)
        probe.add_question(DNSQuestion(self._name, DNS_ANY, DNS_IN))  # not zeroconf's own, which is QU
        probe.add_authorative_answer(self._own_record().dns_pointer())
        for _ in range(PROBES):
            zeroconf.async_send(probe)
            await asyncio.sleep(PROBE_S)
            taken = AsyncServiceInfo(SERVICE, self._name)
            if taken.load_from_cache(zeroconf):
                self._report_clone(taken)
                return True
        return False

    def _own_record(self) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE,
            self._name,
            port=self._mqtt_port,
            properties={"id": self._node_id, "v": VERSION, "port": str(self._mqtt_port), "door": str(self._door_port)},
            server=self._host,
            parsed_addresses=list(self._addresses),
        )

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if not NODE_ID.fullmatch(name.removesuffix(f".{service_type}")):
            # zeroconf would repeat it among the answers it knows, and stumbles over names it cannot write.
            record = zeroconf.cache.current_entry_with_name_and_alias(service_type, name)
            zeroconf.cache.async_remove_records([record] if record is not None else [])
            self._drop()
            return
        if name == self._name:
            own = AsyncServiceInfo(service_type, name)
            if own.load_from_cache(zeroconf) and own.server != self._host:
                self._report_clone(own)
            return
        if state_change is ServiceStateChange.Removed:
            node_id = name.removesuffix(f".{service_type}")
            if self._sightings.pop(node_id, None) is not None and self._on_lost is not None:
                self._on_lost(node_id)
            return
        info = AsyncServiceInfo(service_type, name)
        if info.load_from_cache(zeroconf):
            self._see(info)
        elif self._tasks is not None and name not in self._resolving and len(self._resolving) < MAX_RESOLVING:
            self._resolving.add(name)
            self._tasks.create_task(self._resolve(zeroconf, info), name="discovery resolve")

    def _addresses_told(self, zeroconf: Zeroconf) -> None:
        """Look at the known nodes again, once addresses that are told no more have run out: nobody tells of that."""
        self._addresses_told_at = time.monotonic()
        if not self._looking_again and self._tasks is not None:
            self._looking_again = True
            self._tasks.create_task(self._look_again(zeroconf), name="discovery addresses")

    async def _look_again(self, zeroconf: Zeroconf) -> None:
        while (rest_s := self._addresses_told_at + FLUSHED_S - time.monotonic()) > 0:  # noqa: ASYNC110  a time is waited for
            await asyncio.sleep(rest_s)
        self._looking_again = False
        for node_id in list(self._sightings):
            info = AsyncServiceInfo(SERVICE, f"{node_id}.{SERVICE}")
            if info.load_from_cache(zeroconf) and info.addresses_by_version(IPVersion.All):
                self._see(info)

    async def _resolve(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        try:
            if await info.async_request(zeroconf, RESOLVE_MS, DNSQuestionType.QM):
                self._see(info)
        except (Error, ValueError):  # a name in the record that cannot be asked for
            self._drop()
        finally:
            self._resolving.discard(info.name)

    def _see(self, info: AsyncServiceInfo) -> None:
        sighting = sighting_of(info)
        if sighting is None:
            self._drop()
            return
        sighting = replace(sighting, addresses=near_first(sighting.addresses, self._ears.networks))
        if self._sightings.get(sighting.node_id) != sighting:
            self._sightings[sighting.node_id] = sighting
            self._sightings.move_to_end(sighting.node_id)
            if len(self._sightings) > MAX_SIGHTINGS:
                self._sightings.popitem(last=False)
            self._on_sighting(sighting)

    def _report_clone(self, record: AsyncServiceInfo) -> None:
        now = time.monotonic()
        if now - self._clone_reported_at >= CLONE_CHECK_S:
            self._clone_reported_at = now
            if self._on_duplicate is not None:
                self._on_duplicate(sighting_of(record))

    def _drop(self) -> None:
        """Count a malformed record; a flood of them is one line a minute."""
        self._dropped += 1
        if self._drop_lines.take():
            log.info("%d malformed mDNS records dropped", self._dropped)
            self._dropped = 0


class _Ears(RecordUpdateListener):
    """Notices whether anything is heard over mDNS at all: our own announcement, and other machines."""

    def __init__(self, host: str, on_addresses: Callable[[Zeroconf], None]) -> None:
        self._host = host.lower()
        self._on_addresses = on_addresses
        self.here: frozenset[bytes] = frozenset()
        self.networks: tuple[str, ...] = ()
        self.forget()

    def forget(self) -> None:
        """Begin anew: the network is another one."""
        self.own = self.others = False

    def at(self, interfaces: Iterable[Interface]) -> None:
        """Know which addresses are this machine's."""
        self.networks = tuple(network for one in interfaces for network in one.networks)
        self.here = frozenset(ipaddress.ip_interface(network).ip.packed for network in self.networks)

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:  # noqa: ARG002  zeroconf's
        """Look at the addresses that a packet tells."""
        addresses = [update.new for update in records if isinstance(update.new, DNSAddress)]
        for record in addresses:
            if record.name.lower() == self._host:
                self.own = True
            elif record.address not in self.here:
                self.others = True
        if addresses:
            self._on_addresses(zc)


def _ip_version() -> IPVersion:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return IPVersion.V4Only
    return IPVersion.All


def sighting_of(info: AsyncServiceInfo) -> Sighting | None:
    """Read a resolved mDNS record; None when it is not one of ours or not sound."""
    addresses = info.parsed_scoped_addresses(IPVersion.All)
    return Sighting.told(info.name.removesuffix(f".{SERVICE}"), info.properties, addresses)
