"""What passes through a door: length(2, big endian), type(1), body; at most 4 KiB a message.

Strangers speak here, so everything is small and nothing is kept that they did not pay for.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mesh.core import codec, crypto
from mesh.core.noise import SplitKeys
from mesh.errors import DoorBusyError, DoorRefusedError, MalformedError, PeerMisbehavedError

MAX_MESSAGE_BYTES: Final = 4096
MAX_PART_BYTES: Final = 3968  # of a long text, sealed and wrapped, in one message
MAX_PEM_BYTES: Final = 1100  # a P-256 certificate takes some 600; three fit one message
MAX_TLS_KEY_BYTES: Final = 512
MAX_PORT: Final = 65_535
_LENGTH_BYTES: Final = 2


class DoorType(enum.IntEnum):
    """The first byte of a message."""

    PROBE = 1  # joiner: is your offer the one my words open?
    OFFER = 2  # offerer: here is the proof
    CLOSED = 3  # offerer: no offer is open
    PAIR = 4  # joiner: Noise XXpsk3, message 1
    HANDSHAKE = 5  # any later handshake message
    SEALED = 6  # a message under the keys of the finished handshake
    ENROL = 7  # member: Noise IK, message 1
    REFUSED = 0x7F  # the door's owner hangs up, with a reason


class Refusal(enum.IntEnum):
    """Why a door hangs up."""

    BUSY = 1
    TOO_MANY_TRIES = 2
    TAKEN = 3
    PROOF = 4
    NOT_A_MEMBER = 5
    COMMUNITY_FULL = 6


REFUSAL_TEXTS: Final = {
    Refusal.BUSY: "the other node is answering someone else; try again in a second",
    Refusal.TOO_MANY_TRIES: "too many tries from this address; open a new offer there",
    Refusal.TAKEN: "the offer was used by another node",
    Refusal.PROOF: "the proof of the words does not hold",
    Refusal.NOT_A_MEMBER: "the other node does not know this one as a member",
    Refusal.COMMUNITY_FULL: "the other node may not let anyone in",
}


class HangUpError(PeerMisbehavedError):
    """This side ends the conversation; the reason may be told to the other."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(REFUSAL_TEXTS[reason])
        self.reason = reason


@dataclass
class DoorReader:
    """Cuts a byte stream into messages."""

    _buffer: bytearray = field(default_factory=bytearray)

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Feed bytes from the wire; yield each message they complete.  Errors: MalformedError."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            size = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if not 0 < size <= MAX_MESSAGE_BYTES:
                raise MalformedError(f"a door message of {size} bytes")
            end = _LENGTH_BYTES + size
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[_LENGTH_BYTES:end])
            del self._buffer[:end]
            yield message


def framed(kind: DoorType, body: bytes = b"") -> bytes:
    """Write a message for the wire."""
    size = 1 + len(body)
    if size > MAX_MESSAGE_BYTES:
        raise MalformedError(f"a door message of {size} bytes")
    return size.to_bytes(_LENGTH_BYTES, "big") + bytes([kind]) + body


def refused(reason: Refusal) -> bytes:
    """Write the message that hangs up."""
    return framed(DoorType.REFUSED, bytes([reason]))


def parse_message(message: bytes) -> tuple[DoorType, bytes]:
    """Split a message.  Errors: MalformedError; DoorRefusedError when the other side hung up with a reason."""
    try:
        kind = DoorType(message[0])
        if kind is DoorType.REFUSED:
            reason = Refusal(message[1])
            raise (DoorBusyError if reason is Refusal.BUSY else DoorRefusedError)(REFUSAL_TEXTS[reason])
    except (ValueError, IndexError) as error:
        raise MalformedError("a door message of unknown type") from error
    return kind, message[1:]


class SealedChannel:
    """The transport of a finished handshake: Noise's own cipher states, one message after the other."""

    def __init__(self, keys: SplitKeys) -> None:
        self._keys = keys
        self._sent = self._received = 0

    def seal(self, fields: list[codec.Item]) -> bytes:
        """Seal one array into a message for the wire."""
        sealed = crypto.seal(self._keys.send, self._sent, b"", codec.encode(fields))
        self._sent += 1
        return framed(DoorType.SEALED, sealed)

    def open(self, body: bytes) -> list[codec.Item]:
        """Open the next message's body.  Errors: CryptoError, MalformedError."""
        plaintext = crypto.unseal(self._keys.receive, self._received, b"", body)
        self._received += 1
        fields = codec.decode_array(plaintext, max_bytes=MAX_MESSAGE_BYTES)
        if fields and isinstance(fields[0], bool):
            raise MalformedError("a sealed message whose kind is a truth value")  # which would equal a number
        return fields


@dataclass(frozen=True)
class Grant:
    """A key to one node's broker: the authority to pin, and a certificate for each lane (PEM)."""

    ca: bytes
    ctl: bytes
    bulk: bytes

    def to_item(self) -> codec.Item:
        """Write the grant for a sealed message."""
        return [self.ca, self.ctl, self.bulk]

    @classmethod
    def parse(cls, item: codec.Item) -> "Grant":
        """Read a grant.  Errors: MalformedError; what is in the certificates is the TLS library's to judge."""
        match item:
            case [ca, ctl, bulk]:
                return cls(*(codec.short_bytes(pem, MAX_PEM_BYTES) for pem in (ca, ctl, bulk)))
        raise MalformedError("not a grant")


@dataclass(frozen=True)
class Ports:
    """Where a node listens, beside the address the other one sees."""

    mqtt: int
    door: int

    def to_item(self) -> codec.Item:
        """Write the ports for a sealed message."""
        return [self.mqtt, self.door]

    @classmethod
    def parse(cls, item: codec.Item) -> "Ports":
        """Read the ports.  Errors: MalformedError."""
        match item:
            case [mqtt, door]:
                return cls(codec.unsigned(mqtt, MAX_PORT), codec.unsigned(door, MAX_PORT))
        raise MalformedError("not a pair of ports")
