"""The topic policy on real sockets: the same laws hold on mosquitto and on amqtt."""

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.certificates import BrokerAuthority
from mesh.core.topic_policy import INBOX, CommonName, Role, inbox_topic
from tests.mesh import raw_mqtt
from tests.mesh.raw_mqtt import raw_client
from tests.mesh.running import ALICE, BOB, KINDS, OWNER, RunningBroker, running_broker
from tests.models.waiting import until

ALICE_CTL = CommonName(ALICE, Role.CTL)
BOB_CTL = CommonName(BOB, Role.CTL)
TOPIC = inbox_topic(ALICE_CTL)
CONNACK_OK = (2, b"\x00\x00")
PUBACK, SUBACK = 4, 9


@pytest.fixture(params=KINDS)
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """Run each kind of broker in turn."""
    async with running_broker(request.param, tmp_path) as running:
        yield running


async def mark(broker: RunningBroker) -> None:
    """Publish a message of Alice's that is allowed; returns when the broker has it."""
    async with broker.neighbour(ALICE) as alice:
        alice.mqtt.publish(TOPIC, b"mark")
        await until(lambda: not alice.mqtt.bytes_in_flight)


@pytest.mark.parametrize("role", [Role.CTL, Role.BULK])
async def test_the_owner_receives_what_neighbours_publish(broker: RunningBroker, role: Role) -> None:
    """Both lanes of every neighbour end in the owner's inbox."""
    async with broker.owner() as owner, broker.neighbour(ALICE, role) as alice, broker.neighbour(BOB, role) as bob:
        alice.mqtt.publish(f"in/{ALICE}.{role}/f", b"from alice")
        bob.mqtt.publish(f"in/{BOB}.{role}/f", b"from bob")
        expected = {(f"in/{ALICE}.{role}/f", b"from alice"), (f"in/{BOB}.{role}/f", b"from bob")}
        assert expected == set(await owner.receives(2))


async def test_a_stranger_without_certificate_is_refused(broker: RunningBroker) -> None:
    """TLS is the gate: no certificate, no MQTT."""
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.load_verify_locations(cadata=broker.authority.ca_pem.decode())
    async with raw_client(broker.broker.port, stranger) as client:
        await client.say(raw_mqtt.connect(str(ALICE_CTL)))
        assert await client.hear() == (0, b"")


async def test_another_authoritys_certificate_is_refused(broker: RunningBroker, tmp_path: Path) -> None:
    """A certificate for a neighbour's broker does not open this one."""
    other = BrokerAuthority(tmp_path / "other")
    async with raw_client(broker.broker.port, broker.context(ALICE_CTL, authority=other)) as client:
        await client.say(raw_mqtt.connect(str(ALICE_CTL)))
        assert await client.hear() == (0, b"")


async def test_older_tls_is_refused(broker: RunningBroker) -> None:
    """TLS 1.3 only."""
    context = broker.context(ALICE_CTL)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with raw_client(broker.broker.port, context):
            pass


async def test_a_neighbour_publishes_into_its_own_topics_only(broker: RunningBroker) -> None:
    """Foreign inboxes, the other lane's, the owner's own and unrelated topics are all dropped."""
    async with broker.owner() as owner, raw_client(broker.broker.port, broker.context(ALICE_CTL)) as alice:
        await alice.say(raw_mqtt.connect(str(ALICE_CTL)))
        assert await alice.hear() == CONNACK_OK
        foreign = [inbox_topic(BOB_CTL), f"in/{ALICE}.bulk/f", f"in/{OWNER}.owner/f", "in/x", f"in/{ALICE_CTL}x/f"]
        for number, topic in enumerate(foreign, 1):
            await alice.say(raw_mqtt.publish(topic, b"forged", identifier=number))
        await alice.say(raw_mqtt.publish(TOPIC, b"mark", identifier=99))
        assert await owner.receives(1) == [(TOPIC, b"mark")]


async def test_a_neighbour_reads_nothing(broker: RunningBroker) -> None:
    """Whatever it subscribes to, no message of anyone reaches it."""
    async with raw_client(broker.broker.port, broker.context(ALICE_CTL)) as alice:
        await alice.say(raw_mqtt.connect(str(ALICE_CTL)))
        assert await alice.hear() == CONNACK_OK
        for topic_filter in ("#", INBOX, inbox_topic(BOB_CTL), TOPIC):
            await alice.say(raw_mqtt.subscribe(topic_filter))
            assert (await alice.hear())[0] == SUBACK
        async with broker.owner() as owner, broker.neighbour(BOB) as bob:
            bob.mqtt.publish(inbox_topic(BOB_CTL), b"secret")
            await owner.receives(1)
        await alice.say(raw_mqtt.PING)
        assert await alice.hear() == (13, b"")  # nothing came before the answer


async def test_the_owner_publishes_nothing(broker: RunningBroker) -> None:
    """The owner's certificate is for reading."""
    name = CommonName(OWNER, Role.OWNER)
    async with raw_client(broker.broker.port, broker.context(name)) as owner:
        await owner.say(raw_mqtt.connect(str(name)), raw_mqtt.subscribe(INBOX))
        assert await owner.hear() == CONNACK_OK
        assert (await owner.hear())[0] == SUBACK
        await owner.say(raw_mqtt.publish(TOPIC, b"forged"), raw_mqtt.PING)
        assert (await owner.hear())[0] == PUBACK
        assert await owner.hear() == (13, b"")


