"""What the gate in front of the built-in broker lets through: MQTT 3.1.1, clean sessions, QoS 0 and 1, nothing kept.

Source: OASIS MQTT Version 3.1.1; the section stands beside each rule.
"""

from dataclasses import dataclass
from enum import IntEnum

from mesh.errors import MalformedError

MAX_PAYLOAD_BYTES = 1024 * 1024
MAX_PACKET_BYTES = MAX_PAYLOAD_BYTES + 1024  # topic and header; longer ones end the connection
MAX_REMAINING_LENGTH_BYTES = 4  # 2.2.3
MAX_CONNECT_BYTES = 1024
MAX_SUBSCRIBE_BYTES = 4096

CONNECT_HEAD = b"\x00\x04MQTT\x04"  # 3.1.2.1: protocol name and level
CLEAN_SESSION = 0x02  # 3.1.2.3: the only flag taken; no will, no password
RETAIN = 0x01  # 3.3.1.3
QOS = 0x06  # 3.3.1.2
QOS_AT_MOST_1 = (0x00, 0x02)


class PacketType(IntEnum):
    """The packets a client may send; 2.2.1."""

    CONNECT = 1
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    UNSUBSCRIBE = 10
    PINGREQ = 12
    DISCONNECT = 14


EXACT_BYTES = {PacketType.PUBACK: 2, PacketType.PINGREQ: 0, PacketType.DISCONNECT: 0}


@dataclass(frozen=True)
class Connect:
    """A CONNECT packet that is acceptable."""

    keepalive_s: int


def packet_type(first: int, length: int) -> PacketType:
    """Judge a fixed header before anything more is read.  Raises MalformedError."""
    try:
        kind = PacketType(first >> 4)
    except ValueError as error:
        raise MalformedError(f"packet type {first >> 4}") from error
    limit = {
        PacketType.CONNECT: MAX_CONNECT_BYTES,
        PacketType.SUBSCRIBE: MAX_SUBSCRIBE_BYTES,
        PacketType.UNSUBSCRIBE: MAX_SUBSCRIBE_BYTES,
    }.get(kind, MAX_PACKET_BYTES)
    if length > limit:
        raise MalformedError(f"a {kind.name} packet of {length} bytes")
    if length != EXACT_BYTES.get(kind, length):
        raise MalformedError(f"a {kind.name} packet of {length} bytes")
    return kind


def check_publish(first: int, body: bytes) -> None:
    """Refuse retained messages, QoS 2 and topics that no message may have (4.7).  Raises MalformedError."""
    qos = first & QOS
    if first & RETAIN or qos not in QOS_AT_MOST_1:
        raise MalformedError("a retained message or QoS 2")
    topic, rest = _string(body)
    if not topic or topic.startswith(b"$") or b"#" in topic or b"+" in topic:
        raise MalformedError("a topic that cannot be published to")
    if qos and len(rest) < 2:  # noqa: PLR2004  2.3.1: the packet identifier
        raise MalformedError("a message without its packet identifier")


def parse_connect(body: bytes) -> Connect:
    """Read a CONNECT packet.  Raises MalformedError on anything but a clean session without will or password."""
    if not body.startswith(CONNECT_HEAD):
        raise MalformedError("another protocol than MQTT 3.1.1")
    flags, keepalive, rest = body[7:8], body[8:10], body[10:]
    if flags != bytes([CLEAN_SESSION]):
        raise MalformedError("a kept session, a will or a password")
    client_id, trailing = _string(rest)
    if trailing or not client_id:
        raise MalformedError("a CONNECT packet without a client id")
    return Connect(int.from_bytes(keepalive, "big"))


def connect_packet(client_id: str) -> bytes:
    """Build the CONNECT packet the broker is given: the client id is the certificate's, keepalive is the gate's."""
    name = client_id.encode("ascii")
    body = CONNECT_HEAD + bytes([CLEAN_SESSION, 0, 0]) + len(name).to_bytes(2, "big") + name
    return bytes([PacketType.CONNECT << 4]) + remaining_length(len(body)) + body


def remaining_length(length: int) -> bytes:
    """Encode the length in a fixed header; 2.2.3."""
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def _string(body: bytes) -> tuple[bytes, bytes]:
    """Split a length-prefixed string off; 1.5.3."""
    end = 2 + int.from_bytes(body[:2], "big")
    if len(body) < 2 or len(body) < end:  # noqa: PLR2004  the prefix
        raise MalformedError("a string that ends too soon")
    return body[2:end], body[end:]
