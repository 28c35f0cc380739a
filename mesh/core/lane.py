"""How one lane of a link gets its session, keeps it and renews it: frames in, events out.

Noise_IKpsk2 between two members (decisions 11 and 12 of docs/protocol.md).  Either end may begin, both at once too:
then each receives on both sessions and sends on the one begun by the lower id.  The responder of a handshake sends on
its old session until the first valid frame of the new one, so a handshake that is replayed or never finished changes
nothing.  Without a common epoch key the session is a catch-up session, which carries the mesh's own kinds only.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from mesh.core import codec, crypto
from mesh.core.epochs import KeyRing
from mesh.core.frames import CATCH_UP_KEY, KEY_ID_BYTES, Frame, FrameType, Header, Lane
from mesh.core.noise import Handshake, Pattern
from mesh.core.session import Session
from mesh.errors import LinkDownError, MalformedError

HANDSHAKE_TIMEOUT_S: Final = 2.0
MAX_KEY_IDS: Final = 8  # named in a first message, the greatest first
MAX_SESSIONS: Final = 4  # received on: the current one, its rival, and what their handshakes left
MAX_INDEX: Final = 2**32 - 1
PROLOGUE: Final = b"hearthmesh/session/1\0"
_NO_KEY: Final = bytes(crypto.KEY_BYTES)


class State(enum.Enum):
    """What a lane has: a session to send on or not, a handshake of its own under way or not."""

    IDLE = "idle"
    OPENING = "opening"
    OPEN = "open"
    RENEWING = "renewing"


class Saw(enum.Enum):
    """What moves a lane from one state to the next."""

    BEGUN = "we began a handshake"
    SETTLED = "it was answered or given up"
    ESTABLISHED = "a handshake, ours or the peer's, left a session to send on"
    DROPPED = "the session may not be used any more"


TRANSITIONS: Final[Mapping[State, Mapping[Saw, State]]] = MappingProxyType(
    {
        State.IDLE: {Saw.BEGUN: State.OPENING, Saw.ESTABLISHED: State.OPEN},
        State.OPENING: {Saw.SETTLED: State.IDLE, Saw.ESTABLISHED: State.RENEWING},
        State.OPEN: {Saw.BEGUN: State.RENEWING, Saw.ESTABLISHED: State.OPEN, Saw.DROPPED: State.IDLE},
        State.RENEWING: {Saw.SETTLED: State.OPEN, Saw.ESTABLISHED: State.RENEWING, Saw.DROPPED: State.OPENING},
    }
)


@dataclass(frozen=True)
class Answer:
    """A frame to publish at once: the second message of the peer's handshake."""

    frame: bytes


@dataclass(frozen=True)
class Opened:
    """A message of the peer's; over a catch-up session only the mesh's own kinds count."""

    plaintext: bytes
    catch_up: bool


@dataclass(frozen=True)
class Established:
    """A handshake has left a session; where we began it, `confirm` seals the frame that lets the peer use it too."""

    confirm: Callable[[bytes], bytes] | None


@dataclass(frozen=True)
class Stranded:
    """The peer sends on a session that is not known here (one end has restarted): begin a handshake."""


Event = Answer | Opened | Established | Stranded


@dataclass(frozen=True)
class Ends:
    """Who speaks: raw ids, the own static secret and the peer's static public key, the community they share."""

    local: bytes
    remote: bytes
    static: bytes = field(repr=False)
    remote_static: bytes
    community: bytes

    def prologue(self, lane: Lane, *, initiator: bool, routed: bool = False) -> bytes:
        """Say what both ends must agree on before anything else."""
        first, second = (self.local, self.remote) if initiator else (self.remote, self.local)
        return b"".join((PROLOGUE, self.community, bytes([lane, routed]), first, second))


@dataclass(frozen=True, eq=False)
class _Pending:
    """A handshake we began."""

    handshake: Handshake
    index: int
    keys: KeyRing
    begun_at: float


