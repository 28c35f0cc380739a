"""A channel: the sessions of one lane with one peer, kept up over whatever carries their frames.

A link's channel is carried by the link's own connection; a far channel by the route of the moment (far.py).
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mesh.allowance import Allowance
from mesh.core import crypto
from mesh.core.envelope import FIRST_DEVICE_KIND, MESSAGE_ID_BYTES, Envelope, MeshKind
from mesh.core.epochs import KeyRing
from mesh.core.frames import Frame, FrameType, Lane
from mesh.core.lane import HANDSHAKE_TIMEOUT_S, Answer, Ends, Established, LaneSessions, Opened, State, Stranded
from mesh.counters import Counted, Counters
from mesh.errors import LinkDownError, MeshError, PeerMisbehavedError

log = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 60.0  # how late the renewal of a session may be noticed
RETRY_MAX_S: Final = 30.0
STRANDED_PAUSE_S: Final = 1.0  # frames of a lost session ask for a handshake this often at most
ANSWERS_PER_S: Final = 8.0  # handshakes answered; a flood of them costs no more than this
DROPS_LOGGED_PER_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class ChannelEvents:
    """Whom a channel tells what; all are called in the event loop and must not block."""

    on_envelope: Callable[[Envelope], None]
    on_session: Callable[[], None]  # a new session can be sent on
    on_state: Callable[[], None]
    counters: Counters


class Channel:
    """One lane's sessions.  `carry` publishes a frame, and raises MeshError when it cannot."""

    def __init__(
        self,
        ends: Ends,
        lane: Lane,
        *,
        keys: Callable[[], KeyRing],
        carry: Callable[[bytes], None],
        events: ChannelEvents,
        routed: bool = False,
    ) -> None:
        self._peer = crypto.node_id(ends.remote)[:8]
        self._keys = keys
        self._carry = carry
        self._events = events
        self._sessions = LaneSessions(ends, lane, routed=routed)
        self._answered = False  # by a handshake since there is a way: until then nobody may be listening there
        self._way = False  # whether frames can be carried at all
        self._stranded = False  # a frame of a session unknown here has come
        self._wake = asyncio.Event()  # something has changed that the keeper of the session must know
        self._answers = Allowance(ANSWERS_PER_S)
        self._drop_lines = Allowance(DROPS_LOGGED_PER_S)

    @property
    def is_open(self) -> bool:
        """Whether something can be sent, if only to catch up."""
        return self._way and self._answered and self._sessions.is_open

    def knows(self, frame: Frame) -> bool:
        """Whether a sealed frame belongs to a session that is here; else it asks for a handshake."""
        return self._sessions.knows(frame)

    @property
    def catch_up(self) -> bool:
        """Whether only the mesh's own kinds can be exchanged so far."""
        return self._sessions.catch_up

    @property
    def shares_key(self) -> bool:
        """Whether everything can be exchanged."""
        return self.is_open and not self.catch_up

    def way_opened(self, *, begin: bool = True) -> None:
        """Frames can be carried from now on; who is there may have restarted, so the session is renewed.

        begin: by us; else the peer has just begun.
        """
        self._way, self._answered = True, False
        if begin:
            self.renew()
        self._wake.set()

    def way_closed(self) -> None:
        """Frames cannot be carried for now."""
        self._way, self._answered = False, False
        self._sessions.give_up()
        self._wake.set()

    def keys_changed(self) -> None:
        """Leave sessions whose key is of the past, and open new ones where a key is shared now."""
        self._sessions.drop_stale(self._keys(), now=time.monotonic())
        if self._sessions.catch_up or not self._sessions.is_open:
            self.renew()

    def renew(self) -> None:
        """Begin a handshake; without a way there will be one when it opens."""
        if not self._way:
            return
        frame = self._sessions.begin(
            self._keys(),
            now=time.monotonic(),
            index=secrets.randbits(32),
            ephemeral=secrets.token_bytes(crypto.KEY_BYTES),
        )
        self._handshake(frame)

    def send(self, envelope: Envelope) -> None:
        """Seal and carry a message.

        Errors: LinkDownError, QueueFullError, MessageTooLargeError; nothing was sent then.
        """
        if envelope.kind >= FIRST_DEVICE_KIND and self.catch_up:
            raise LinkDownError("the node has yet to catch up with the community's keys")
        if not self._way or not self._answered:
            raise LinkDownError("the node has not answered the handshake yet")
        self._carry(self._sessions.seal(envelope.to_bytes()))
        self._events.counters.count(Counted.MESSAGES_SENT)

    def receive(self, frame: Frame) -> None:
        """Take a frame of the peer's; what is not sound is dropped and counted."""
        if frame.header.type is FrameType.H1 and not self._answers.take():
            self._events.counters.count(Counted.DROPPED_RATE_LIMITED)
            return
        fresh = frame.header.type is FrameType.H1  # nothing else needs new random values
        try:
            events = self._sessions.receive(
                frame,
                self._keys(),
                now=time.monotonic(),
                index=secrets.randbits(32) if fresh else 0,
                ephemeral=secrets.token_bytes(crypto.KEY_BYTES) if fresh else b"",
            )
            for event in events:
                self._handle(event)
        except PeerMisbehavedError as error:
            self._events.counters.dropped(error)
            if self._drop_lines.take():
                log.warning("dropped a frame of %s: %s", self._peer, error)

    async def run(self) -> None:
        """Begin handshakes where they are due, until cancelled: unanswered, worn out, asked for by a stranded frame."""
        retry_s = HANDSHAKE_TIMEOUT_S
        while True:
            await self._woken_within((CHECK_EVERY_S if self.is_open else retry_s) * random.uniform(1.0, 1.25))  # noqa: S311  not a secret
            retry_s = HANDSHAKE_TIMEOUT_S if self.is_open else min(2 * retry_s, RETRY_MAX_S)
            self._sessions.drop_stale(self._keys(), now=time.monotonic())
            stranded, self._stranded = self._stranded, False
            if stranded or self._wants_handshake():
                self.renew()
            self._events.on_state()
            if stranded:
                await asyncio.sleep(STRANDED_PAUSE_S)

    def _handle(self, event: Answer | Opened | Established | Stranded) -> None:
        match event:
            case Answer(frame):
                self._handshake(frame)
            case Established(confirm):
                if confirm is not None:
                    note = Envelope(MeshKind.CONFIRM, secrets.token_bytes(MESSAGE_ID_BYTES), None, 0, b"")
                    self._handshake(confirm(note.to_bytes()))
                self._answered, self._stranded = True, False
                self._events.on_state()
                self._events.on_session()
            case Opened(plaintext, catch_up):
                self._opened(Envelope.parse(plaintext), catch_up=catch_up)
            case Stranded():
                self._events.counters.count(Counted.DROPPED_UNKNOWN_SESSION)
                self._stranded = True
                self._wake.set()

    def _opened(self, envelope: Envelope, *, catch_up: bool) -> None:
        if envelope.kind == MeshKind.CONFIRM:
            return
        if catch_up and envelope.kind >= FIRST_DEVICE_KIND:
            self._events.counters.count(Counted.DROPPED_CATCHING_UP)
            return
        self._events.counters.count(Counted.MESSAGES_RECEIVED)
        self._events.on_envelope(envelope)

    def _handshake(self, frame: bytes) -> None:
        """Carry a frame of a handshake; when that fails, the handshake is begun again later."""
        try:
            self._carry(frame)
        except MeshError as error:
            log.debug("a handshake frame to %s was not sent: %s", self._peer, error)

    def _wants_handshake(self) -> bool:
        unasked = not self._answered and self._sessions.state in {State.IDLE, State.OPEN}
        return unasked or self._sessions.wants_handshake(now=time.monotonic())

    async def _woken_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
