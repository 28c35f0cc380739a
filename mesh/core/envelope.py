"""What is inside a sealed frame: `[kind, message id, in reply to, time to live, body, place | null]`.

A message of the device has its place in a stream (streams.py); the mesh's own kinds have none, nor do the device's
bulk kinds: those are sent once, in no order, and whoever misses one asks again.
"""

import enum
from dataclasses import dataclass
from typing import Final

from mesh.core import codec
from mesh.core.frames import MAX_PLAINTEXT_BYTES
from mesh.errors import MalformedError

MESSAGE_ID_BYTES: Final = 16
FIRST_DEVICE_KIND: Final = 16
BULK_KINDS: Final = range(32, 64)  # of the device's: never numbered, on the lane for big things alone
MAX_KIND: Final = 2**16 - 1
MAX_TTL_MS: Final = 7 * 24 * 3600 * 1000
STREAM_BYTES: Final = 8
MAX_PLACE: Final = 2**62
ENVELOPE_OVERHEAD_BYTES: Final = 96  # array heads, kind, both ids, time to live, place and the body's own head
MAX_BODY_BYTES: Final = MAX_PLAINTEXT_BYTES - ENVELOPE_OVERHEAD_BYTES


class MeshKind(enum.IntEnum):
    """Message kinds of the mesh itself; FIRST_DEVICE_KIND and above are the device's."""

    CONFIRM = 0  # says nothing; lets the responder of a handshake switch to the new session
    HEADS = 1
    ENTRIES = 2
    EPOCH_KEYS = 3
    ACK = 4
    SUMMARY = 5
    ANNOUNCEMENTS = 6


@dataclass(frozen=True)
class StreamPlace:
    """Where a message stands among those of its stream; base: the lowest seq that may still come."""

    stream: bytes
    seq: int
    base: int

    @classmethod
    def parse(cls, item: codec.Item) -> "StreamPlace":
        """Read a foreign one.  Errors: MalformedError."""
        match item:
            case [stream, seq, base]:
                return cls(
                    codec.fixed_bytes(stream, STREAM_BYTES),
                    codec.unsigned(seq, MAX_PLACE),
                    codec.unsigned(base, MAX_PLACE),
                )
        raise MalformedError("not a place in a stream")


@dataclass(frozen=True)
class Envelope:
    """One message between two nodes; `re` is the id of the message it answers."""

    kind: int
    message_id: bytes
    re: bytes | None
    ttl_ms: int
    body: bytes
    place: StreamPlace | None = None

    def to_bytes(self) -> bytes:
        """Encode for sealing."""
        place: codec.Item = None
        if self.place is not None:
            place = [self.place.stream, self.place.seq, self.place.base]
        return codec.encode([self.kind, self.message_id, self.re, self.ttl_ms, self.body, place])

    @classmethod
    def parse(cls, data: bytes) -> "Envelope":
        """Read what a neighbour sealed.  Errors: MalformedError."""
        match codec.decode_array(data, max_bytes=MAX_PLAINTEXT_BYTES):
            case [kind, message_id, re, ttl_ms, bytes(body), place]:
                return cls(
                    codec.unsigned(kind, MAX_KIND),
                    codec.fixed_bytes(message_id, MESSAGE_ID_BYTES),
                    None if re is None else codec.fixed_bytes(re, MESSAGE_ID_BYTES),
                    codec.unsigned(ttl_ms, MAX_TTL_MS),
                    body,
                    None if place is None else StreamPlace.parse(place),
                )
        raise MalformedError("not an envelope")
