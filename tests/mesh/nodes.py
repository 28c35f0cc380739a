"""Nodes of the mesh that run on loopback, and a way to wait for what they see."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

from mesh.node import MeshConfig, MeshNode, Received

Kind = Literal["mosquitto", "amqtt"]
DEADLINE_S = 30.0
PING, PONG = 100, 101


class Running:
    """A node that runs, and a way to wait for what it sees."""

    def __init__(self, node: MeshNode) -> None:
        self.node = node
        self.received: list[Received] = []
        self._news = asyncio.Event()
        node.on_message(self._hear)
        node.on_change(self._news.set)
        node.on_announcement(lambda _node_id, _body: self._news.set())

    def _hear(self, message: Received) -> None:
        self.received.append(message)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true; it is looked at on every change."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._news.clear()
                if not condition():
                    await self._news.wait()

    def state_of(self, other: "Running") -> str | None:
        """The link's state as this node sees it."""
        states = {one.node_id: one.state for one in self.node.neighbours()}
        return states.get(other.node.node_id)

    async def linked_to(self, other: "Running") -> None:
        """Wait for the link."""
        await self.until(lambda: self.state_of(other) == "linked")


@contextlib.asynccontextmanager
async def running(
    directory: Path,
    name: str,
    kind: Kind = "mosquitto",
    *,
    interfaces: tuple[str, ...] = ("lo",),
    static_peers: tuple[str, ...] = (),
    hardware: Path = Path("/"),
) -> AsyncIterator[Running]:
    """Run a node on the loopback interface with free ports."""
    config = MeshConfig(
        data_dir=directory / name,
        name=name,
        interfaces=interfaces,
        mqtt_port=0,
        door_port=0,
        broker=kind,
        static_peers=static_peers,
        hardware=hardware,
    )
    node = MeshNode(config)
    ready = asyncio.Event()
    task = asyncio.create_task(node.run(ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task
    try:
        yield Running(node)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def paired(one: Running, two: Running) -> None:
    """Let the second join the first, and wait for both ends of the link."""
    offer = await one.node.open_offer()
    await two.node.join(offer.words)
    await asyncio.gather(one.linked_to(two), two.linked_to(one))