async def test_a_foreign_client_id_is_replaced_by_the_own_name(broker: RunningBroker) -> None:
    """Nobody takes another's client id: Bob is not thrown out by Alice claiming his."""
    async with broker.owner() as owner, broker.neighbour(BOB) as bob:
        async with raw_client(broker.broker.port, broker.context(ALICE_CTL)) as alice:
            await alice.say(raw_mqtt.connect(str(BOB_CTL)))
            assert await alice.hear() == CONNACK_OK
            await alice.say(raw_mqtt.publish(inbox_topic(BOB_CTL), b"forged"), raw_mqtt.publish(TOPIC, b"own"))
            assert await owner.receives(1) == [(TOPIC, b"own")]
        bob.mqtt.publish(inbox_topic(BOB_CTL), b"still here")
        await owner.receives(2)
        assert bob.states == [True]


async def test_a_second_connection_replaces_the_first(broker: RunningBroker) -> None:
    """One connection for each name: the newer wins, and the older is closed."""
    tls = broker.context(ALICE_CTL)
    async with raw_client(broker.broker.port, tls) as first, raw_client(broker.broker.port, tls) as second:
        await first.say(raw_mqtt.connect(str(ALICE_CTL)))
        assert await first.hear() == CONNACK_OK
        await second.say(raw_mqtt.connect(str(ALICE_CTL)))
        assert await second.hear() == CONNACK_OK
        assert await first.closed()
        async with broker.owner() as owner:
            await second.say(raw_mqtt.publish(TOPIC, b"mine"))
            assert await owner.receives(1) == [(TOPIC, b"mine")]


async def test_an_oversized_message_ends_the_connection(broker: RunningBroker) -> None:
    """More than 1 MiB and a header is not even read."""
    async with broker.owner() as owner:
        async with raw_client(broker.broker.port, broker.context(ALICE_CTL)) as alice:
            await alice.say(raw_mqtt.connect(str(ALICE_CTL)))
            assert await alice.hear() == CONNACK_OK
            await alice.say(raw_mqtt.publish(TOPIC, bytes(1024 * 1024 + 4096)))
            assert await alice.closed()
        await mark(broker)
        assert await owner.receives(1) == [(TOPIC, b"mark")]


async def test_nothing_is_retained(broker: RunningBroker) -> None:
    """Who subscribes later sees nothing from before."""
    async with raw_client(broker.broker.port, broker.context(ALICE_CTL)) as alice:
        await alice.say(raw_mqtt.connect(str(ALICE_CTL)))
        assert await alice.hear() == CONNACK_OK
        await alice.say(raw_mqtt.publish(TOPIC, b"kept?", retain=True))
        assert await alice.closed()
    async with broker.owner() as owner:
        await mark(broker)
        assert await owner.receives(1) == [(TOPIC, b"mark")]


async def test_a_will_cannot_speak_for_another(broker: RunningBroker) -> None:
    """A last will into a foreign inbox is not delivered."""
    async with broker.owner() as owner:
        will = raw_mqtt.text(inbox_topic(BOB_CTL)) + raw_mqtt.text("forged")
        async with raw_client(broker.broker.port, broker.context(ALICE_CTL)) as alice:
            await alice.say(raw_mqtt.connect(str(ALICE_CTL), flags=0x06, rest=will))
            await alice.hear()
        await mark(broker)
        assert await owner.receives(1) == [(TOPIC, b"mark")]


async def test_a_removed_neighbour_falls_silent_and_is_gone(broker: RunningBroker) -> None:
    """After a removal nothing it publishes is delivered, its socket is closed, and coming back does not help."""
    async with broker.owner() as owner, broker.neighbour(BOB) as bob:
        tls = broker.context(ALICE_CTL)
        async with raw_client(broker.broker.port, tls) as alice:
            await alice.say(raw_mqtt.connect(str(ALICE_CTL)), raw_mqtt.publish(TOPIC, b"before"))
            assert await alice.hear() == CONNACK_OK
            await owner.receives(1)
            removed_at = time.monotonic()
            await broker.broker.set_peers({BOB})
            assert await alice.closed()
            assert time.monotonic() - removed_at < 5
        async with raw_client(broker.broker.port, tls) as again:
            await again.say(raw_mqtt.connect(str(ALICE_CTL)), raw_mqtt.publish(TOPIC, b"after"))
            assert await again.closed()
        bob.mqtt.publish(inbox_topic(BOB_CTL), b"mark")
        assert [(TOPIC, b"before"), (inbox_topic(BOB_CTL), b"mark")] == await owner.receives(2)
        assert bob.states == [True]


async def test_a_neighbour_that_is_added_may_publish(broker: RunningBroker) -> None:
    """Adding takes effect without a restart and disturbs nobody."""
    carol = CommonName("c" * 52, Role.CTL)
    async with broker.owner() as owner, broker.neighbour(BOB) as bob:
        await broker.broker.set_peers({ALICE, BOB, carol.node_id})
        async with broker.neighbour(carol.node_id) as client:
            client.mqtt.publish(inbox_topic(carol), b"hello")
            assert [(inbox_topic(carol), b"hello")] == await owner.receives(1)
        assert bob.states == [True]


async def test_a_kick_closes_the_connection_but_not_the_door(broker: RunningBroker) -> None:
    """A neighbour that is kicked while still let in comes back by itself."""
    async with broker.owner() as owner, broker.neighbour(ALICE) as alice:
        await broker.broker.kick(ALICE)
        await until(lambda: alice.states[:3] == [True, False, True] and alice.mqtt.connected)
        alice.mqtt.publish(TOPIC, b"back")
        assert await owner.receives(1) == [(TOPIC, b"back")]
