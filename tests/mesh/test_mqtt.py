"""The MQTT client against a real mosquitto and against servers that misbehave."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.core.topic_policy import CommonName, Role, inbox_topic
from tests.mesh.running import ALICE, RunningBroker, running_broker

NAME = CommonName(ALICE, Role.CTL)
TOPIC = inbox_topic(NAME)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """Run mosquitto."""
    async with running_broker("mosquitto", tmp_path) as running:
        yield running


async def test_messages_arrive_in_order(broker: RunningBroker) -> None:
    """What a neighbour publishes reaches the owner once each, in order."""
    async with broker.owner() as owner, broker.neighbour() as alice:
        sent = [(TOPIC, f"{number}".encode()) for number in range(200)]
        for topic, payload in sent:
            alice.mqtt.publish(topic, payload)
        assert sent == await owner.receives(200)


async def test_a_large_message_arrives_whole(broker: RunningBroker) -> None:
    """1 MiB passes in one piece."""
    payload = bytes(range(256)) * 4096
    async with broker.owner() as owner, broker.neighbour() as alice:
        alice.mqtt.publish(TOPIC, payload)
        assert [(TOPIC, payload)] == await owner.receives(1)
