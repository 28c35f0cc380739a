"""The rules of the gate in front of the built-in broker, on bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import mqtt_packets
from mesh.core.mqtt_packets import Connect, PacketType
from mesh.errors import MalformedError

CONNECT = b"\x00\x04MQTT\x04\x02\x00\x0a\x00\x01x"
PUBLISH = b"\x00\x01t\x00\x01payload"


@pytest.mark.parametrize("kind", PacketType)
def test_what_a_client_needs_passes(kind: PacketType) -> None:
    """Every packet type of the policy passes at its proper length."""
    length = mqtt_packets.EXACT_BYTES.get(kind, 10)
    assert kind is mqtt_packets.packet_type(kind << 4, length)


@pytest.mark.parametrize(
    ("first", "length"),
    [
        (0x00, 0),  # reserved
        (0xF0, 0),
        (0x20, 2),  # a server's
        (0x50, 2),  # QoS 2
        (0x60, 2),
        (0x70, 2),
        (0x10, 1025),  # too long
        (0x80, 4097),
        (0xA0, 4097),
        (0x30, mqtt_packets.MAX_PACKET_BYTES + 1),
        (0x40, 3),  # of another length than theirs
        (0xC0, 1),
        (0xE0, 1),
    ],
)
def test_what_no_client_needs_is_refused(first: int, length: int) -> None:
    """Before a byte of the body is read."""
    with pytest.raises(MalformedError):
        mqtt_packets.packet_type(first, length)


def test_a_clean_connect_is_read() -> None:
    """Only the keepalive is of interest: who it is, the certificate says."""
    assert mqtt_packets.parse_connect(CONNECT) == Connect(keepalive_s=10)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        CONNECT.replace(b"\x04\x02", b"\x05\x02"),  # MQTT 5
        CONNECT.replace(b"\x04\x02", b"\x04\x00"),  # a kept session
        CONNECT.replace(b"\x04\x02", b"\x04\x06"),  # a will
        CONNECT.replace(b"\x04\x02", b"\x04\x82"),  # a user name
        CONNECT + b"more",
        CONNECT[:-1],
        CONNECT[:9],
        CONNECT[:-2] + b"\x00",
        CONNECT[:-3] + b"\x00\x00",
    ],
)
def test_any_other_connect_is_refused(body: bytes) -> None:
    """No kept sessions, wills, passwords, other protocols or pieces."""
    with pytest.raises(MalformedError):
        mqtt_packets.parse_connect(body)


@pytest.mark.parametrize("first", [0x30, 0x32, 0x3A])
def test_a_plain_message_passes(first: int) -> None:
    """QoS 0 and 1, also when sent again."""
    mqtt_packets.check_publish(first, PUBLISH)


@pytest.mark.parametrize(
    ("first", "body"),
    [
        (0x33, PUBLISH),  # retained
        (0x34, PUBLISH),  # QoS 2
        (0x36, PUBLISH),  # QoS 3
        (0x32, b""),
        (0x32, b"\x00\x00\x00\x01"),  # no topic
        (0x32, b"\x00\x09t"),
        (0x32, b"\x00\x01t\x00"),  # no packet identifier
        (0x32, b"\x00\x02$S\x00\x01"),
        (0x32, b"\x00\x01#\x00\x01"),
        (0x32, b"\x00\x01+\x00\x01"),
    ],
)
def test_a_message_outside_the_rules_is_refused(first: int, body: bytes) -> None:
    """Nothing retained, no QoS 2, no topic that is none."""
    with pytest.raises(MalformedError):
        mqtt_packets.check_publish(first, body)


@given(st.text("abcdefghijklmnopqrstuvwxyz234567.", min_size=1, max_size=58))
def test_the_broker_is_given_the_certificates_name(name: str) -> None:
    """The CONNECT that goes on is clean, without keepalive, and carries the name."""
    packet = mqtt_packets.connect_packet(name)
    assert packet[0] == 0x10
    assert packet[1] == len(packet) - 2
    assert mqtt_packets.parse_connect(packet[2:]) == Connect(keepalive_s=0)
    assert packet.endswith(name.encode())


@pytest.mark.parametrize(
    ("length", "encoded"),
    [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16383, b"\xff\x7f"), (2097152, b"\x80\x80\x80\x01")],
)
def test_lengths_are_encoded_as_in_the_standard(length: int, encoded: bytes) -> None:
    """The examples of table 2.4."""
    assert encoded == mqtt_packets.remaining_length(length)
