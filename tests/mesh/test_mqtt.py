"""The MQTT client against a real mosquitto, and against brokers that misbehave."""

import asyncio
import contextlib
import gc
import itertools
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh import mqtt_gate
from mesh.certificates import BrokerAuthority, TlsKey, client_context
from mesh.core.topic_policy import CommonName, Role, inbox_topic
from mesh.errors import LinkDownError, MessageTooLargeError, QueueFullError
from mesh.mqtt import MqttClient, MqttTuning
from tests.mesh import raw_mqtt
from tests.mesh.running import ALICE, IMPATIENT, RunningBroker, running_broker
from tests.models.waiting import until

NAME = CommonName(ALICE, Role.CTL)
TOPIC = inbox_topic(NAME)
CONNACK = raw_mqtt.packet(0x20, b"\x00\x00")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """Run mosquitto."""
    async with running_broker("mosquitto", tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> BrokerAuthority:
    """Make the authority of a neighbour's broker that misbehaves."""
    return BrokerAuthority(tmp_path_factory.mktemp("authority"))


@contextlib.asynccontextmanager
async def hostile_broker(authority: BrokerAuthority, serve: Serve) -> AsyncIterator[int]:
    """Serve TLS connections by a script; gives the port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.transport.abort()

    tls = mqtt_gate.server_context(
        ca_path=authority.ca_path,
        certificate_path=authority.server_certificate_path,
        key_path=authority.server_key_path,
    )
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def dialling(authority: BrokerAuthority, port: int, **options: object) -> AsyncIterator[MqttClient]:
    """Run a client of a hostile broker."""
    key = TlsKey.make()
    tls = client_context(ca_pem=authority.ca_pem, certificate_pem=authority.sign(key.public_bytes, NAME), key=key)
    client = MqttClient("127.0.0.1", port=port, tls=tls, client_id=str(NAME), tuning=IMPATIENT, **options)  # type: ignore[arg-type]
    running = asyncio.create_task(client.run())
    try:
        yield client
        assert not running.done()
    finally:
        client.close()
        await running


async def test_messages_arrive_in_order(broker: RunningBroker) -> None:
    """What a neighbour publishes reaches the owner once each, in order."""
    async with broker.owner() as owner, broker.neighbour() as alice:
        sent = [(TOPIC, f"{number}".encode()) for number in range(200)]
        for topic, payload in sent:
            alice.mqtt.publish(topic, payload)
        assert await owner.receives(200) == sent


async def test_a_large_message_arrives_whole(broker: RunningBroker) -> None:
    """1 MiB passes in one piece, and the bytes in flight come back to none."""
    payload = bytes(range(256)) * 4096
    async with broker.owner() as owner, broker.neighbour() as alice:
        alice.mqtt.publish(TOPIC, payload)
        assert alice.mqtt.bytes_in_flight == len(payload)
        assert await owner.receives(1) == [(TOPIC, payload)]
        await until(lambda: not alice.mqtt.bytes_in_flight)


async def test_publishing_is_bounded(broker: RunningBroker) -> None:
    """Bytes and messages on their way have a limit each, and a single message too."""
    small = MqttTuning(max_bytes=1000, max_messages=3)
    async with broker.client(NAME, tuning=small) as alice:
        await alice.connected()
        alice.mqtt.publish(TOPIC, bytes(1000))
        with pytest.raises(QueueFullError):
            alice.mqtt.publish(TOPIC, b"x")
        await until(lambda: not alice.mqtt.bytes_in_flight)
        for _ in range(3):
            alice.mqtt.publish(TOPIC, b"x")
        with pytest.raises(QueueFullError):
            alice.mqtt.publish(TOPIC, b"x")
        with pytest.raises(MessageTooLargeError):
            alice.mqtt.publish(TOPIC, bytes(1024 * 1024 + 1))


async def test_without_a_connection_nothing_is_queued(authority: BrokerAuthority) -> None:
    """The caller is told at once, with the reason."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with dialling(authority, unused.getsockname()[1]) as client:
            await until(lambda: bool(client.last_error))
            with pytest.raises(LinkDownError, match=r"127\.0\.0\.1 port \d+: connection refused"):
                client.publish(TOPIC, b"x")


async def test_a_sighting_ends_the_wait(broker: RunningBroker) -> None:
    """After a long back-off, `wake` with the new address connects at once."""
    patient = MqttTuning(backoff_first_s=3600, backoff_max_s=3600)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with broker.client(NAME, tuning=patient, port=unused.getsockname()[1]) as alice:
            await until(lambda: bool(alice.mqtt.last_error))
            alice.mqtt.wake("127.0.0.1", port=broker.broker.port)
            await alice.connected()
    assert alice.states == [True, False]


async def test_the_next_host_is_tried_when_one_does_not_answer(broker: RunningBroker) -> None:
    """A node with several addresses is reached by the one that works."""
    async with broker.client(NAME) as alice:
        alice.mqtt.wake("127.0.0.2", "127.0.0.1")
        await alice.connected()
    assert True in alice.states


async def test_closing_is_clean_and_idempotent(broker: RunningBroker) -> None:
    """No thread, no socket, no task is left; a second close does nothing."""
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    async with broker.neighbour() as alice:
        alice.mqtt.close()
        await until(lambda: not alice.mqtt.connected)
        alice.mqtt.close()
    gc.collect()  # an unclosed socket would warn, and warnings are errors
    assert alice.states == [True, False]
    assert tasks == len(asyncio.all_tasks())
    assert threads == threading.active_count()


async def test_cancelling_closes_too(broker: RunningBroker) -> None:
    """The client lives in a task group: cancelling it is the ordinary end."""
    states: list[bool] = []
    client = MqttClient(
        "127.0.0.1",
        port=broker.broker.port,
        tls=broker.context(NAME),
        client_id=str(NAME),
        on_state=states.append,
    )
    running = asyncio.create_task(client.run())
    await until(lambda: client.connected)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert states == [True, False]


async def test_messages_lost_with_a_connection_are_sent_again(authority: BrokerAuthority) -> None:
    """What the broker had not acknowledged goes out again on the next connection, before anything new."""
    heard: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        server = raw_mqtt.RawClient(reader, writer)
        assert (await server.hear())[0] == 1
        await server.say(CONNACK)
        heard.extend([(await server.hear())[1] for _ in range(2)])
        if connections > 1:
            await server.hear()

    async with hostile_broker(authority, serve) as port, dialling(authority, port) as client:
        await until(lambda: client.connected)
        client.publish(TOPIC, b"one")
        client.publish(TOPIC, b"two")
        await until(lambda: len(heard) == 4)
    assert [body[-3:] for body in heard] == [b"one", b"two", b"one", b"two"]


async def test_a_silent_broker_is_given_up(authority: BrokerAuthority) -> None:
    """No CONNACK: the client does not wait for ever."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()

    async with hostile_broker(authority, serve) as port, dialling(authority, port) as client:
        client._tuning = MqttTuning(connect_timeout_s=0.05, backoff_first_s=0.01)
        await until(lambda: asked >= 2)
        assert not client.connected


async def test_a_broker_that_falls_silent_is_noticed(authority: BrokerAuthority) -> None:
    """An unanswered ping ends the connection after the keepalive."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = raw_mqtt.RawClient(reader, writer)
        await server.hear()
        await server.say(CONNACK)
        await reader.read()

    states: list[bool] = []
    async with hostile_broker(authority, serve) as port, dialling(authority, port, on_state=states.append) as client:
        client._tuning = MqttTuning(keepalive_s=1)
        await until(lambda: states == [True, False])


async def test_a_refusal_is_told(authority: BrokerAuthority) -> None:
    """The reason of a refused CONNECT is kept for people."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = raw_mqtt.RawClient(reader, writer)
        await server.hear()
        await server.say(raw_mqtt.packet(0x20, b"\x00\x05"))
        await reader.read()

    async with hostile_broker(authority, serve) as port, dialling(authority, port) as client:
        await until(lambda: "Not authorized" in client.last_error)
        assert not client.connected


async def test_an_enormous_packet_is_not_collected(authority: BrokerAuthority) -> None:
    """A neighbour's broker that announces 200 MB is hung up on at once."""
    sent: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw_mqtt.RawClient(reader, writer).hear()
        sent.append(0)
        writer.write(CONNACK + b"\x30\x80\x84\xaf\x5f")
        while not writer.is_closing():
            writer.write(bytes(65536))
            await writer.drain()
            sent[-1] += 65536

    async with hostile_broker(authority, serve) as port, dialling(authority, port):
        await until(lambda: len(sent) >= 2)
    assert sent[0] < 20_000_000


async def test_messages_that_were_not_asked_for_are_dropped(authority: BrokerAuthority) -> None:
    """A neighbour's broker cannot push messages into a client that subscribed to nothing."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = raw_mqtt.RawClient(reader, writer)
        await server.hear()
        await server.say(CONNACK, raw_mqtt.publish(TOPIC, b"forged"))
        received.append((await server.hear())[1])
        await reader.read()

    seen: list[tuple[str, bytes]] = []
    on_message = lambda topic, payload: seen.append((topic, payload))  # noqa: E731  named by the call below
    async with hostile_broker(authority, serve) as port, dialling(authority, port, on_message=on_message):
        await until(lambda: bool(received))
    assert seen == []


async def dialled_again(authority: BrokerAuthority, said: bytes) -> None:
    """Serve as a broker that says this to whoever connects, until the client has come a second time."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        server = raw_mqtt.RawClient(reader, writer)
        await server.hear()
        await server.say(said)

    async with hostile_broker(authority, serve) as port, dialling(authority, port):
        await until(lambda: connections >= 2)


@pytest.mark.parametrize("body", [b"", b"\x00", b"\xff\xfftopic", b"\x00\x02\xff\xfe", b"\x00\x09ab"])
async def test_a_message_that_is_none_ends_the_connection(authority: BrokerAuthority, body: bytes) -> None:
    """A topic that is cut short or no text, where nothing is acknowledged."""
    await dialled_again(authority, CONNACK + b"\x30" + bytes([len(body)]) + body)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(min_size=1, max_size=200), greeted=st.booleans())
