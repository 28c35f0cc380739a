"""One node of the mesh: what the device uses, and where the mesh's parts are put together."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mesh import replacement
from mesh.belonging import Belonging, BelongingEvents
from mesh.community_fork import RECORDS, CommunityFork
from mesh.config import MeshConfig
from mesh.core.door_messages import Grant, Ports
from mesh.core.entries import Entry
from mesh.core.frames import Lane
from mesh.core.routes import Place
from mesh.council import Council
from mesh.counters import Counters
from mesh.diagnosis import Examination
from mesh.discovery import Discovery
from mesh.door import Door
from mesh.double import Double
from mesh.errors import StorageError
from mesh.exchange import Exchange, ExchangeEvents
from mesh.facts import MeshFacts
from mesh.foundations import Foundations
from mesh.host_name import HostName
from mesh.identity import fingerprint
from mesh.inbox import Inbox
from mesh.interfaces import choose, routable, survey
from mesh.links import LinkEvents
from mesh.neighbourhood import Neighbourhood
from mesh.offers import Offer, wordlist
from mesh.publishing import Publisher
from mesh.reception import Reception, ReceptionEvents
from mesh.record import Record
from mesh.sightings import Sighting
from mesh.signal import Signal
from mesh.static_peers import StaticPeers
from mesh.views import CommunityView, Joined, Neighbour, Received
from mesh.visits import Visitor

__all__ = ["Lane", "MeshConfig", "MeshNode", "Neighbour", "Received"]

log = logging.getLogger(__name__)

OFFER_S: Final = 600.0


class MeshNode:
    """A node: `run` is its life; everything else may be called while it runs."""

    def __init__(self, config: MeshConfig) -> None:
        """Open or make the node's identity and community.  Errors: MeshError."""
        self.name = config.name
        self._config = config
        self._received, self._announced, self._changed = Signal[[Received]](), Signal[[str, bytes]](), Signal[[]]()
        self._counters = Counters()
        own = Foundations.open(config)
        self._identity, self._home, self._access, self._broker = own.identity, own.home, own.access, own.broker
        self._store = own.store  # closed when `run` ends
        self.publisher = Publisher(self._identity, self._store)
        self._visitor = Visitor(
            identity=self._identity, name=self.name, store=self._store, access=self._access, ports=self._ports
        )
        self._double = Double(
            identity=self._identity, store=self._store, visitor=self._visitor, ports=self._ports, on_news=self._changed
        )
        self._reception = self._build_reception()
        self._door = Door(
            config.door_port, self._reception.answer, bind_address=config.bind_address, counters=self._counters
        )
        self._exchange = self._build_exchange()
        self.record = Record(self._identity, self._store, spread=self._exchange.spread, on_change=self._changed)
        self.council = self._build_council()
        self._neighbourhood = self._build_neighbourhood()
        self._examination = self._build_examination()
        self._host_name = HostName(self._identity.node_id, on_change=self._changed)
        self.belonging = self._build_belonging()
        self.fork = CommunityFork(
            self._identity,
            self.name,
            self._store,
            self.record,
            config.data_dir / "mesh" / RECORDS,
            spread=self._exchange.spread,
            farewell=self.belonging.farewell,
            on_ledger=self._ledger_changed,
        )

    def _build_reception(self) -> Reception:
        return Reception(
            identity=self._identity,
            name=self.name,
            store=self._store,
            access=self._access,
            ports=self._ports,
            events=ReceptionEvents(
                on_admitted=self._admitted,
                on_settled=self._settled,
                on_met=self._met,
                on_double=self._double.seen,
            ),
        )

    def _build_exchange(self) -> Exchange:
        return Exchange(
            identity=self._identity,
            store=self._store,
            links=lambda: self._neighbourhood.links,
            linked=lambda: self._neighbourhood.linked,
            place=self._place,
            events=ExchangeEvents(
                on_message=self._received,
                on_announcement=self._announced,
                on_ledger=self._ledger_changed,
                on_keys=self._keys_changed,
                on_compared=lambda: self.council.act(),  # noqa: PLW0108  as below
                on_reach=self._changed,
                on_hint=lambda sighting: self._neighbourhood.hinted(sighting),  # noqa: PLW0108  it is yet to be made
                on_double=self._double.seen,
            ),
            counters=self._counters,
        )

    def _build_council(self) -> Council:
        return Council(
            self._identity,
            self._store,
            self.record.checkpoints,
            wordlist=wordlist,
            knows_own_feed=lambda: self._exchange.knows_own_feed,
            spread=self._exchange.spread,
            on_ledger=self._ledger_changed,
        )

    def _build_neighbourhood(self) -> Neighbourhood:
        return Neighbourhood(
            identity=self._identity,
            store=self._store,
            access=self._access,
            visitor=self._visitor,
            broker=self._broker,
            events=LinkEvents(
                on_message=self._exchange.envelope_arrived,
                on_session=self._exchange.session_up,
                on_state=lambda _link: self._links_changed(),
                counters=self._counters,
            ),
            on_change=self._links_changed,
            on_frame=self._exchange.frame_arrived,
        )

    def _build_examination(self) -> Examination:
        return Examination(
            node_id=self._identity.node_id,
            store=self._store,
            broker=self._broker,
            door=self._door,
            places=self._neighbourhood,
            neighbours=self.neighbours,
            config=self._config,
            home=self._home,
            double=self._double,
            checkpoints=self.record.checkpoints,
        )

    def _build_belonging(self) -> Belonging:
        return Belonging(
            identity=self._identity,
            name=self.name,
            store=self._store,
            reception=self._reception,
            visitor=self._visitor,
            neighbourhood=self._neighbourhood,
            exchange=self._exchange,
            council=self.council,
            static_peers=self._config.static_peers,
            events=BelongingEvents(on_ledger=self._ledger_changed, on_met=self._met),
        )

    @property
    def node_id(self) -> str:
        """This node's id."""
        return self._identity.node_id

    @property
    def fingerprint(self) -> str:
        """What two people compare after pairing."""
        return fingerprint(self.node_id)

    @property
    def mqtt_port(self) -> int:
        """Where the broker listens."""
        return self._broker.port

    @property
    def door_port(self) -> int:
        """Where the door is."""
        return self._door.port

    @property
    def broker_kind(self) -> str:
        """Which broker this node runs."""
        return self._broker.kind

    @property
    def host_name(self) -> str:
        """The name that leads phones here, as `ember.local`; empty while none is published."""
        return self._host_name.name

    def publish_host(self, name: str | None, *, port: int) -> None:
        """Answer to `<name>.local`, or to `<name>-2.local` where that is taken, for a page at that port; None: stop."""
        self._host_name.want(name, port)

    async def run(self, ready: asyncio.Event) -> None:
        """Live until cancelled; `ready` is set when broker and door listen and discovery runs.  Errors: MeshError."""
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = (asyncio.Event(), asyncio.Event())
                await self._broker.set_peers({member.node_id for member in self._store.others})
                tasks.create_task(self._broker.run(listening[0]), name="broker")
                tasks.create_task(self._door.run(listening[1]), name="door")
                await asyncio.gather(*(event.wait() for event in listening))
                subscribed = asyncio.Event()
                inbox = Inbox(
                    self.node_id,
                    self._broker,
                    self._access.own_context(),
                    on_message=self._neighbourhood.receive,
                    on_return=self._neighbourhood.renew,
                )
                tasks.create_task(inbox.run(subscribed), name="inbox")
                await subscribed.wait()
                tasks.create_task(self._exchange.run(), name="exchange")
                tasks.create_task(self._neighbourhood.run(), name="neighbourhood")
                discovering = asyncio.Event()
                discovery = self._discovery()
                self._examination.hearing = lambda: discovery.hearing
                tasks.create_task(discovery.run(discovering), name="discovery")
                static = StaticPeers(self._config.static_peers, self._store, self._visitor, self._neighbourhood)
                tasks.create_task(static.run(), name="static peers")
                tasks.create_task(self._double.run(), name="double")
                tasks.create_task(self.council.run(), name="council")
                await discovering.wait()
                ready.set()
        finally:
            self._store.close()

    def on_message(self, handler: Callable[[Received], None]) -> None:
        """Call `handler` in the loop with each message for the device."""
        self._received.add(handler)

    def on_change(self, handler: Callable[[], None]) -> None:
        """Call `handler` in the loop when neighbours or the community have changed."""
        self._changed.add(handler)

    async def send(
        self, peer: str, kind: int, body: bytes, *, re: bytes | None = None, lane: Lane = Lane.CTL, ttl_s: float = 30.0
    ) -> bytes:
        """Send a message to a member in reach, near or far; return its id.

        It arrives once, and in order with the others of its lane, whatever becomes of links and relays meanwhile; or,
        if there was no path for ttl_s, not at all.
        Errors: LinkDownError, QueueFullError, MessageTooLargeError; nothing was sent then.
        """
        return self._exchange.send(peer, kind, body, re=re, lane=lane, ttl_s=ttl_s)

    def post(self, peer: str, kind: int, body: bytes, *, re: bytes | None = None) -> bytes:
        """Send a message of one of BULK_KINDS to a member in reach, near or far; return its id.

        It is sent once, on the lane for big things, and arrives once or never, in no order: whoever asks asks again.
        Errors: LinkDownError, QueueFullError, MessageTooLargeError; nothing was sent then.
        """
        return self._exchange.post(peer, kind, body, re=re)

    def announce(self, body: Callable[[], bytes]) -> None:
        """Tell every member what `body` gives, at most MAX_BODY_BYTES; `announcement_changed` tells it anew."""
        self._exchange.announce(body)

    def announcement_changed(self) -> None:
        """Say that what is announced has changed."""
        self._exchange.announcement_changed()

    def announcements(self) -> Mapping[str, bytes]:
        """What the other members' devices announced last, by node id."""
        return {node_id: body for node_id, body in self._exchange.announcements().items() if node_id != self.node_id}

    def on_announcement(self, handler: Callable[[str, bytes], None]) -> None:
        """Call `handler` in the loop with what a member's device announces."""
        self._announced.add(handler)

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Every other member and how it is reached; blocked nodes too."""
        return tuple(self._exchange.with_route(one) for one in self._neighbourhood.neighbours())

    async def diagnose(self) -> MeshFacts:
        """Look around for what keeps neighbours away; it takes some seconds at most."""
        return await self._examination.facts()

    @property
    def duplicate(self) -> bool:
        """Whether another machine uses this node's identity."""
        return self._double.exists

    @property
    def board_changed(self) -> tuple[str, ...]:
        """What is another one than when this node's identity was made; nothing is signed then."""
        return self._home.changed

    def accept_board(self) -> None:
        """Sign again: this board is the identity's from now on.  Errors: StorageError."""
        self._home.accept()
        self._store.may_sign = True
        self._changed()

    def replace_identity(self) -> Path:
        """Be another node from the next start on; return where the old identity will be kept.  Errors: StorageError."""
        return replacement.request(self._config.data_dir / "mesh")

    def counters(self) -> Mapping[str, int]:
        """What was dropped, sent and received since the start, by name (mesh/counters.py)."""
        return self._counters.snapshot()

    def nearby(self) -> tuple[Sighting, ...]:
        """Nodes in reach, members or not."""
        return self._neighbourhood.nearby()

    def community(self) -> CommunityView | None:
        """The community this node belongs to."""
        membership = self._store.membership
        return CommunityView.of(membership, len(self._store.ledger or ())) if membership is not None else None

    def sighted(self, sighting: Sighting) -> None:
        """Take an address found elsewhere: a hint, never trust."""
        self._neighbourhood.sighted(sighting)
        self.belonging.sighted(sighting)

    async def open_offer(self, *, ttl_s: float = OFFER_S) -> Offer:
        """Let one node in by words, or show the offer that is open; a lone node founds a community by it.

        Errors: NotAllowedError when this node may not invite.
        """
        return await self.belonging.open_offer(ttl_s=ttl_s)

    async def join(self, words: str, *, at: str | None = None) -> Joined:
        """Come into the community of the node that shows these words; `at`: "host[:door port]" where mDNS fails.

        Errors: AlreadyMemberError, WrongWordsError, NoOfferError, DoorRefusedError, MeshError.
        """
        return await self.belonging.join(words, at=at)

    def _ports(self) -> Ports:
        return Ports(self._broker.port, self._door.port)

    def _discovery(self) -> Discovery:
        return Discovery(
            node_id=self.node_id,
            mqtt_port=self._broker.port,
            door_port=self._door.port,
            interfaces=self._config.interfaces,
            on_sighting=self.sighted,
            on_lost=self._neighbourhood.lost,
            on_duplicate=self._double.sighted,
            on_moved=self._exchange.place_changed,
            host_name=self._host_name,
        )

    def _place(self) -> Place | None:
        addresses = routable(choose(survey(), self._config.interfaces))
        return Place(addresses, self._broker.port, self._door.port) if addresses else None

    def _admitted(self, raw_id: bytes) -> None:
        self._neighbourhood.expect(raw_id)
        self._ledger_changed()

    def _settled(self, entry: Entry) -> None:
        self._neighbourhood.expect(None)
        self._exchange.spread(entry)  # not before: the others would knock at a door that does not know them yet

    def _met(self, raw_id: bytes, grant: Grant, sighting: Sighting) -> None:
        try:
            self._neighbourhood.met(raw_id, grant, sighting)
        except StorageError as error:
            log.error("%s; %s", error, error.hint)  # noqa: TRY400  a message for people; the cause is in it

    def _ledger_changed(self) -> None:
        self._neighbourhood.reconcile()
        self._exchange.ledger_changed()
        self._keys_changed()
        self._links_changed()
        self.council.act()

    def _keys_changed(self) -> None:
        self._neighbourhood.keys_changed()
        self._exchange.keys_changed()

    def _links_changed(self) -> None:
        self._exchange.links_changed()
        self._changed()
