"""Strangers on the same network, and members that are none any more: they cost little, and get nowhere."""

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from mesh.access import Access
from mesh.community import CommunityStore
from mesh.core import crypto
from mesh.core.frames import Lane
from mesh.core.topic_policy import CommonName, Role, inbox_topic
from mesh.identity import Identity
from tests.mesh.raw_mqtt import RawClient, connect, publish
from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab, Namespace
from tests.mesh_lab.nodes import Node, all_linked, living, memory_mb, settle, start_all

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

FLOOD_S: Final = 5.0
SOCKETS: Final = 400
BOUND_MB: Final = 64.0
MQTT_PORT, DOOR_PORT = 8883, 8884
PUBACK: Final = 4
Room = tuple[Node, Node, Namespace]
Attack = Callable[[socket.socket], None]


@pytest.fixture
def room(lab: Lab, tmp_path: Path) -> Iterator[Room]:
    """Two members, one on mosquitto and one on amqtt, and a stranger on their switch."""
    machines = [lab.namespace(name) for name in ("anna", "ben", "mallory")]
    lan = lab.lan(*machines)
    anna, ben = (
        Node(machines[0], tmp_path / "anna", broker="mosquitto"),
        Node(machines[1], tmp_path / "ben", broker="amqtt"),
    )
    for node in (anna, ben):
        node.address = lan.interfaces[node.namespace].address
    settle(anna, ben)
    with living(anna, ben):
        start_all(anna, ben)
        all_linked(anna, ben)
        yield anna, ben, machines[2]


def sockets(connection: socket.socket) -> None:
    """Only connect."""


def oversized(connection: socket.socket) -> None:
    """Announce more than anybody may send, and send some of it."""
    connection.sendall(b"\xff\xff" + os.urandom(200_000))


def slow(connection: socket.socket) -> None:
    """Begin a TLS record, or a message to the door, that never ends."""
    connection.sendall(b"\x16\x03\x01\x02")


