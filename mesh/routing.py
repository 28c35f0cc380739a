"""Routes at work: who is in reach, over whom; frames of others passed on; sessions with those beyond the neighbours.

A relay sees who speaks to whom and how much, and nothing else: it passes frames on by their header, unopened.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mesh.allowance import Allowance
from mesh.community import CommunityStore
from mesh.core import crypto
from mesh.core.announcements import Announcement
from mesh.core.envelope import Envelope
from mesh.core.forwarding import Forwarding
from mesh.core.frames import Frame, FrameType, Lane, one_hop_on
from mesh.core.lane import Ends
from mesh.core.routes import LAN_METRIC, LinksAdvert, short_id
from mesh.counters import Counted, Counters
from mesh.errors import LinkDownError, MalformedError, MeshError
from mesh.far import FarPeer
from mesh.identity import Identity
from mesh.links import Link

log = logging.getLogger(__name__)

MAX_FAR: Final = 256
ARRIVING_PER_S: Final = 4000.0  # frames of one neighbour, twice as many at once: a flood leaves time for the others
FORWARDED_FRAMES_PER_S: Final = 2000.0  # of one neighbour's; twice as many at once
FORWARDED_BYTES_PER_S: Final = 16e6
FORWARDED_BURST_BYTES: Final = 8e6
# Frames that ask for a handshake with a far member, brought by one neighbour: whom they are from is not known yet.
HANDSHAKES_PER_S: Final = 16.0
# Of this node's time, at most, for routes after routes: of many adverts all are taken at once.
COMPUTING_SHARE: Final = 0.1
PAUSE_MAX_S: Final = 1.0  # however long it took: the machine may have stood still meanwhile


@dataclass(frozen=True, kw_only=True)
class RouterEvents:
    """Whom the router tells what, in the event loop."""

    on_envelope: Callable[[str, Lane, Envelope], None]  # from a far member
    on_path: Callable[[str], None]  # messages for this node may get through now
    on_change: Callable[[], None]  # who is in reach has changed, or over how many hops


class _Limits:
    """What one neighbour may have this node do for others."""

    def __init__(self) -> None:
        self.arriving = Allowance(ARRIVING_PER_S, 2 * ARRIVING_PER_S)
        self.frames = Allowance(FORWARDED_FRAMES_PER_S, 2 * FORWARDED_FRAMES_PER_S)
        self.bytes = Allowance(FORWARDED_BYTES_PER_S, FORWARDED_BURST_BYTES)
        self.handshakes = Allowance(HANDSHAKES_PER_S)


class Router:
    """Knows the way to every member in reach; `run` must be running for far sessions to be kept up.

    `links` gives the links that are up, by node id.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        store: CommunityStore,
        links: Callable[[], Mapping[str, Link]],
        events: RouterEvents,
        counters: Counters,
    ) -> None:
        self._identity = identity
        self._store = store
        self._links = links
        self._events = events
        self._counters = counters
        self._forwarding = Forwarding(identity.raw_id)
        self._table = self._forwarding.routes
        self._adverts: dict[bytes, LinksAdvert] = {}
        self._up: frozenset[str] = frozenset()
        self._hops: Mapping[bytes, int] = {}
        self._first_hops: Mapping[bytes, bytes] = {}
        self._reached_at: dict[bytes, float] = {}
        self._far: dict[bytes, FarPeer] = {}
        self._greeted: set[tuple[bytes, Lane]] = set()  # far peers that a handshake has been sent to
        self._limits: dict[str, _Limits] = {}  # by neighbour
        self._tasks: asyncio.TaskGroup | None = None
        self._computing: asyncio.TimerHandle | None = None
        self._compute_after = 0.0  # by the loop's clock

    async def run(self) -> None:
        """Keep far sessions until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None
                if self._computing is not None:
                    self._computing.cancel()

    def hops(self, node_id: str) -> int:
        """Return how far away a node is: 1 for a neighbour, 0 for whom nothing reaches."""
        return self._hops.get(crypto.parse_node_id(node_id), 0)

    def reached_for_s(self, node_id: str) -> float:
        """Return for how long a node has been in reach, whatever the way."""
        reached_at = self._reached_at.get(crypto.parse_node_id(node_id))
        return 0.0 if reached_at is None else time.monotonic() - reached_at

    def edges(self) -> Mapping[bytes, int]:
        """Return what this node says of its own links."""
        return {short_id(crypto.parse_node_id(node_id)): LAN_METRIC for node_id in self._links()}

    def links_changed(self) -> bool:
        """Look at the own links anew; return whether others should be told."""
        up = frozenset(self._links())
        if up == self._up:
            return False
        fresh, lost = up - self._up, self._up - up
        self._up = up
        self._recompute()
        for node_id in fresh:
            self._events.on_path(node_id)
        if lost:  # whoever's frames went over it, by the shortest way or because another was doubted
            for raw_id in self._far:
                self._events.on_path(crypto.node_id(raw_id))
        return True

    def heard(self, announcement: Announcement) -> LinksAdvert:
        """Take what a member says of its links.  Errors: MalformedError."""
        advert = LinksAdvert.parse(announcement.body)
        known = self._adverts.get(announcement.author)
        self._adverts[announcement.author] = advert
        if (known is None or known.edges != advert.edges) and self._computing is None:
            loop = asyncio.get_running_loop()
            self._computing = loop.call_at(max(loop.time(), self._compute_after), self._recompute)
        return advert

    def forget(self, keep: Callable[[bytes], bool]) -> None:
        """Drop the adverts and sessions of whoever is not to be kept."""
        for author in [author for author in self._adverts if not keep(author)]:
            del self._adverts[author]
        for raw_id in [raw_id for raw_id in self._far if not self._is_peer(raw_id)]:
            self._far.pop(raw_id).close()
            self._greeted -= {(raw_id, lane) for lane in Lane}
        for node_id in [node_id for node_id in self._limits if not self._is_peer(crypto.parse_node_id(node_id))]:
            del self._limits[node_id]
        self._recompute()

    def keys_changed(self) -> None:
        """Let every far session look at the epoch keys again."""
        for far in self._far.values():
            far.keys_changed()

    def send(self, node_id: str, lane: Lane, envelope: Envelope, *, retried: bool) -> None:
        """Send a message over the link, else over relays; retried: the way of before may be at fault.

        Errors: LinkDownError, QueueFullError; it was not sent then.
        """
        link = self._links().get(node_id)
        if link is not None:
            link.send_envelope(lane, envelope)
            return
        destination = crypto.parse_node_id(node_id)
        if self._table.hops(destination) == 0:
            raise LinkDownError(f"nothing leads to {node_id[:8]} now")
        if retried:
            self._forwarding.suspect(destination, now=asyncio.get_running_loop().time())
        self._far_peer(destination).send(lane, envelope)

    def arrived(self, link: Link, lane: Lane, payload: bytes) -> None:
        """Take what a neighbour published at the own broker: for its link, for a far session, or to be passed on."""
        if not self._limits_of(link).arriving.take():
            self._counters.count(Counted.DROPPED_RATE_LIMITED)
            return
        try:
            self._sort(link, lane, Frame.parse(payload), payload)
        except MalformedError as error:
            self._counters.dropped(error)
        except LinkDownError:  # nothing to receive it with: this node is just stopping
            self._counters.count(Counted.DROPPED_UNROUTABLE)

    def _sort(self, link: Link, lane: Lane, frame: Frame, payload: bytes) -> None:
        header = frame.header
        if header.lane is not lane:
            raise MalformedError("a frame on another lane's topic")
        if not header.routed:
            link.receive(frame)
        elif header.source == self._identity.raw_id:  # has come round, or is a lie
            self._counters.count(Counted.DROPPED_UNROUTABLE)
        elif header.destination == self._identity.raw_id:
            self._receive_far(link, frame)
        else:
            self._forward(link, frame, payload)

    def _limits_of(self, link: Link) -> "_Limits":
        limits = self._limits.get(link.peer_id)
        if limits is None:
            limits = self._limits[link.peer_id] = _Limits()
        return limits

    def _receive_far(self, link: Link, frame: Frame) -> None:
        source = frame.header.source
        if not self._is_peer(source):
            self._counters.count(Counted.DROPPED_UNKNOWN_SENDER)
        elif self._asks_for_handshake(frame) and not self._limits_of(link).handshakes.take():
            self._counters.count(Counted.DROPPED_RATE_LIMITED)
        elif source in self._far or frame.header.type is FrameType.H1 or self._table.hops(source):
            self._far_peer(source).receive(frame)

    def _asks_for_handshake(self, frame: Frame) -> bool:
        """Whether a frame begins a handshake, or makes this node begin one: its session is not known here."""
        if frame.header.type is not FrameType.DATA:
            return frame.header.type is FrameType.H1
        far = self._far.get(frame.header.source)
        return far is None or not far.knows(frame)

    def _forward(self, link: Link, frame: Frame, payload: bytes) -> None:
        """Pass a frame on.  Errors: MalformedError for one that has gone too far."""
        header = frame.header
        limits = self._limits_of(link)
        if not (limits.frames.take() and limits.bytes.take(len(payload))):
            self._counters.count(Counted.DROPPED_RATE_LIMITED)
            return
        if not (self._is_peer(header.source) and self._is_peer(header.destination)):
            self._counters.count(Counted.DROPPED_UNKNOWN_SENDER)
            return
        onward = one_hop_on(payload)
        hop = self._forwarding.onward(header.destination, came_from=crypto.parse_node_id(link.peer_id))
        try:
            self._link_to(hop).carry(header.lane, onward, foreign=True)
        except MeshError as error:
            log.debug("a frame for %s was not passed on: %s", crypto.node_id(header.destination)[:8], error)
            self._counters.count(Counted.DROPPED_UNROUTABLE)
        else:
            self._counters.count(Counted.FRAMES_FORWARDED)

    def _link_to(self, hop: bytes | None) -> Link:
        """Return the link to a neighbour.  Errors: LinkDownError."""
        link = None if hop is None else self._links().get(crypto.node_id(hop))
        if link is None:
            raise LinkDownError("no way on from here")
        return link

    def _carry_own(self, destination: bytes, lane: Lane, frame: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if frame[0] == FrameType.H1:
            if (destination, lane) in self._greeted and not self._far[destination].is_open(lane):
                self._forwarding.suspect(destination, now=now)  # the handshake before got no answer
            self._greeted.add((destination, lane))
        self._link_to(self._forwarding.first_hop(destination, now=now)).carry(lane, frame)

    def _far_peer(self, raw_id: bytes) -> FarPeer:
        """Return the far sessions with a member, begun when there are none.  Errors: LinkDownError."""
        membership = self._store.membership
        member = membership.members.get(raw_id) if membership else None
        if membership is None or member is None or self._tasks is None:
            raise LinkDownError("not a member any more")
        far = self._far.get(raw_id)
        ends = Ends(self._identity.raw_id, raw_id, self._identity.static, member.static, membership.community)
        if far is not None and far.ends == ends:
            return far
        if far is not None:
            far.close()
        elif len(self._far) >= MAX_FAR:
            self._far.pop(next(iter(self._far))).close()
        node_id = member.node_id
        far = self._far[raw_id] = FarPeer(
            ends,
            tasks=self._tasks,
            keys=lambda: self._store.keys,
            carry=lambda lane, frame: self._carry_own(raw_id, lane, frame),
            on_envelope=lambda lane, envelope: self._events.on_envelope(node_id, lane, envelope),
            on_session=lambda: self._far_answered(raw_id),
            counters=self._counters,
        )
        return far

    def _far_answered(self, raw_id: bytes) -> None:
        self._greeted -= {(raw_id, lane) for lane in Lane}
        self._events.on_path(crypto.node_id(raw_id))

    def _is_peer(self, raw_id: bytes) -> bool:
        membership = self._store.membership
        return membership is not None and raw_id in membership.members and raw_id not in self._store.blocked

    def _recompute(self) -> None:
        """Compute the routes anew and tell of nodes that came into reach, left it, or moved."""
        if self._computing is not None:
            self._computing.cancel()
            self._computing = None
        began = time.monotonic()
        links = {crypto.parse_node_id(node_id): LAN_METRIC for node_id in self._links()}
        self._forwarding.update(links, {author: one for author, one in self._adverts.items() if self._is_peer(author)})
        before, ways = self._hops, self._first_hops
        self._hops = {node: hops for node, hops in self._table.reachable().items() if self._is_peer(node)}
        self._first_hops = self._table.first_hops()
        now = time.monotonic()
        self._reached_at = {node: self._reached_at.get(node, now) for node in self._hops}
        for raw_id in self._hops:
            if ways.get(raw_id) != self._first_hops[raw_id]:
                self._events.on_path(crypto.node_id(raw_id))
        if before != self._hops:
            self._events.on_change()
        pause_s = min((time.monotonic() - began) / COMPUTING_SHARE, PAUSE_MAX_S)
        self._compute_after = asyncio.get_running_loop().time() + pause_s
