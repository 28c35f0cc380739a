"""Which links this node keeps: to every member in reach that is not blocked, or a few of them where there are many.

A member is dialled once its address is known and it has given a key to its broker; without a key its door is knocked
at first.  What arrives at the own broker goes to the link of whoever sent it: the broker vouches for the topic.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mesh.access import ROLES, Access
from mesh.broker import Broker
from mesh.choosing import CHOOSE_EVERY_S, QUIET_S, Choosing
from mesh.community import CommunityStore
from mesh.core import crypto
from mesh.core.door_messages import Grant
from mesh.core.frames import FrameType, Lane
from mesh.core.lane import Ends
from mesh.core.membership import Member
from mesh.core.topic_policy import CommonName, Role
from mesh.counters import Counted
from mesh.errors import CertificateError, MeshError, StorageError
from mesh.identity import Identity
from mesh.links import Link, LinkEvents, LinkState
from mesh.sightings import Sighting, Sightings
from mesh.slots import Slot
from mesh.views import BLOCKED, Neighbour
from mesh.visits import DoorAddress, Visitor

log = logging.getLogger(__name__)

RENEW_AFTER_S: Final = 5.0  # a link that stays down this long asks the neighbour for a new key to its broker
REKEY_S: Final = 2.0
BACKOFF_FIRST_S: Final = 0.5
POLICY_RETRY_S: Final = 5.0
BACKOFF_MAX_S: Final = 300.0
LANES: Final = {role: lane for lane, role in ROLES.items()}


class Neighbourhood:
    """Keeps the links; `run` must be running for anything to happen."""

    def __init__(
        self,
        *,
        identity: Identity,
        store: CommunityStore,
        access: Access,
        visitor: Visitor,
        broker: Broker,
        events: LinkEvents,
        on_change: Callable[[], None],
        on_frame: Callable[[Link, Lane, bytes], None],
    ) -> None:
        self._identity = identity
        self._store = store
        self._access = access
        self._visitor = visitor
        self._broker = broker
        self._events = replace(events, on_state=self._state_changed)
        self._on_state = events.on_state
        self._on_change = on_change
        self._on_frame = on_frame
        self._slots: dict[str, Slot] = {}  # by node id
        self._sightings = Sightings()
        self._expected: bytes | None = None  # raw id of the member that is being told so at this node's door
        self._tasks: asyncio.TaskGroup | None = None
        self._choosing = Choosing(identity.raw_id)
        self._policy_changed = asyncio.Event()

    async def run(self) -> None:
        """Keep links until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._choosing.began(now=time.monotonic())
            self.reconcile()
            tasks.create_task(self._choose_first(), name="first choice of neighbours")
            tasks.create_task(self._choose_again(), name="choice of neighbours")
            try:
                while True:
                    await self._policy_changed.wait()
                    self._policy_changed.clear()
                    try:
                        await self._broker.set_peers({member.node_id for member in self._wanted()})
                    except StorageError as error:
                        log.error("the broker's access list is not up to date: %s", error)  # noqa: TRY400  for people
                        await asyncio.sleep(POLICY_RETRY_S)
                        self._policy_changed.set()
            finally:
                self._tasks = None

    @property
    def links(self) -> Sequence[Link]:
        """Every link there is, up or not."""
        return [slot.link for slot in self._slots.values() if slot.link is not None]

    @property
    def linked(self) -> Mapping[str, Link]:
        """The links that are up by node id, those included that only move to a new epoch key."""
        return {
            node_id: slot.link
            for node_id, slot in self._slots.items()
            if slot.link is not None and slot.state is LinkState.LINKED
        }

    def nearby(self) -> tuple[Sighting, ...]:
        """Whoever says it is in reach, member or not."""
        return self._sightings.nearby()

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Every other member, and whom this node blocks."""
        now = time.monotonic()
        seen = []
        for slot in self._slots.values():
            since = slot.link.since if slot.link is not None else slot.since
            hops = 1 if slot.state is LinkState.LINKED else 0
            trouble = "" if hops else (slot.link.last_error if slot.link is not None else "") or slot.trouble
            seen.append(Neighbour(slot.member.node_id, slot.member.name, str(slot.state), now - since, hops, trouble))
        names = {member.raw_id: member.name for member in self._store.others}
        for raw_id in sorted(self._store.blocked):
            node_id = crypto.node_id(raw_id)
            seen.append(Neighbour(node_id, names.get(raw_id, node_id[:8]), BLOCKED, 0.0))
        return tuple(seen)

    def sighted(self, sighting: Sighting) -> None:
        """Take note of where a node is; a hint, no more."""
        if sighting.node_id == self._identity.node_id or not self._sightings.sighted(sighting):
            return
        slot = self._slots.get(sighting.node_id)
        if slot is not None:
            self._choosing.heard(now=time.monotonic())
            slot.resting_until = 0.0
            slot.stirred.set()
            if slot.link is not None:
                slot.link.sighted(*self._sightings.endpoints(sighting.node_id))
        self.reconcile()
        self._on_change()

    def lost(self, node_id: str) -> None:
        """A node said goodbye; its link notices by itself."""
        if self._sightings.lost(node_id):
            self._on_change()

    def hinted(self, sighting: Sighting) -> None:
        """Take note of where a member says it listens: tried where nothing better is known, as without multicast."""
        if sighting.node_id in self._slots and self._sightings.hinted(sighting):
            self.reconcile()
            self._slots[sighting.node_id].stirred.set()

    def met(self, raw_id: bytes, grant: Grant, sighting: Sighting) -> None:
        """A member has given this node a key to its broker.  Errors: CertificateError, StorageError; it is not kept."""
        self._access.check(grant)
        self._store.save_grant(raw_id, grant)
        self._sightings.proven(sighting)
        self.sighted(sighting)
        slot = self._slots.get(sighting.node_id)
        if slot is None:
            return
        if slot.task is None:
            self._asked(slot)
        elif slot.link is None or slot.link.state is not LinkState.LINKED:
            self._restart(slot)

    def expect(self, raw_id: bytes | None) -> None:
        """Leave a new member's door alone, which does not know this node yet: it gives its key at this node's own."""
        self._expected = raw_id
        for slot in self._slots.values():
            slot.stirred.set()

    def renew(self) -> None:
        """Begin sessions anew: this node could not hear its neighbours for a while."""
        for link in self.links:
            link.renew()

    def keys_changed(self) -> None:
        """Let every link look at the epoch keys again."""
        loop = asyncio.get_running_loop()
        for slot in list(self._slots.values()):
            if slot.link is not None:
                if slot.link.state is LinkState.LINKED:
                    slot.rekeying_until = time.monotonic() + REKEY_S
                    loop.call_later(REKEY_S, self._on_change)  # if it takes longer, that is news
                slot.link.keys_changed()

    async def settled(self, seconds: float) -> None:
        """Wait, for so long at most, until no link is on its way up, or to another key: what is sent then is lost."""
        await self._while(lambda link: link.state is LinkState.CONNECTING, seconds)

    async def shown_out(self, seconds: float) -> bool:
        """Wait, for so long at most, until every neighbour has heard that this node left, and has cut its link."""
        return await self._while(lambda link: link.is_open, seconds)

    async def _while(self, holds: Callable[[Link], bool], seconds: float) -> bool:
        """Wait, for so long at most, until something holds of no link of which it does now; return whether it came."""
        waited = [slot for slot in self._slots.values() if slot.link is not None and holds(slot.link)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for slot in waited:
                    while slot.link is not None and holds(slot.link):
                        slot.stirred.clear()
                        await slot.stirred.wait()
                return True
        return False

    def reconcile(self) -> None:
        """Make links, slots and the broker's access follow the ledger and the blocks."""
        wanted = {member.node_id: member for member in self._wanted()}
        for node_id, slot in list(self._slots.items()):
            member = wanted.get(node_id)
            if member is None or member.static != slot.member.static:
                self._stop(slot)
                del self._slots[node_id]
                self._sightings.forget(node_id)
            else:
                slot.member = member  # who is made a voter keeps its link
        for node_id, member in wanted.items():
            self._slots.setdefault(node_id, Slot(member))
        self._choose()
        self._policy_changed.set()

    def receive(self, topic: str, payload: bytes) -> None:
        """Hand in what arrived at the own broker."""
        parts = topic.split("/")
        name = CommonName.parse(parts[1]) if len(parts) == 3 else None  # noqa: PLR2004  in/<name>/f
        slot = None if name is None or name.role is Role.OWNER else self._slots.get(name.node_id)
        if name is None or slot is None or slot.link is None:
            self._events.counters.count(Counted.DROPPED_UNKNOWN_SENDER)
            if slot is not None and slot.task is None and payload[:1] == bytes([FrameType.H1]):
                self._asked(slot)
        else:
            self._on_frame(slot.link, LANES[name.role], payload)

    def places(self, node_id: str) -> Sequence[Sighting]:
        """Where to look for a node: first where it was met, then where a record says it is."""
        return self._sightings.places(node_id)

    def _asked(self, slot: Slot) -> None:
        """A member wants a link that this node did not choose: it is taken if there is room."""
        if self._choosing.takes(slot, now=time.monotonic()):
            self._choose()

    async def _choose_first(self) -> None:
        """Where there are many, choose once most have been seen."""
        while self._choosing.looks_around(len(self._slots), now=time.monotonic()):
            await asyncio.sleep(QUIET_S)
            self._choose()

    async def _choose_again(self) -> None:
        """Look again now and then at whom to have links with, until cancelled."""
        while True:
            await asyncio.sleep(CHOOSE_EVERY_S)
            self._choosing.tire(self._slots.values(), now=time.monotonic())
            self._choose()

    def _choose(self) -> None:
        """Try to have a link with whoever is chosen, and before long with nobody else."""
        in_place = [slot for node_id, slot in self._slots.items() if self.places(node_id)]
        begin, let_go = self._choosing.choose(in_place, len(self._slots), now=time.monotonic())
        for slot in begin:
            self._start(slot)
        for slot in let_go:
            log.info("link to %s: ended, others were chosen", slot.member.node_id[:8])
            self._stop(slot)
            if self._tasks is not None:  # or the other end would go on sending into a link that is none
                self._tasks.create_task(self._broker.kick(slot.member.node_id), name="end of a link")
        if let_go:
            self._on_change()

    def _wanted(self) -> list[Member]:
        return [member for member in self._store.others if member.raw_id not in self._store.blocked]

    def _start(self, slot: Slot) -> None:
        if self._tasks is not None:
            slot.tried_since = time.monotonic()
            slot.task = self._tasks.create_task(self._keep(slot), name=f"link to {slot.member.node_id[:8]}")

    def _stop(self, slot: Slot) -> None:
        if slot.task is not None:
            slot.task.cancel()
            slot.task = None
            slot.link = None
            slot.since = time.monotonic()

    def _restart(self, slot: Slot) -> None:
        self._stop(slot)
        self._start(slot)

    async def _keep(self, slot: Slot) -> None:
        """Keep trying to have a link; what goes wrong on this side (a full disk, say) is tried again later."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                had_link = await self._keep_once(slot)
            except MeshError as error:
                log.warning("the link to %s waits: %s", slot.member.name, error)
                had_link = False
            if had_link:
                backoff_s = BACKOFF_FIRST_S
            else:
                slot.stirred.clear()
                await slot.stirred_within(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311  not a secret
                backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    async def _keep_once(self, slot: Slot) -> bool:
        """Keep the link with the key to the neighbour's broker, else ask for one; return whether there was either."""
        contexts = self._contexts(slot)
        if contexts is None:
            return await self._enrol(slot)
        await self._keep_link(slot, contexts)
        return True

    def _contexts(self, slot: Slot) -> dict[Lane, ssl.SSLContext] | None:
        grant = self._store.grant_of(slot.member.raw_id)
        if grant is None:
            return None
        try:
            return self._access.contexts(grant)
        except CertificateError as error:
            log.warning("the key to %s's broker is damaged: %s", slot.member.name, error)
            return None

    async def _keep_link(self, slot: Slot, contexts: dict[Lane, ssl.SSLContext]) -> None:
        """Keep one link until it should be built anew with a new key."""
        membership, endpoints = self._store.membership, self._sightings.endpoints(slot.member.node_id)
        if membership is None or not endpoints:
            slot.stirred.clear()  # or the wait would not wait, and the loop never turn
            await slot.stirred.wait()
            return
        ends = Ends(
            self._identity.raw_id,
            slot.member.raw_id,
            self._identity.static,
            slot.member.static,
            membership.community,
        )
        link = Link(ends, *endpoints, tls=contexts, keys=lambda: self._store.keys, events=self._events)
        slot.link = link
        running = asyncio.create_task(link.run(), name=f"link to {link.peer_id[:8]}")
        try:
            renew_s = RENEW_AFTER_S
            while True:
                await slot.down_for(link, renew_s)
                if await self._enrol(slot):
                    return
                renew_s = min(2 * renew_s, BACKOFF_MAX_S)
        finally:
            if slot.link is link:  # not when this task has been replaced
                slot.link = None
            running.cancel()
            [outcome] = await asyncio.gather(running, return_exceptions=True)
            if isinstance(outcome, Exception):
                log.error("the link to %s ended by itself", slot.member.name, exc_info=outcome)

    async def _enrol(self, slot: Slot) -> bool:
        """Knock at the neighbour's door for a key to its broker; return whether there is one now."""
        if slot.member.raw_id == self._expected:
            return False
        places = self.places(slot.member.node_id)
        for door in dict.fromkeys(DoorAddress(a, place.door_port) for place in places for a in place.addresses):
            try:
                met = await self._visitor.enrol(slot.member, door)
            except MeshError as error:
                slot.trouble = str(error)
                log.debug("no key to %s's broker yet: %s", slot.member.name, error)
            else:
                slot.trouble = ""
                self._store.save_grant(met.raw_id, met.grant)
                self._sightings.proven(met.sighting)
                return True
        return False

    def _state_changed(self, link: Link) -> None:
        slot = self._slots.get(link.peer_id)
        if slot is not None:
            slot.stirred.set()
        self._on_state(link)
