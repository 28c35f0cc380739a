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

from mesh.core import crypto
from mesh.core.envelope import FIRST_DEVICE_KIND, MESSAGE_ID_BYTES, Envelope, MeshKind
from mesh.core.epochs import KeyRing
from mesh.core.frames import Frame, FrameType, Lane
from mesh.core.lane import HANDSHAKE_TIMEOUT_S, Answer, Ends, Established, LaneSessions, Opened, State, Stranded
from mesh.core.topic_policy import CommonName, Role, inbox_topic
from mesh.counters import Counted, Counters
from mesh.errors import LinkDownError, MeshError, PeerMisbehavedError
from mesh.mqtt import MqttClient

log = logging.getLogger(__name__)

ROLES: Final[Mapping[Lane, Role]] = {Lane.CTL: Role.CTL, Lane.BULK: Role.BULK}
CHECK_EVERY_S: Final = 60.0  # how late the renewal of a session may be noticed
RETRY_MAX_S: Final = 30.0
STRANDED_PAUSE_S: Final = 1.0  # frames of a lost session ask for a handshake this often at most
ANSWERS_PER_S: Final = 8.0  # handshakes answered on a lane; a flood of them costs no more than this
DROPS_LOGGED_PER_S: Final = 0.2
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

    on_message: Callable[["Link", Envelope], None]
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
        return any(connection.catch_up for connection in self._lanes.values())

    @property
    def is_open(self) -> bool:
        """Whether something can be sent on every lane, if only to catch up."""
        return all(connection.is_open for connection in self._lanes.values())

    def sighted(self, *endpoints: Endpoint) -> None:
        """Take note of where the neighbour may be, the newest last, and try there soon if it is not connected."""
        for connection in self._lanes.values():
            connection.sighted(endpoints)

    def renew(self) -> None:
        """Begin handshakes anew: our own subscription was away, and what the neighbour said meanwhile is lost."""
        for connection in self._lanes.values():
            connection.renew()

    def keys_changed(self) -> None:
        """Leave sessions whose key is of the past, and open new ones where a key is shared now."""
        for connection in self._lanes.values():
            connection.keys_changed()
        self.refresh()

    def send(self, kind: int, body: bytes, *, re: bytes | None = None, lane: Lane = Lane.CTL, ttl_s: float) -> bytes:
        """Seal and publish a message; return its id.

        Errors: LinkDownError, QueueFullError, MessageTooLargeError; nothing was sent then.
        """
        message_id = secrets.token_bytes(MESSAGE_ID_BYTES)
        self._lanes[lane].send(Envelope(kind, message_id, re, round(ttl_s * 1000), body))
        return message_id

    def receive(self, lane: Lane, payload: bytes) -> None:
        """Take what the neighbour published on a lane's topic of our broker; what is not sound is dropped."""
        self._lanes[lane].receive(payload)

    def refresh(self) -> None:
        """Work out the state anew and tell when it has changed."""
        if self.is_open and not self.catch_up:
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
    """One lane: the connection we send over, and its sessions."""

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
        self._lane = lane
        self._keys = keys
        self._events = events
        self._sessions = LaneSessions(ends, lane)
        name = CommonName(crypto.node_id(ends.local), ROLES[lane])
        self._topic = inbox_topic(name)
        self._answered = False  # by a handshake since we connected: until then nobody may be listening there
        self._stranded = False  # a frame of a session unknown here has come
        self._wake = asyncio.Event()  # something has changed that the session's keeper must know
        self._endpoints = deque(endpoints)  # the first is the one being dialled
        self._hints = _Allowance(HINTS_PER_S)
        self._answers = _Allowance(ANSWERS_PER_S)
        self._drop_lines = _Allowance(DROPS_LOGGED_PER_S)
        self._client = MqttClient(
            *endpoints[0].addresses, port=endpoints[0].port, tls=tls, client_id=str(name), on_state=self._connected
        )

    @property
    def is_open(self) -> bool:
        return self._client.connected and self._answered and self._sessions.is_open

    @property
    def catch_up(self) -> bool:
        return self._sessions.catch_up

    @property
    def last_error(self) -> str:
        return "" if self._client.connected else self._client.last_error

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._client.run(), name="connection")
            tasks.create_task(self._keep_session(), name="session")

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

    def keys_changed(self) -> None:
        self._sessions.drop_stale(self._keys(), now=time.monotonic())
        if self._sessions.catch_up or not self._sessions.is_open:
            self.renew()

    def renew(self) -> None:
        """Begin a handshake; without a connection there will be one when it comes."""
        if not self._client.connected:
            return
        frame = self._sessions.begin(
            self._keys(),
            now=time.monotonic(),
            index=secrets.randbits(32),
            ephemeral=secrets.token_bytes(crypto.KEY_BYTES),
        )
        self._publish(frame)

    def send(self, envelope: Envelope) -> None:
        if envelope.kind >= FIRST_DEVICE_KIND and self.catch_up:
            raise LinkDownError("the neighbour has yet to catch up with the community's keys")
        if not self._client.connected:
            raise LinkDownError(f"no connection to the neighbour: {self._client.last_error or 'not dialled yet'}")
        if not self._answered:
            raise LinkDownError("the neighbour has not answered the handshake yet")
        self._client.publish(self._topic, self._sessions.seal(envelope.to_bytes()))
        self._events.counters.count(Counted.MESSAGES_SENT)

    def receive(self, payload: bytes) -> None:
        try:
            frame = Frame.parse(payload)
            if frame.header.type is FrameType.H1 and not self._answers.take():
                self._events.counters.count(Counted.DROPPED_RATE_LIMITED)
                return
            events = self._sessions.receive(
                frame,
                self._keys(),
                now=time.monotonic(),
                index=secrets.randbits(32),
                ephemeral=secrets.token_bytes(crypto.KEY_BYTES),
            )
            for event in events:
                self._handle(event)
        except PeerMisbehavedError as error:
            self._events.counters.dropped(error)
            if self._drop_lines.take():
                log.warning("dropped a frame of %s: %s", self._link.peer_id[:8], error)

    def _handle(self, event: Answer | Opened | Established | Stranded) -> None:
        match event:
            case Answer(frame):
                self._publish(frame)
            case Established(confirm):
                if confirm is not None:
                    note = Envelope(MeshKind.CONFIRM, secrets.token_bytes(MESSAGE_ID_BYTES), None, 0, b"")
                    self._publish(confirm(note.to_bytes()))
                self._answered, self._stranded = True, False
                self._link.refresh()
                if self._lane is Lane.CTL:
                    self._events.on_session(self._link)
            case Opened(plaintext, catch_up):
                envelope = Envelope.parse(plaintext)
                self._events.counters.count(Counted.MESSAGES_RECEIVED)
                if catch_up and envelope.kind >= FIRST_DEVICE_KIND:
                    self._events.counters.count(Counted.DROPPED_CATCHING_UP)
                elif envelope.kind != MeshKind.CONFIRM:
                    self._events.on_message(self._link, envelope)
            case Stranded():
                self._events.counters.count(Counted.DROPPED_UNKNOWN_SESSION)
                self._stranded = True
                self._wake.set()

    def _connected(self, connected: bool) -> None:  # noqa: FBT001  MqttClient's callback
        """A new connection may lead to a restarted neighbour: its sessions are gone, so ours is renewed."""
        self._answered = False
        if connected:
            self.renew()
        else:
            self._sessions.give_up()
        self._wake.set()
        self._link.refresh()

    def _publish(self, frame: bytes) -> None:
        """Publish a frame of a handshake; when that fails, the handshake is begun again later."""
        try:
            self._client.publish(self._topic, frame)
        except MeshError as error:
            log.debug("a handshake frame to %s was not sent: %s", self._link.peer_id[:8], error)

    async def _keep_session(self) -> None:
        """Begin handshakes where they are due: unanswered, worn out, or asked for by a stranded frame."""
        retry_s = HANDSHAKE_TIMEOUT_S
        while True:
            await self._woken_within((CHECK_EVERY_S if self.is_open else retry_s) * random.uniform(1.0, 1.25))  # noqa: S311  not a secret
            retry_s = HANDSHAKE_TIMEOUT_S if self.is_open else min(2 * retry_s, RETRY_MAX_S)
            self._sessions.drop_stale(self._keys(), now=time.monotonic())
            if not self._client.connected and len(self._endpoints) > 1:
                self._endpoints.rotate(-1)
                self._dial()
            stranded, self._stranded = self._stranded, False
            if stranded or self._wants_handshake():
                self.renew()
            self._link.refresh()
            if stranded:
                await asyncio.sleep(STRANDED_PAUSE_S)

    def _wants_handshake(self) -> bool:
        unasked = not self._answered and self._sessions.state in {State.IDLE, State.OPEN}
        return unasked or self._sessions.wants_handshake(now=time.monotonic())

    async def _woken_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()


class _Allowance:
    """Lets something happen a number of times a second, and ten seconds' worth of it at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = max(1.0, 10 * per_second)
        self._left = self._most
        self._at = time.monotonic()

    def take(self) -> bool:
        """Use one, if there is one left."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