def half_mqtt(connection: socket.socket) -> None:
    """Speak TLS without a certificate, then begin the largest CONNECT there is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connection.dup()) as speaking:
        speaking.sendall(b"\x10\xff\xff\xff\x7f" + bytes(100_000))


@pytest.mark.parametrize(
    ("attack", "most"),
    [
        pytest.param(sockets, 50_000),
        pytest.param(oversized, 1000),
        pytest.param(slow, 50_000),
        pytest.param(half_mqtt, 1000),
    ],
)
def test_a_stranger_that_floods_stops_nobody(attack: Attack, most: int, room: Room, measured: Measured) -> None:
    """Hundreds of connections to both brokers and doors: members go on talking, and memory is bounded."""
    anna, ben, mallory = room
    count = round(FLOOD_S / 0.02)
    processes = running(anna, ben)
    before = {name: memory_mb(pid) for name, pid in processes.items()}
    telling = anna.tells(ben, count, every_s=0.02)
    targets = [(node.address, port) for node in (anna, ben) for port in (MQTT_PORT, DOOR_PORT)]
    opened = flood(attack, mallory, targets, most=most)
    assert telling.all_heard_once_in_order()
    assert telling.done.result() == []
    notes = telling.heard()
    late = sorted(1000 * (note.at - note.sent) for note in notes)
    measured(f"stranger, {attack.__name__}: connections", opened, unit="")
    measured(f"stranger, {attack.__name__}: a member's message, p99", late[len(late) * 99 // 100], unit="ms")
    grown = {name: memory_mb(pid) - before[name] for name, pid in processes.items()}
    fattest = max(grown, key=lambda name: grown[name])
    goal = f"<= {BOUND_MB:.0f}"
    measured(f"stranger, {attack.__name__}: {fattest} grew most, by", grown[fattest], unit="MB", goal=goal)
    assert (anna.state_of(ben), ben.state_of(anna)) == ("linked", "linked")
    assert running(anna, ben) == processes
    assert grown[fattest] < BOUND_MB


def running(*nodes: Node) -> dict[str, int]:
    """Name the processes of the nodes."""
    pids = {f"{node.options['broker']} of {node.name}": node.broker_pid for node in nodes}
    return pids | {node.name: node.pid for node in nodes}


def flood(attack: Attack, stranger: Namespace, targets: list[tuple[str, int]], *, most: int) -> int:
    """Attack all targets for a while, `most` times in all, keeping up to SOCKETS connections; return how often."""
    kept: deque[socket.socket] = deque()
    opened, until = 0, time.monotonic() + FLOOD_S
    with stranger.entered():
        for target in itertools.cycle(targets):
            if time.monotonic() > until or opened == most:
                break
            with contextlib.suppress(OSError):  # hung up on
                kept.append(socket.create_connection(target, timeout=0.5))
                opened += 1
                attack(kept[-1])
            while len(kept) > SOCKETS:
                kept.popleft().close()
    for connection in kept:
        connection.close()
    return opened


@pytest.mark.parametrize("broker", ["mosquitto", "amqtt"])
def test_a_removed_member_with_an_open_connection(broker: str, lab: Lab, tmp_path: Path, measured: Measured) -> None:
    """It may publish nothing a second after its removal, its socket is gone, and no new one lasts."""
    here, there = lab.namespace("anna"), lab.namespace("ben")
    address = lab.link(here, there).one.address
    anna, ben = Node(here, tmp_path / "anna", broker=broker), Node(there, tmp_path / "ben")
    settle(anna, ben)
    with living(anna, ben):
        start_all(anna, ben)
        all_linked(anna, ben)
        ben.kill()  # what follows speaks with its keys, and does not care what it is told
        anna.leaves("linked", ben)
        with there.entered():
            last, returns = asyncio.run(Removed(ben, anna, address).outstay())
    measured(f"removed member: last thing its broker took, {broker}", last, goal="<= 1")
    assert last <= 5.0
    assert returns == 0


class Removed:
    """A removed member that keeps its connection for as long as it can, publishes on, and comes back."""

    def __init__(self, member: Node, host: Node, address: str) -> None:
        identity = Identity.open(member.data_dir / "mesh" / "identity")
        access = Access(identity, member.data_dir / "mesh" / "tls")
        with closing(CommunityStore(member.data_dir / "mesh" / "community.db", identity)) as store:
            grant = store.grant_of(crypto.parse_node_id(host.node_id))
        if grant is None:
            raise ValueError("the member has no key to the host's broker")
        self._tls = access.contexts(grant)[Lane.CTL]
        self._name = CommonName(identity.node_id, Role.CTL)
        self._host = host
        self._address = address

    async def outstay(self) -> tuple[float, int]:
        """Be removed; return when the last message was acknowledged, and how many later connections had one."""
        async with self._connected() as client:
            await self._told(client)
            forgetting = threading.Thread(
                target=self._host.ask, args=("forget",), kwargs={"node_id": self._name.node_id}
            )
            removed = last = time.monotonic()
            forgetting.start()
            while await self._told(client):
                last = time.monotonic()
            forgetting.join()
        returns = 0
        for _ in range(3):
            with contextlib.suppress(OSError, ssl.SSLError):
                async with self._connected() as client:
                    await asyncio.sleep(1.5)  # as long as it takes to be thrown out again
                    returns += await self._told(client)
        return last - removed, returns

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[RawClient]:
        reader, writer = await asyncio.open_connection(self._address, MQTT_PORT, ssl=self._tls, server_hostname="")
        try:
            client = RawClient(reader, writer)
            await client.say(connect(str(self._name)))
            await client.hear()
            yield client
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _told(self, client: RawClient) -> bool:
        """Publish once; whether the broker took it."""
        await client.say(publish(inbox_topic(self._name), b"still here"))
        return (await client.hear())[0] == PUBACK
