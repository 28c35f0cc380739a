"""The joiner's side of pairing, for one door: bytes in, bytes and events out."""

import enum
import hmac
from dataclasses import dataclass
from typing import Final

from mesh.core import crypto
from mesh.core.codec import Item, unsigned
from mesh.core.door_messages import DoorType, Grant, Ports, SealedChannel, framed
from mesh.core.noise import Handshake, Pattern
from mesh.core.pairing import (
    MAX_ADMISSION_BYTES,
    NONCE_BYTES,
    PROOF_BYTES,
    VERSION,
    Admission,
    Introduction,
    PairingKey,
    Random,
    SealedKind,
    prologue,
)
from mesh.errors import CryptoError, MalformedError, NoOfferError, WrongWordsError


class Saw(enum.Enum):
    """What moves the machine."""

    OFFER = enum.auto()
    BEGUN = enum.auto()  # this door's proof held, and the caller chose it
    GREETING = enum.auto()
    ACCEPT = enum.auto()
    LAST_PART = enum.auto()
    CONFIRMED = enum.auto()  # the caller has saved the admission


class State(enum.Enum):
    """Where the conversation stands."""

    PROBING = enum.auto()
    MATCHED = enum.auto()
    BEGUN = enum.auto()
    PROVING = enum.auto()
    RECEIVING = enum.auto()
    ACCEPTED = enum.auto()
    JOINED = enum.auto()


TRANSITIONS: Final[dict[State, dict[Saw, State]]] = {
    State.PROBING: {Saw.OFFER: State.MATCHED},
    State.MATCHED: {Saw.BEGUN: State.BEGUN},
    State.BEGUN: {Saw.GREETING: State.PROVING},
    State.PROVING: {Saw.ACCEPT: State.RECEIVING},
    State.RECEIVING: {Saw.LAST_PART: State.ACCEPTED},
    State.ACCEPTED: {Saw.CONFIRMED: State.JOINED},
    State.JOINED: {},
}


@dataclass(frozen=True)
class Accepted:
    """The offerer knew the words and let this node in; the caller checks and saves, and calls `confirm`."""

    offerer: Introduction
    admission: Admission


class Joiner:
    """One conversation: send `probe()`, feed OFFER to `receive`, send `begin()`, feed the rest to `receive`.

    Errors of `receive`: NoOfferError, WrongWordsError (this door's offer is not the one), PeerMisbehavedError.
    """

    def __init__(self, introduction: Introduction, static: bytes, *, key: PairingKey, random: Random) -> None:
        self.state = State.PROBING
        self._introduction = introduction
        self._static = static
        self._key = key
        self._nonce = random(NONCE_BYTES)
        self._ephemeral = random(32)
        self._handshake: Handshake | None = None
        self._offerer_id = b""
        self._channel: tuple[SealedChannel, Introduction] | None = None  # and who is at the other end
        self._expected = 0
        self._parts = bytearray()

    def probe(self) -> bytes:
        """Ask whether the door's offer is the one these words open."""
        return framed(DoorType.PROBE, bytes([VERSION]) + self._nonce)

    def begin(self) -> bytes:
        """Begin the handshake with the offerer whose proof held."""
        handshake = self._shake()
        self._advance(Saw.BEGUN)
        return framed(DoorType.PAIR, bytes([self._key.form]) + handshake.write(b""))

    def confirm(self, grant: Grant, ports: Ports) -> bytes:
        """Tell the offerer that the admission is saved, and let it into this node's broker."""
        channel, _ = self._open_channel()
        self._advance(Saw.CONFIRMED)
        return channel.seal([SealedKind.JOINED, grant.to_item(), ports.to_item()])

    def receive(self, kind: DoorType, body: bytes) -> tuple[bytes, Accepted | None]:
        """Take one message; return what to send, and what came of it."""
        match kind:
            case DoorType.CLOSED:
                raise NoOfferError("no offer is open there")
            case DoorType.OFFER:
                self._offered(body)
                return b"", None
            case DoorType.HANDSHAKE:
                return self._greeted(body), None
            case DoorType.SEALED:
                channel, offerer = self._open_channel()
                if self.state is State.PROVING:
                    self._accepted(channel.open(body))
                    return b"", None
                return b"", self._part(channel.open(body), offerer)
        raise MalformedError("a door message out of turn")

    def _advance(self, saw: Saw) -> None:
        try:
            self.state = TRANSITIONS[self.state][saw]
        except KeyError as error:
            raise MalformedError("a door message out of turn") from error

    def _shake(self) -> Handshake:
        if self._handshake is None:
            raise MalformedError("no handshake was begun")
        return self._handshake

    def _open_channel(self) -> tuple[SealedChannel, Introduction]:
        if self._channel is None:
            raise MalformedError("the handshake is not finished")
        return self._channel

    def _offered(self, body: bytes) -> None:
        self._advance(Saw.OFFER)
        if len(body) != crypto.KEY_BYTES + NONCE_BYTES + 2 * PROOF_BYTES:
            raise MalformedError("not an offer")
        raw_id, rest = body[: crypto.KEY_BYTES], body[crypto.KEY_BYTES :]
        nonce2, proofs = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        proof = proofs[self._key.form * PROOF_BYTES :][:PROOF_BYTES]
        if not hmac.compare_digest(proof, self._key.proof(self._nonce, nonce2, raw_id)):
            raise WrongWordsError("the words do not open the offer of this node")
        self._offerer_id = raw_id
        self._handshake = Handshake(
            Pattern.XXPSK3,
            initiator=True,
            static=self._static,
            ephemeral=self._ephemeral,
            prologue=prologue(self._key.form, self._nonce, nonce2, raw_id),
            psk=self._key.psk,
        )

    def _greeted(self, body: bytes) -> bytes:
        handshake = self._shake()
        self._advance(Saw.GREETING)
        offerer = Introduction.parse(handshake.read(body), handshake.remote_static)
        if offerer.statement.raw_id != self._offerer_id:
            raise CryptoError("the offerer is not the node it said it was")
        message = framed(DoorType.HANDSHAKE, handshake.write(self._introduction.to_bytes()))
        self._channel = (SealedChannel(handshake.split()), offerer)
        return message

    def _accepted(self, message: list[Item]) -> None:
        match message:
            case [SealedKind.ACCEPT, size]:
                self._expected = unsigned(size, MAX_ADMISSION_BYTES)
            case _:
                raise MalformedError("not an acceptance")
        self._advance(Saw.ACCEPT)

    def _part(self, message: list[Item], offerer: Introduction) -> Accepted | None:
        match message:
            case [SealedKind.PART, bytes(part)] if part and len(self._parts) + len(part) <= self._expected:
                self._parts += part
            case _:
                raise MalformedError("not a part of an admission")
        if len(self._parts) < self._expected:
            return None
        self._advance(Saw.LAST_PART)
        return Accepted(offerer, Admission.parse(bytes(self._parts)))
