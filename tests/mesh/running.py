"""Real brokers and real clients for the tests of the mesh's transport."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mesh.broker import Broker
from mesh.certificates import BrokerAuthority, TlsKey, client_context
from mesh.core.topic_policy import INBOX, CommonName, Role
from mesh.mqtt import MqttClient, MqttTuning
from tests.models.waiting import until

OWNER = "o" * 52
ALICE = "a" * 52
BOB = "b" * 52
DEADLINE_S = 10.0
IMPATIENT = MqttTuning(backoff_first_s=0.02, backoff_max_s=0.1)

Kind = Literal["mosquitto", "amqtt"]
KINDS: tuple[Kind, ...] = ("mosquitto", "amqtt")


@dataclass
class Client:
    """A client and what it has seen."""

    mqtt: MqttClient
    states: list[bool]
    received: list[tuple[str, bytes]]

    async def connected(self) -> None:
        """Wait for the connection."""
        await until(lambda: self.mqtt.connected)

    async def receives(self, count: int, *, within_s: float = DEADLINE_S) -> list[tuple[str, bytes]]:
        """Wait for so many messages."""
        await until(lambda: len(self.received) >= count, within_s=within_s)
        return self.received


@dataclass
class RunningBroker:
    """A broker of a node, with its authority at hand."""

    broker: Broker
    authority: BrokerAuthority
    directory: Path
    task: asyncio.Task[None]

    def context(self, name: CommonName, *, authority: BrokerAuthority | None = None) -> ssl.SSLContext:
        """Make the TLS context of a client, certified by this broker's authority or by another one."""
        key = TlsKey.make()
        return client_context(
            ca_pem=self.authority.ca_pem,
            certificate_pem=(authority or self.authority).sign(key.public_bytes, name),
            key=key,
        )

    @contextlib.asynccontextmanager
    async def client(
        self,
        name: CommonName,
        *,
        subscribe: str | None = None,
        client_id: str | None = None,
        tuning: MqttTuning = IMPATIENT,
        tls: ssl.SSLContext | None = None,
        port: int | None = None,
    ) -> AsyncIterator[Client]:
        """Run a client while the block runs."""
        states: list[bool] = []
        received: list[tuple[str, bytes]] = []
        seen = Client(
            MqttClient(
                "127.0.0.1",
                port=port or self.broker.port,
                tls=tls or self.context(name),
                client_id=client_id or str(name),
                subscribe=subscribe,
                on_message=lambda topic, payload: received.append((topic, payload)),
                on_state=states.append,
                tuning=tuning,
            ),
            states,
            received,
        )
        running = asyncio.create_task(seen.mqtt.run())
        try:
            yield seen
        finally:
            seen.mqtt.close()
            await running

    @contextlib.asynccontextmanager
    async def owner(self) -> AsyncIterator[Client]:
        """Run the owner's client, connected."""
        async with self.client(CommonName(OWNER, Role.OWNER), subscribe=INBOX) as client:
            await client.connected()
            yield client

    @contextlib.asynccontextmanager
    async def neighbour(self, node_id: str = ALICE, role: Role = Role.CTL) -> AsyncIterator[Client]:
        """Run a neighbour's client, connected."""
        async with self.client(CommonName(node_id, role)) as client:
            await client.connected()
            yield client


@contextlib.asynccontextmanager
async def running_broker(
    kind: Kind, directory: Path, *, peers: Collection[str] = (ALICE, BOB)
) -> AsyncIterator[RunningBroker]:
    """Run a broker on a free port while the block runs."""
    authority = BrokerAuthority(directory / "tls")
    broker = Broker(
        owner_id=OWNER, directory=directory / "broker", authority=authority, kind=kind, port=0, bind_address="127.0.0.1"
    )
    await broker.set_peers(peers)
    ready = asyncio.Event()
    task = asyncio.create_task(broker.run(ready))
    try:
        async with asyncio.timeout(DEADLINE_S):
            done, waiting = await asyncio.wait(
                {task, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED
            )
            if task in done:
                for other in waiting:
                    other.cancel()
                await task
        yield RunningBroker(broker, authority, directory, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
