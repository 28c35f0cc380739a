"""The offerer's side of pairing, for one connection: bytes in, bytes and events out."""

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mesh.core.door_messages import (
    MAX_PART_BYTES,
    DoorType,
    Grant,
    HangUpError,
    Ports,
    Refusal,
    SealedChannel,
    framed,
)
from mesh.core.noise import Handshake, Pattern
from mesh.core.pairing import (
    NONCE_BYTES,
    PROOF_BYTES,
    VERSION,
    Admission,
    Form,
    Introduction,
    PairingKey,
    Random,
    SealedKind,
    prologue,
)
from mesh.errors import CryptoError, MalformedError


class Saw(enum.Enum):
    """What moves the machine."""

    PROBE = enum.auto()
    PAIR = enum.auto()
    PROOF = enum.auto()
    ADMITTED = enum.auto()  # by this node's own decision
    JOINED = enum.auto()


class State(enum.Enum):
    """Where the conversation stands."""

    WAITING = enum.auto()
    PROBED = enum.auto()
    GREETED = enum.auto()
    PROVEN = enum.auto()
    ACCEPTED = enum.auto()
    JOINED = enum.auto()


TRANSITIONS: Final[dict[State, dict[Saw, State]]] = {
    State.WAITING: {Saw.PROBE: State.PROBED},
    State.PROBED: {Saw.PAIR: State.GREETED},
    State.GREETED: {Saw.PROOF: State.PROVEN},
    State.PROVEN: {Saw.ADMITTED: State.ACCEPTED},
    State.ACCEPTED: {Saw.JOINED: State.JOINED},
    State.JOINED: {},
}


@dataclass(frozen=True)
class Proven:
    """The joiner knew the words; the caller admits it, saves that, and calls `accept`."""

    joiner: Introduction


@dataclass(frozen=True)
class Joined:
    """The joiner has saved its admission, and lets this node into its broker."""

    grant: Grant
    ports: Ports


Reply = tuple[bytes, Proven | Joined | None]


class Offerer:
    """One conversation; `keys` are those of the open offer, none when there is none.

    `begin_try` counts a try for this source and says why not, if not.  Errors of `receive`: PeerMisbehavedError, upon
    which the caller hangs up, after telling the reason of a HangUpError.
    """

    def __init__(
        self,
        introduction: Introduction,
        static: bytes,
        *,
        keys: Sequence[PairingKey],
        begin_try: Callable[[], Refusal | None],
        random: Random,
    ) -> None:
        self.state = State.WAITING
        self._introduction = introduction
        self._static = static
        self._keys = {key.form: key for key in keys}
        self._begin_try = begin_try
        self._random = random
        self._nonces = (b"", b"")
        self._handshake: Handshake | None = None
        self._channel: SealedChannel | None = None

    def receive(self, kind: DoorType, body: bytes) -> Reply:
        """Take one message; return what to send, and what came of it."""
        match kind:
            case DoorType.PROBE:
                return self._probed(body)
            case DoorType.PAIR:
                return self._begun(body)
            case DoorType.HANDSHAKE if self._handshake is not None:
                return self._proven(self._handshake, body)
            case DoorType.SEALED if self._channel is not None:
                return self._joined(self._channel, body)
        raise MalformedError("a door message out of turn")

    def accept(self, admission: Admission) -> Iterator[bytes]:
        """Yield the messages of an admission; the caller has saved the ledger entry before."""
        channel = self._channel
        if channel is None:
            raise MalformedError("nobody has proven to know the words")
        self._advance(Saw.ADMITTED)
        data = admission.to_bytes()
        yield channel.seal([SealedKind.ACCEPT, len(data)])
        for start in range(0, len(data), MAX_PART_BYTES):
            yield channel.seal([SealedKind.PART, data[start : start + MAX_PART_BYTES]])

    def _advance(self, saw: Saw) -> None:
        try:
            self.state = TRANSITIONS[self.state][saw]
        except KeyError as error:
            raise MalformedError("a door message out of turn") from error

    def _probed(self, body: bytes) -> Reply:
        if len(body) != 1 + NONCE_BYTES or body[0] != VERSION:
            raise MalformedError("not a probe")
        self._advance(Saw.PROBE)
        if not self._keys:
            return framed(DoorType.CLOSED), None
        nonce, nonce2 = body[1:], self._random(NONCE_BYTES)
        self._nonces = (nonce, nonce2)
        raw_id = self._introduction.statement.raw_id
        proofs = [
            self._keys[form].proof(nonce, nonce2, raw_id) if form in self._keys else self._random(PROOF_BYTES)
            for form in (Form.WORDS, Form.QR)
        ]
        return framed(DoorType.OFFER, b"".join((raw_id, nonce2, *proofs))), None

    def _begun(self, body: bytes) -> Reply:
        self._advance(Saw.PAIR)
        key = next((key for form, key in self._keys.items() if body[:1] == bytes([form])), None)
        if key is None:
            raise MalformedError("an unknown form of pairing")
        refusal = self._begin_try()
        if refusal is not None:
            raise HangUpError(refusal)
        self._handshake = Handshake(
            Pattern.XXPSK3,
            initiator=False,
            static=self._static,
            ephemeral=self._random(32),
            prologue=prologue(key.form, *self._nonces, self._introduction.statement.raw_id),
            psk=key.psk,
        )
        self._handshake.read(body[1:])
        return framed(DoorType.HANDSHAKE, self._handshake.write(self._introduction.to_bytes())), None

    def _proven(self, handshake: Handshake, body: bytes) -> Reply:
        self._advance(Saw.PROOF)
        try:
            payload = handshake.read(body)
        except CryptoError as error:
            raise HangUpError(Refusal.PROOF) from error
        joiner = Introduction.parse(payload, handshake.remote_static)
        self._channel = SealedChannel(handshake.split())
        return b"", Proven(joiner)

    def _joined(self, channel: SealedChannel, body: bytes) -> Reply:
        self._advance(Saw.JOINED)
        match channel.open(body):
            case [SealedKind.JOINED, grant, ports]:
                return b"", Joined(Grant.parse(grant), Ports.parse(ports))
        raise MalformedError("not the end of a pairing")
