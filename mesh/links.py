"""A link: two connections to one neighbour's broker, and a session on each of them.

What we say goes to the neighbour's broker over our own connections; what it says arrives at our broker and is handed
in by `receive`.  A link is up when a session that shares an epoch key can be sent on over a live connection.
"""

import asyncio
import contextlib
import enum
import logging
import random
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mesh.allowance import Allowance
from mesh.channel import Channel, ChannelEvents
from mesh.core import crypto
from mesh.core.envelope import MESSAGE_ID_BYTES, Envelope
from mesh.core.epochs import KeyRing
from mesh.core.frames import Frame, Lane
from mesh.core.lane import HANDSHAKE_TIMEOUT_S, Ends
from mesh.core.topic_policy import CommonName, Role, inbox_topic
from mesh.counters import Counters
from mesh.errors import QueueFullError
from mesh.mqtt import MqttClient, MqttTuning

log = logging.getLogger(__name__)

ROLES: Final[Mapping[Lane, Role]] = {Lane.CTL: Role.CTL, Lane.BULK: Role.BULK}
TUNING: Final[Mapping[Lane, MqttTuning]] = {
    Lane.CTL: MqttTuning(),
    # It fills a fast link, and is a fifth of a second of a radio.  The broker's acknowledgements say little of the
    # neighbour, and would be half of all packets; what is lost is asked for again.
    Lane.BULK: MqttTuning(max_bytes=2 * 1024 * 1024, max_messages=256, resend_s=0.0, qos=0),
}
ELSEWHERE_S: Final = HANDSHAKE_TIMEOUT_S  # without a connection, the next place is dialled
HINTS_PER_S: Final = 0.1  # announcements of another place that are followed at once; then each place has its turn


class LinkState(enum.StrEnum):
    """What people are told of a link."""

    CONNECTING = "connecting"
    LINKED = "linked"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Endpoint:
    """Where a neighbour's broker listens."""

    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True, kw_only=True)
class LinkEvents:
    """Whom a link tells what; all are called in the event loop and must not block."""

    on_message: Callable[["Link", Lane, Envelope], None]
    on_session: Callable[["Link"], None]  # a new session can be sent on: it is time to compare ledgers
    on_state: Callable[["Link"], None]
    counters: Counters = field(default_factory=Counters)


class Link:
    """The link to one neighbour.

    `endpoints`, where the neighbour may be, are dialled in turn.  `tls` holds the context of each lane's connection
    (its certificate names node and lane); `keys` gives the epoch keys of the moment.
    """

    def __init__(
        self,
        ends: Ends,
        *endpoints: Endpoint,
        tls: Mapping[Lane, ssl.SSLContext],
        keys: Callable[[], KeyRing],
        events: LinkEvents,
    ) -> None:
        self.peer_id = crypto.node_id(ends.remote)
        self.since = time.monotonic()  # when the state last changed
        self.state = LinkState.CONNECTING
        self._events = events
        self._lanes = {
            lane: _LaneConnection(self, ends, lane, endpoints, tls=tls[lane], keys=keys, events=events) for lane in Lane
        }

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for lane, connection in self._lanes.items():
                tasks.create_task(connection.run(), name=f"{lane.name} to {self.peer_id[:8]}")

    @property
    def last_error(self) -> str:
        """Why there is no connection, for people; empty while there is no reason to tell."""
        return self._lanes[Lane.CTL].last_error

    @property
    def catch_up(self) -> bool:
        """Whether only the ledger and epoch keys can be exchanged so far."""
        return self._lanes[Lane.CTL].channel.catch_up

    @property
    def shares_key(self) -> bool:
        """Whether the control lane has a session under an epoch key; the link is up once the other lane has one too."""
        return self._lanes[Lane.CTL].channel.shares_key

    @property
    def is_open(self) -> bool:
        """Whether something can be sent on every lane, if only to catch up."""
        return all(connection.channel.is_open for connection in self._lanes.values())

    def sighted(self, *endpoints: Endpoint) -> None:
        """Take note of where the neighbour may be, the newest last, and try there soon if it is not connected."""
        for connection in self._lanes.values():
            connection.sighted(endpoints)

    def renew(self) -> None:
        """Begin handshakes anew: our own subscription was away, and what the neighbour said meanwhile is lost."""
        for connection in self._lanes.values():
            connection.channel.renew()

    def keys_changed(self) -> None:
        """Leave sessions whose key is of the past, and open new ones where a key is shared now."""
        for connection in self._lanes.values():
            connection.channel.keys_changed()
        self.refresh()

    def send(self, kind: int, body: bytes, *, ttl_s: float) -> bytes:
        """Seal and publish one of the mesh's own messages; return its id.

        Errors: LinkDownError, QueueFullError, MessageTooLargeError; nothing was sent then.
        """
        message_id = secrets.token_bytes(MESSAGE_ID_BYTES)
        self.send_envelope(Lane.CTL, Envelope(kind, message_id, None, round(ttl_s * 1000), body))
        return message_id

    def send_envelope(self, lane: Lane, envelope: Envelope) -> None:
        """Seal and publish a message on a lane.  Errors: as `send`."""
        self._lanes[lane].channel.send(envelope)

    def carry(self, lane: Lane, frame: bytes, *, foreign: bool = False) -> None:
        """Publish a frame of a far session, on its way through this neighbour.

        foreign: of other nodes'; they get half of the queue at most, so that this node's own messages have the rest.
        Errors: LinkDownError, QueueFullError.
        """
        self._lanes[lane].publish(frame, foreign=foreign)

    def receive(self, frame: Frame) -> None:
        """Take a frame that the neighbour published for us; what is not sound is dropped."""
        self._lanes[frame.header.lane].channel.receive(frame)

    def refresh(self) -> None:
        """Work out the state anew and tell when it has changed."""
        if all(connection.channel.shares_key for connection in self._lanes.values()):
            state = LinkState.LINKED
        elif self.last_error:
            state = LinkState.UNREACHABLE
        else:
            state = LinkState.CONNECTING
        if state is not self.state:
            log.info("link to %s: %s", self.peer_id[:8], state)
            self.state, self.since = state, time.monotonic()
            self._events.on_state(self)


