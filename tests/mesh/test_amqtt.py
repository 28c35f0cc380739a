"""What both brokers must stand: floods, noise, dribble, silence; the built-in one behind its gate above all."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.core.topic_policy import INBOX, CommonName, Role, inbox_topic
from tests.mesh import raw_mqtt
from tests.mesh.raw_mqtt import RawClient, raw_client
from tests.mesh.running import ALICE, KINDS, OWNER, RunningBroker, running_broker

NAME = CommonName(ALICE, Role.CTL)
OWNER_NAME = CommonName(OWNER, Role.OWNER)
TOPIC = inbox_topic(NAME)
CONNACK_OK = (2, b"\x00\x00")


@pytest.fixture(params=KINDS)
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """Run each kind of broker in turn."""
    async with running_broker(request.param, tmp_path) as running:
        yield running


def resident_mb(pid: int | None) -> float:
    """Read a process's resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def push(client: RawClient, *, total_bytes: int) -> int:
    """Publish 256 KiB messages until so much is sent or the broker takes no more; return the bytes it took."""
    message = raw_mqtt.publish(TOPIC, bytes(256 * 1024))
    sent = 0
    while sent < total_bytes:
        try:
            async with asyncio.timeout(1):
                await client.say(message)
        except TimeoutError:
            break
        sent += len(message)
    return sent


async def test_a_stalled_owner_costs_bounded_memory(broker: RunningBroker) -> None:
    """A neighbour that publishes 100 MB at an owner who reads nothing cannot fill the broker."""
    port = broker.broker.port
    async with raw_client(port, broker.context(OWNER_NAME)) as owner, raw_client(port, broker.context(NAME)) as alice:
        await owner.say(raw_mqtt.connect(str(OWNER_NAME)), raw_mqtt.subscribe(INBOX))
        await alice.say(raw_mqtt.connect(str(NAME)))
        assert await alice.hear() == CONNACK_OK
        await push(alice, total_bytes=100_000_000)
        assert resident_mb(broker.broker.pid) < 100


async def test_nothing_is_lost_while_the_owner_is_slow(tmp_path: Path) -> None:
    """Behind the gate a slow owner makes neighbours wait; every message still arrives."""
    async with running_broker("amqtt", tmp_path) as broker:
        port = broker.broker.port
        async with raw_client(port, broker.context(OWNER_NAME)) as owner, broker.neighbour() as alice:
            await owner.say(raw_mqtt.connect(str(OWNER_NAME)), raw_mqtt.subscribe(INBOX))
            assert await owner.hear() == CONNACK_OK
            assert (await owner.hear())[0] == 9
            for number in range(100):
                alice.mqtt.publish(TOPIC, bytes(16_000) + number.to_bytes(2, "big"))
            arrived = []
            for _ in range(100):
                kind, body = await owner.hear()
                assert kind == 3
                identifier = body[2 + len(TOPIC) : 4 + len(TOPIC)]
                arrived.append(int.from_bytes(body[-2:], "big"))
                await owner.say(raw_mqtt.packet(0x40, identifier))
        assert arrived == list(range(100))


async def test_noise_from_a_member_harms_nobody_else(broker: RunningBroker) -> None:
    """Whatever a certified client sends, it loses its connection at most; the others do not notice."""
    random_bytes = random.Random(7)  # noqa: S311  reproducible noise
    tls = broker.context(NAME)
    async with broker.owner() as owner, broker.neighbour("b" * 52) as bob:
        for size in range(1, 40):
            async with raw_client(broker.broker.port, tls) as alice:
                greeting = raw_mqtt.connect(str(NAME)) if size % 2 else b""
                await alice.say(greeting + random_bytes.randbytes(size))
        for first in range(0x00, 0x100, 0x10):
            async with raw_client(broker.broker.port, tls) as alice:
                await alice.say(raw_mqtt.connect(str(NAME)), raw_mqtt.packet(first, b"\x00\x01x"))
        bob.mqtt.publish(f"in/{'b' * 52}.ctl/f", b"fine")
        assert await owner.receives(1) == [(f"in/{'b' * 52}.ctl/f", b"fine")]
        assert owner.states == bob.states == [True]


async def test_a_message_may_come_byte_by_byte(broker: RunningBroker) -> None:
    """How the wire slices it does not matter."""
    async with broker.owner() as owner, raw_client(broker.broker.port, broker.context(NAME)) as alice:
        for byte in raw_mqtt.connect(str(NAME)) + raw_mqtt.publish(TOPIC, b"slowly"):
            await alice.say(bytes([byte]))
        assert await owner.receives(1) == [(TOPIC, b"slowly")]


async def test_a_client_that_breaks_its_keepalive_is_dropped(broker: RunningBroker) -> None:
    """It promised a sign of life every second."""
    async with raw_client(broker.broker.port, broker.context(NAME)) as alice:
        await alice.say(raw_mqtt.connect(str(NAME), keepalive=1))
        assert await alice.hear() == CONNACK_OK
        began = time.monotonic()
        assert await alice.closed(within_s=8)
        assert time.monotonic() - began > 0.9


async def test_a_client_that_says_goodbye_is_gone(broker: RunningBroker) -> None:
    """DISCONNECT closes the connection, and the name is free again."""
    tls = broker.context(NAME)
    for _ in range(2):
        async with raw_client(broker.broker.port, tls) as alice:
            await alice.say(raw_mqtt.connect(str(NAME)))
            assert await alice.hear() == CONNACK_OK
            await alice.say(raw_mqtt.DISCONNECT)
            assert await alice.closed()


async def test_the_idle_broker_is_small(broker: RunningBroker) -> None:
    """With one neighbour linked, either broker fits beside the rest on a 512 MB board."""
    async with broker.owner(), broker.neighbour():
        assert resident_mb(broker.broker.pid) < 60