def test_noise_from_a_broker_is_survived(authority: BrokerAuthority, noise: bytes, greeted: bool) -> None:  # noqa: FBT001  drawn
    """Whatever bytes a broker sends, the client loses that connection at most, and dials again."""
    asyncio.run(dialled_again(authority, (CONNACK if greeted else b"") + noise))


async def test_a_stranger_in_place_of_the_broker_is_refused(authority: BrokerAuthority, tmp_path: Path) -> None:
    """Another machine on the sighted address does not get so much as a CONNECT."""
    other = BrokerAuthority(tmp_path / "other")
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            heard.set()

    async with hostile_broker(other, serve) as port, dialling(authority, port) as client:
        await until(lambda: "verify failed" in client.last_error)
    assert not heard.is_set()


async def test_attempts_back_off(authority: BrokerAuthority) -> None:
    """A neighbour that is away is asked less and less often."""
    at: list[float] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at.append(time.monotonic())
        writer.transport.abort()

    async with hostile_broker(authority, serve) as port, dialling(authority, port) as client:
        client._tuning = MqttTuning(backoff_first_s=0.04, backoff_max_s=0.3)
        client.wake()
        await until(lambda: len(at) >= 6)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert gaps[-1] >= 0.14
    assert gaps[-1] > gaps[0]


def test_the_context_is_for_tls_1_3_only(authority: BrokerAuthority) -> None:
    """No older version is offered."""
    key = TlsKey.make()
    context = client_context(ca_pem=authority.ca_pem, certificate_pem=authority.sign(key.public_bytes, NAME), key=key)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
