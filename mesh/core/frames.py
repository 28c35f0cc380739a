"""What one MQTT payload holds: a handshake message or a sealed message, behind one fixed header.

    type(1) hop(1) lane(1) flags(1) source(32) destination(32) receiver_index(4)        the header, 72 bytes
    H1    header, noise message 1                               receiver_index = 0
    H2    header, key id(16), noise message 2                   key id = zeros: a catch-up session
    DATA  header, counter(8), sealed envelope

Integers are big endian.  flags = 1: the session is end to end, and relays carry its frames; 0: it belongs to the link
that the frame arrived on.  Every field but `hop` is authenticated: by the seal as its associated data, or by the
handshake's prologue and payload.
"""

import dataclasses
import enum
import struct
from dataclasses import dataclass
from typing import Final

from mesh.core import crypto
from mesh.errors import MalformedError, MessageTooLargeError

MAX_FRAME_BYTES: Final = 1024 * 1024
HOP_LIMIT: Final = 16
KEY_ID_BYTES: Final = 16
CATCH_UP_KEY: Final = bytes(KEY_ID_BYTES)
HEADER_BYTES: Final = 72
ROUTED: Final = 1  # the one flag
_HOP_AT: Final = 1
COUNTER_BYTES: Final = 8
MAX_PLAINTEXT_BYTES: Final = MAX_FRAME_BYTES - HEADER_BYTES - COUNTER_BYTES - crypto.TAG_BYTES

_HEADER: Final = struct.Struct(">BBBB32s32sI")


class FrameType(enum.IntEnum):
    """What follows the header."""

    H1 = 0x11
    H2 = 0x12
    DATA = 0x13


class Lane(enum.IntEnum):
    """One connection of a link: commands and tokens on one, big things on the other, so neither waits."""

    CTL = 0
    BULK = 1


@dataclass(frozen=True)
class Header:
    """The first 72 bytes of a frame; source and destination are raw ids."""

    type: FrameType
    lane: Lane
    source: bytes
    destination: bytes
    receiver_index: int
    hop: int = 0
    routed: bool = False

    def to_bytes(self) -> bytes:
        """Write the header as it stands on the wire."""
        return _HEADER.pack(
            self.type, self.hop, self.lane, self.routed, self.source, self.destination, self.receiver_index
        )

    def associated(self) -> bytes:
        """Return what the seal covers: the header as if no relay had touched it."""
        return self.to_bytes() if self.hop == 0 else dataclasses.replace(self, hop=0).to_bytes()


@dataclass(frozen=True)
class Frame:
    """One frame: its header, the key id of an H2 or the counter of a DATA frame, and what is sealed.

    body: of a DATA frame that was read, a view of its bytes, which may be many.
    """

    header: Header
    body: bytes | memoryview
    key_id: bytes = CATCH_UP_KEY
    counter: int = 0

    def to_bytes(self) -> bytes:
        """Write the frame.  Errors: MessageTooLargeError."""
        if self.header.type is FrameType.H1:
            extra = b""
        elif self.header.type is FrameType.H2:
            extra = self.key_id
        else:
            extra = self.counter.to_bytes(COUNTER_BYTES, "big")
        data = b"".join((self.header.to_bytes(), extra, self.body))
        if len(data) > MAX_FRAME_BYTES:
            raise MessageTooLargeError(f"a frame of {len(data)} bytes; one holds at most {MAX_FRAME_BYTES}")
        return data

    @classmethod
    def parse(cls, data: bytes) -> "Frame":
        """Read a foreign frame.  Errors: MalformedError."""
        if not HEADER_BYTES <= len(data) <= MAX_FRAME_BYTES:
            raise MalformedError(f"a frame of {len(data)} bytes")
        kind, hop, lane, flags, source, destination, receiver_index = _HEADER.unpack_from(data)
        if flags not in (0, ROUTED) or hop > HOP_LIMIT:
            raise MalformedError("a frame header with unknown flags or too many hops")
        try:
            header = Header(FrameType(kind), Lane(lane), source, destination, receiver_index, hop, flags == ROUTED)
        except ValueError as error:
            raise MalformedError("a frame of unknown type or lane") from error
        if header.type is FrameType.H1:
            if receiver_index != 0:
                raise MalformedError("a first handshake message names no receiver")
            return cls(header, data[HEADER_BYTES:])
        if header.type is FrameType.H2:
            end = _require(data, HEADER_BYTES + KEY_ID_BYTES)
            return cls(header, data[end:], key_id=data[HEADER_BYTES:end])
        end = _require(data, HEADER_BYTES + COUNTER_BYTES)
        return cls(header, memoryview(data)[end:], counter=int.from_bytes(data[HEADER_BYTES:end], "big"))


def one_hop_on(data: bytes) -> bytes:
    """Return a parsed frame's bytes as a relay passes them on.  Errors: MalformedError at the limit of hops."""
    hop = data[_HOP_AT] + 1
    if hop > HOP_LIMIT:
        raise MalformedError("a frame that has gone too far")
    return b"".join((data[:_HOP_AT], bytes([hop]), data[_HOP_AT + 1 :]))


def _require(data: bytes, size: int) -> int:
    if len(data) < size:
        raise MalformedError("a frame is cut short")
    return size
