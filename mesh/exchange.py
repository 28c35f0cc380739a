"""What passes between this node and the others once there are links: ledger, announcements, routes, messages.

Links carry; sync.py, announcing.py, routing.py and delivery.py each know one thing; here they are joined.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mesh.announcing import Announcer
from mesh.community import CommunityStore
from mesh.core import crypto
from mesh.core.announcements import Announcement, Topic
from mesh.core.entries import Entry
from mesh.core.envelope import BULK_KINDS, FIRST_DEVICE_KIND, MAX_BODY_BYTES, MESSAGE_ID_BYTES, Envelope, MeshKind
from mesh.core.frames import Lane
from mesh.core.routes import LinksAdvert, Place
from mesh.counters import Counters
from mesh.delivery import Delivery
from mesh.errors import LinkDownError, MalformedError, MessageTooLargeError, PeerMisbehavedError, StorageError
from mesh.identity import Identity
from mesh.links import Link, LinkState
from mesh.routing import Router, RouterEvents
from mesh.sightings import Sighting
from mesh.sync import LedgerSync
from mesh.views import BLOCKED, Neighbour, Received

log = logging.getLogger(__name__)

REACHABLE: Final = "reachable"  # over relays
NUMBERED: Final = frozenset({MeshKind.ACK})  # besides the device's kinds: what delivery.py takes
ANNOUNCING: Final = frozenset({MeshKind.SUMMARY, MeshKind.ANNOUNCEMENTS})


@dataclass(frozen=True, kw_only=True)
class ExchangeEvents:
    """Whom the exchange tells what, in the event loop."""

    on_message: Callable[[Received], None]
    on_announcement: Callable[[str, bytes], None]  # of a member's device
    on_ledger: Callable[[], None]
    on_keys: Callable[[], None]
    on_compared: Callable[[], None]  # a neighbour has told what it holds of the ledger
    on_reach: Callable[[], None]  # who is in reach has changed
    on_hint: Callable[[Sighting], None]  # where a member says it listens
    on_double: Callable[[], None]  # another board uses this identity


class Exchange:
    """Everything above the links; `run` must be running.

    `links` gives every link, `linked` those that are up by node id, `place` where this node listens.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        store: CommunityStore,
        links: Callable[[], Sequence[Link]],
        linked: Callable[[], Mapping[str, Link]],
        place: Callable[[], Place | None],
        events: ExchangeEvents,
        counters: Counters,
    ) -> None:
        self._store = store
        self._events = events
        self._counters = counters
        self._place = place
        self._members: frozenset[str] = frozenset()
        self._sync = LedgerSync(
            store,
            own_id=identity.node_id,
            peers=links,
            on_ledger=events.on_ledger,
            on_keys=events.on_keys,
            on_compared=events.on_compared,
            counters=counters,
        )
        self._announcer = Announcer(
            identity=identity,
            store=store,
            # Also while a link's bulk lane is on its way up: what was compared before is not compared again.
            peers=lambda: [link for link in links() if link.shares_key],
            on_news=self._announced,
            on_expired=self._expired,
            on_double=events.on_double,
            counters=counters,
        )
        self._router = Router(
            identity=identity,
            store=store,
            links=linked,
            events=RouterEvents(on_envelope=self._received, on_path=self._path_changed, on_change=events.on_reach),
            counters=counters,
        )
        self._delivery = Delivery(carry=self._carry, hand_over=self._hand_over, counters=counters)

    async def run(self) -> None:
        """Keep everything going until cancelled."""
        self._members = frozenset(member.node_id for member in self._store.others)
        self._announcer.tell(Topic.LINKS, self._advert)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sync.run(), name="ledger")
            tasks.create_task(self._announcer.run(), name="announcements")
            tasks.create_task(self._router.run(), name="routes")
            tasks.create_task(self._delivery.run(), name="delivery")

    def send(self, peer: str, kind: int, body: bytes, *, re: bytes | None, lane: Lane, ttl_s: float) -> bytes:
        """Send a message to a member in reach; it arrives once, in order, or not within ttl_s.  Return its id.

        Errors: LinkDownError, QueueFullError, MessageTooLargeError; nothing was sent then.
        """
        if kind < FIRST_DEVICE_KIND or kind in BULK_KINDS:
            raise ValueError(f"kind {kind} belongs to the mesh, or is to be posted")
        self._require_way(peer)
        return self._delivery.send(peer, kind, body, re=re, lane=lane, ttl_s=ttl_s)

    def post(self, peer: str, kind: int, body: bytes, *, re: bytes | None) -> bytes:
        """Send a bulk message to a member in reach: it arrives once or never, in no order.  Return its id.

        Errors: LinkDownError, QueueFullError while enough is on its way there, MessageTooLargeError.
        """
        if kind not in BULK_KINDS:
            raise ValueError(f"kind {kind} is none of the bulk kinds")
        self._require_way(peer)
        if len(body) > MAX_BODY_BYTES:
            raise MessageTooLargeError(f"a message of {len(body)} bytes; one holds at most {MAX_BODY_BYTES}")
        envelope = Envelope(kind, secrets.token_bytes(MESSAGE_ID_BYTES), re, 0, body)
        self._router.send(peer, Lane.BULK, envelope, retried=False)
        return envelope.message_id

    def hops(self, node_id: str) -> int:
        """Return how far away a node is: 1 for a neighbour, 0 for whom nothing reaches."""
        return self._router.hops(node_id)

    def with_route(self, one: Neighbour) -> Neighbour:
        """Say of a member without a link how it is reached over others, if it is."""
        hops = self.hops(one.node_id) if one.state not in {LinkState.LINKED, BLOCKED} else 0
        if hops == 0:
            return one
        since_s = self._router.reached_for_s(one.node_id)
        return replace(one, state=REACHABLE, hops=hops, since_s=since_s, trouble="")

    def announce(self, body: Callable[[], bytes]) -> None:
        """Tell every member what `body` gives, now and whenever `announcement_changed` says so."""
        self._announcer.tell(Topic.DEVICE, body)

    def announcement_changed(self) -> None:
        """Tell them anew."""
        self._announcer.changed(Topic.DEVICE)

    def announcements(self) -> Mapping[str, bytes]:
        """Return what the members' devices said last."""
        return {crypto.node_id(author): one.body for author, one in self._announcer.board.about(Topic.DEVICE).items()}

    def spread(self, entry: Entry) -> None:
        """Tell every neighbour of a new entry of the ledger."""
        self._sync.spread([entry])

    @property
    def knows_own_feed(self) -> bool:
        """Whether a neighbour has confirmed since the start that nothing of what this node signed is missing here."""
        return self._sync.knows_own_feed

    def ensure_key(self) -> None:
        """Make an epoch key if there is none and this node votes."""
        self._sync.ensure_key()

    def links_changed(self) -> None:
        """A link may have come up or gone down."""
        if self._router.links_changed():
            self._announcer.changed(Topic.LINKS)

    def place_changed(self) -> None:
        """This node listens elsewhere than before."""
        self._announcer.changed(Topic.LINKS)

    def ledger_changed(self) -> None:
        """Members, or blocks, have changed."""
        members = frozenset(member.node_id for member in self._store.others if member.raw_id not in self._store.blocked)
        gone, new = self._members - members, members - self._members
        self._members = members
        for node_id in gone:
            self._delivery.forget(node_id)
        if gone or new:
            raw_ids = {crypto.parse_node_id(node_id) for node_id in members}
            self._router.forget(raw_ids.__contains__)
            self._announcer.ledger_changed()

    def keys_changed(self) -> None:
        """The epoch keys have changed."""
        self._router.keys_changed()

    def session_up(self, link: Link) -> None:
        """Compare with a neighbour what both know; what waited for it can go."""
        self._sync.compare(link)
        if not link.catch_up:
            self._announcer.compare(link)
        self._delivery.path_changed(link.peer_id)

    def frame_arrived(self, link: Link, lane: Lane, payload: bytes) -> None:
        """Take what a neighbour published at the own broker."""
        self._router.arrived(link, lane, payload)

    def envelope_arrived(self, link: Link, lane: Lane, envelope: Envelope) -> None:
        """Take a message that came over a link.  Errors: PeerMisbehavedError."""
        if envelope.kind >= FIRST_DEVICE_KIND or envelope.kind in NUMBERED:
            self._received(link.peer_id, lane, envelope)
            return
        try:
            if envelope.kind not in ANNOUNCING:
                self._sync.receive(link, envelope)
            elif not link.catch_up:
                self._announcer.receive(link, envelope)
        except StorageError as error:
            log.error("%s; %s", error, error.hint)  # noqa: TRY400  a message for people; the cause is in it

    def _received(self, peer: str, lane: Lane, envelope: Envelope) -> None:
        """Take the device's kinds and their acknowledgements, near or far; of a far session nothing else is taken."""
        if envelope.kind in BULK_KINDS:
            if lane is not Lane.BULK or envelope.place is not None:
                raise MalformedError("a bulk message on the other lane, or with a place in a stream")
            self._hand_over(peer, envelope)
        elif envelope.kind >= FIRST_DEVICE_KIND or envelope.kind in NUMBERED:
            self._delivery.arrived(peer, lane, envelope)

    def _require_way(self, peer: str) -> None:
        if self.hops(peer) == 0:
            raise LinkDownError(f"nothing leads to {peer[:8]} now")

    def _carry(self, peer: str, lane: Lane, envelope: Envelope, retried: bool) -> None:  # noqa: FBT001  Delivery's callback
        self._router.send(peer, lane, envelope, retried=retried)

    def _hand_over(self, peer: str, envelope: Envelope) -> None:
        self._events.on_message(Received(peer, envelope.kind, envelope.message_id, envelope.re, envelope.body))

    def _path_changed(self, peer: str) -> None:
        self._delivery.path_changed(peer)

    def _advert(self) -> bytes:
        return LinksAdvert(self._router.edges(), self._place()).to_body()

    def _announced(self, one: Announcement) -> None:
        if one.topic is Topic.DEVICE:
            self._events.on_announcement(crypto.node_id(one.author), one.body)
            return
        try:
            advert = self._router.heard(one)
        except PeerMisbehavedError as error:
            self._counters.dropped(error)
            return
        if advert.place is not None:
            place = advert.place
            self._events.on_hint(
                Sighting(crypto.node_id(one.author), place.addresses, place.mqtt_port, place.door_port)
            )

    def _expired(self) -> None:
        adverts = self._announcer.board.about(Topic.LINKS)
        self._router.forget(adverts.__contains__)