class _LaneConnection:
    """One lane: the connection we send over, and the channel that it carries."""

    def __init__(
        self,
        link: Link,
        ends: Ends,
        lane: Lane,
        endpoints: Sequence[Endpoint],
        *,
        tls: ssl.SSLContext,
        keys: Callable[[], KeyRing],
        events: LinkEvents,
    ) -> None:
        self._link = link
        name = CommonName(crypto.node_id(ends.local), ROLES[lane])
        self._topic = inbox_topic(name)
        self._wake = asyncio.Event()  # the connection has changed
        self._endpoints = deque(endpoints)  # the first is the one being dialled
        self._hints = Allowance(HINTS_PER_S)
        self._client = MqttClient(
            *endpoints[0].addresses,
            port=endpoints[0].port,
            tls=tls,
            client_id=str(name),
            on_state=self._connected,
            tuning=TUNING[lane],
        )
        self.channel = Channel(
            ends,
            lane,
            keys=keys,
            carry=self.publish,
            events=ChannelEvents(
                on_envelope=lambda envelope: events.on_message(link, lane, envelope),
                on_session=lambda: events.on_session(link) if lane is Lane.CTL else None,
                on_state=link.refresh,
                counters=events.counters,
            ),
        )

    @property
    def last_error(self) -> str:
        return "" if self._client.connected else self._client.last_error

    @property
    def connected(self) -> bool:
        return self._client.connected

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._client.run(), name="connection")
            tasks.create_task(self.channel.run(), name="session")
            tasks.create_task(self._look_elsewhere(), name="endpoints")

    def publish(self, frame: bytes, *, foreign: bool = False) -> None:
        if foreign and self._client.is_half_full:
            raise QueueFullError("what this node passes on for others waits already")
        self._client.publish(self._topic, frame)

    def sighted(self, endpoints: Sequence[Endpoint]) -> None:
        if self._client.connected:
            self._endpoints = deque(endpoints)
        elif len(endpoints) == 1 or self._hints.take():
            self._endpoints = deque(reversed(endpoints))
            self._dial()
        else:  # forged news must not keep it from the place where the neighbour was met
            self._endpoints = deque(sorted(endpoints, key=self._endpoints[0].__ne__))

    def _dial(self) -> None:
        self._client.wake(*self._endpoints[0].addresses, port=self._endpoints[0].port)

    def _connected(self, connected: bool) -> None:  # noqa: FBT001  MqttClient's callback
        if connected:
            self.channel.way_opened()
        else:
            self.channel.way_closed()
        self._wake.set()
        self._link.refresh()

    async def _look_elsewhere(self) -> None:
        """While there is no connection, dial the places where the neighbour may be in turn."""
        while True:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ELSEWHERE_S * random.uniform(1.0, 1.25)):  # noqa: S311  not a secret
                    await self._wake.wait()
                    continue
            if not self._client.connected and len(self._endpoints) > 1:
                self._endpoints.rotate(-1)
                self._dial()