class LaneSessions:
    """The sessions of one lane with one peer; routed: relays carry its frames, else it belongs to a link.

    Times are monotonic seconds; `index` (32 bits) and `ephemeral` (32 bytes) must be fresh random values each time that
    a handshake is begun or answered.
    """

    def __init__(self, ends: Ends, lane: Lane, *, routed: bool = False) -> None:
        self._ends = ends
        self._lane = lane
        self._routed = routed
        self._pending: _Pending | None = None
        self._sessions: dict[int, Session] = {}  # by local index, oldest first
        self._current: Session | None = None
        self.state = State.IDLE

    @property
    def catch_up(self) -> bool:
        """Whether the session to send on shares no epoch key."""
        return self._current is not None and self._current.key_id == CATCH_UP_KEY

    @property
    def is_open(self) -> bool:
        """Whether there is a session to send on."""
        return self._current is not None

    def knows(self, frame: Frame) -> bool:
        """Whether a sealed frame belongs to a session that is here; else it asks for a handshake."""
        return frame.header.receiver_index in self._sessions

    def begin(self, keys: KeyRing, *, now: float, index: int, ephemeral: bytes) -> bytes:
        """Begin a handshake, in place of one that is under way; return the frame to publish."""
        self.give_up()
        handshake = self._handshake(ephemeral, initiator=True)
        self._pending = _Pending(handshake, index, keys, now)
        self._move(Saw.BEGUN)
        ids: list[codec.Item] = [key.id for key in keys.current[:MAX_KEY_IDS]]
        message = handshake.write(codec.encode([index, ids]))
        return Frame(self._header(FrameType.H1), message).to_bytes()

    def give_up(self) -> None:
        """Forget the handshake we began, if there is one."""
        if self._pending is not None:
            self._pending = None
            self._move(Saw.SETTLED)

    def wants_handshake(self, *, now: float) -> bool:
        """Whether it is time to begin: no session or an old one, and no handshake that may still be answered."""
        if self._pending is not None:
            return now - self._pending.begun_at >= HANDSHAKE_TIMEOUT_S
        return self._current is None or self._current.wants_rekey(now)

    def drop_stale(self, keys: KeyRing, *, now: float) -> None:
        """Send no more under a key of an earlier membership number; let go of sessions nobody renewed.

        What the peer sealed before it knew of the new number is still opened: it is a member, and the session is ours
        alone, so who was removed cannot read it.
        """
        for index, session in list(self._sessions.items()):
            if session.is_expired(now):
                del self._sessions[index]
        current = self._current
        if current is None:
            return
        outdated = current.key_id != CATCH_UP_KEY and keys.find(current.key_id) is None
        if outdated or current.local_index not in self._sessions:
            self._current = None
            self._move(Saw.DROPPED)

    def seal(self, plaintext: bytes) -> bytes:
        """Seal a message into a frame.  Errors: LinkDownError without a session, MessageTooLargeError."""
        if self._current is None:
            raise LinkDownError("the neighbour has not answered the handshake yet")
        return self._current.seal(plaintext)

    def receive(self, frame: Frame, keys: KeyRing, *, now: float, index: int, ephemeral: bytes) -> list[Event]:
        """Take a frame of the peer's on this lane.  Errors: PeerMisbehavedError; nothing has changed then."""
        header = frame.header
        expected = (self._ends.remote, self._ends.local, self._lane, self._routed)
        if (header.source, header.destination, header.lane, header.routed) != expected:
            raise MalformedError("a frame that belongs to another lane")
        if header.type is FrameType.H1:
            return [self._answer(frame, keys, now=now, index=index, ephemeral=ephemeral)]
        if header.type is FrameType.H2:
            return self._answered(frame, now=now)
        return self._open(frame)

    def _answer(self, frame: Frame, keys: KeyRing, *, now: float, index: int, ephemeral: bytes) -> Answer:
        handshake = self._handshake(ephemeral, initiator=False)
        remote_index, key_ids = _parse_offer(handshake.read(bytes(frame.body)))
        if handshake.remote_static != self._ends.remote_static:
            raise MalformedError("a handshake under another static key than the ledger's")
        shared = keys.greatest_of(key_ids)
        key_id, handshake.psk = (shared.id, shared.secret) if shared else (CATCH_UP_KEY, _NO_KEY)
        message = handshake.write(codec.encode([index]))
        rival = None if self._pending is None else self._pending.index
        self._keep(self._session(handshake, index, remote_index, key_id, now=now, rival=rival))
        return Answer(Frame(self._header(FrameType.H2, remote_index), message, key_id=key_id).to_bytes())

    def _answered(self, frame: Frame, *, now: float) -> list[Event]:
        pending = self._pending
        if pending is None or frame.header.receiver_index != pending.index:
            return []  # of a handshake given up, or replayed
        self.give_up()  # whatever the answer holds: a handshake takes one
        if frame.key_id == CATCH_UP_KEY:
            secret = _NO_KEY
        elif (key := pending.keys.find(frame.key_id)) is not None:
            secret = key.secret
        else:
            raise MalformedError("an answer under a key that was not offered")
        pending.handshake.psk = secret
        remote_index = _parse_answer(pending.handshake.read(bytes(frame.body)))
        session = self._session(pending.handshake, pending.index, remote_index, frame.key_id, now=now, rival=None)
        self._keep(session)
        self._prefer(session)
        # Confirmed even when its rival is preferred: the peer may have no other session to send on.
        return [Established(confirm=session.seal)]

    def _open(self, frame: Frame) -> list[Event]:
        session = self._sessions.get(frame.header.receiver_index)
        if session is None:
            return [Stranded()]
        first = session.window.highest < 0
        opened = Opened(session.open(frame), catch_up=session.key_id == CATCH_UP_KEY)
        if first and not session.initiator and self._prefer(session):
            return [Established(confirm=None), opened]
        return [opened]

    def _prefer(self, session: Session) -> bool:
        """Send on this session from now on, unless the one in use is its rival and was begun by the lower id."""
        current = self._current
        if current is not None and _are_rivals(current, session) and current.begun_by_lower:
            return False
        self._current = session
        self._move(Saw.ESTABLISHED)
        return True

    def _keep(self, session: Session) -> None:
        self._sessions[session.local_index] = session
        while len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(index for index, kept in self._sessions.items() if kept is not self._current)]

    def _session(
        self,
        handshake: Handshake,
        local_index: int,
        remote_index: int,
        key_id: bytes,
        *,
        now: float,
        rival: int | None,
    ) -> Session:
        return Session(
            lane=self._lane,
            local=self._ends.local,
            remote=self._ends.remote,
            keys=handshake.split(),
            local_index=local_index,
            remote_index=remote_index,
            key_id=key_id,
            initiator=handshake.initiator,
            begun_at=now,
            rival=rival,
            routed=self._routed,
        )

    def _handshake(self, ephemeral: bytes, *, initiator: bool) -> Handshake:
        return Handshake(
            Pattern.IKPSK2,
            initiator=initiator,
            static=self._ends.static,
            ephemeral=ephemeral,
            prologue=self._ends.prologue(self._lane, initiator=initiator, routed=self._routed),
            remote_static=self._ends.remote_static if initiator else None,
        )

    def _header(self, kind: FrameType, receiver_index: int = 0) -> Header:
        return Header(kind, self._lane, self._ends.local, self._ends.remote, receiver_index, routed=self._routed)

    def _move(self, saw: Saw) -> None:
        self.state = TRANSITIONS[self.state][saw]


def _are_rivals(one: Session, other: Session) -> bool:
    return one.rival == other.local_index or other.rival == one.local_index


def _parse_offer(payload: bytes) -> tuple[int, list[bytes]]:
    match codec.decode_array(payload, max_bytes=16 + MAX_KEY_IDS * (KEY_ID_BYTES + 2)):
        case [index, list(key_ids)] if len(key_ids) <= MAX_KEY_IDS:
            return codec.unsigned(index, MAX_INDEX), [codec.fixed_bytes(key_id, KEY_ID_BYTES) for key_id in key_ids]
    raise MalformedError("not the first message of a handshake")


def _parse_answer(payload: bytes) -> int:
    match codec.decode_array(payload, max_bytes=16):
        case [index]:
            return codec.unsigned(index, MAX_INDEX)
    raise MalformedError("not the second message of a handshake")
