r"""Enrolment: members give each other keys to their brokers (decisions 5 and 9 of docs/protocol.md).

    member    ENROL    Noise IK message 1, payload [TLS key]
    owner     HANDSHAKE message 2, payload [grant, TLS key, ports]
    member    SEALED   [3, grant, ports]

The prologue is "hearthmesh/enrol/1\0", community, the owner's raw id.  Message 1 may be replayed: nothing is kept
before the sealed message, and the answer opens for the true sender only.
"""

import enum
from dataclasses import dataclass
from typing import Final

from mesh.core import codec
from mesh.core.door_messages import MAX_MESSAGE_BYTES, MAX_TLS_KEY_BYTES, DoorType, Grant, Ports, SealedChannel, framed
from mesh.core.noise import Handshake, Pattern
from mesh.core.pairing import SealedKind
from mesh.errors import CryptoError, MalformedError


@dataclass(frozen=True)
class Place:
    """Whose door in which community an enrolment is about."""

    community: bytes
    owner: bytes

    @property
    def prologue(self) -> bytes:
        """What both ends must agree on before the handshake."""
        return b"hearthmesh/enrol/1\0" + self.community + self.owner


class Saw(enum.Enum):
    """What moves the owner's machine."""

    REQUEST = enum.auto()
    GRANTED = enum.auto()  # by this node's own decision
    RETURNED = enum.auto()


class State(enum.Enum):
    """Where the owner's side of an enrolment stands."""

    WAITING = enum.auto()
    ASKED = enum.auto()
    ANSWERED = enum.auto()
    DONE = enum.auto()


TRANSITIONS: Final[dict[State, dict[Saw, State]]] = {
    State.WAITING: {Saw.REQUEST: State.ASKED},
    State.ASKED: {Saw.GRANTED: State.ANSWERED},
    State.ANSWERED: {Saw.RETURNED: State.DONE},
    State.DONE: {},
}


@dataclass(frozen=True)
class Request:
    """A node with this static key asks for a grant; the caller looks it up in its ledger."""

    static: bytes
    tls_public: bytes


@dataclass(frozen=True)
class Returned:
    """The other side's grant for this node, and where it listens; now it is surely the member."""

    grant: Grant
    ports: Ports


class Owner:
    """The side whose door it is.  Errors: PeerMisbehavedError, upon which the caller hangs up."""

    def __init__(self, place: Place, static: bytes, *, ephemeral: bytes) -> None:
        self.state = State.WAITING
        self._handshake = Handshake(
            Pattern.IK, initiator=False, static=static, ephemeral=ephemeral, prologue=place.prologue
        )

    def request(self, body: bytes) -> Request:
        """Read an ENROL message."""
        self._advance(Saw.REQUEST)
        payload = self._handshake.read(body)
        static = self._handshake.remote_static or b""  # message 1 has just told it
        match codec.decode_array(payload, max_bytes=MAX_MESSAGE_BYTES):
            case [tls_public]:
                return Request(static, codec.short_bytes(tls_public, MAX_TLS_KEY_BYTES))
        raise MalformedError("not a request for a grant")

    def grant(self, grant: Grant, tls_public: bytes, ports: Ports) -> bytes:
        """Answer a member's request."""
        self._advance(Saw.GRANTED)
        payload = codec.encode([grant.to_item(), tls_public, ports.to_item()])
        return framed(DoorType.HANDSHAKE, self._handshake.write(payload))

    def returned(self, body: bytes) -> Returned:
        """Read the member's own grant."""
        self._advance(Saw.RETURNED)
        match SealedChannel(self._handshake.split()).open(body):
            case [SealedKind.JOINED, grant, ports]:
                return Returned(Grant.parse(grant), Ports.parse(ports))
        raise MalformedError("not the end of an enrolment")

    def _advance(self, saw: Saw) -> None:
        try:
            self.state = TRANSITIONS[self.state][saw]
        except KeyError as error:
            raise MalformedError("a door message out of turn") from error


@dataclass(frozen=True)
class Granted:
    """What the owner of the door gave, and the TLS key it wants certified in return."""

    grant: Grant
    tls_public: bytes
    ports: Ports


class Applicant:
    """The side that knocks: send `request()`, feed the answer to `granted`, send `give_back()`."""

    def __init__(self, place: Place, static: bytes, *, owner_static: bytes, ephemeral: bytes) -> None:
        self._handshake = Handshake(
            Pattern.IK,
            initiator=True,
            static=static,
            ephemeral=ephemeral,
            prologue=place.prologue,
            remote_static=owner_static,
        )

    def request(self, tls_public: bytes) -> bytes:
        """Ask for a certificate of this TLS key."""
        return framed(DoorType.ENROL, self._handshake.write(codec.encode([tls_public])))

    def granted(self, kind: DoorType, body: bytes) -> Granted:
        """Read the answer.  Errors: PeerMisbehavedError."""
        if kind is not DoorType.HANDSHAKE or self._handshake.finished:
            raise CryptoError("a door message out of turn")
        match codec.decode_array(self._handshake.read(body), max_bytes=MAX_MESSAGE_BYTES):
            case [grant, tls_public, ports]:
                return Granted(Grant.parse(grant), codec.short_bytes(tls_public, MAX_TLS_KEY_BYTES), Ports.parse(ports))
        raise MalformedError("not a grant")

    def give_back(self, grant: Grant, ports: Ports) -> bytes:
        """Let the owner into this node's broker too."""
        channel = SealedChannel(self._handshake.split())
        return channel.seal([SealedKind.JOINED, grant.to_item(), ports.to_item()])
