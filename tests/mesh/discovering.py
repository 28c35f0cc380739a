"""Discoveries that run on loopback with real multicast, and machines whose interfaces come and go."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from mesh.discovery import Discovery
from mesh.interfaces import Interface
from mesh.sightings import Sighting

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def random_id() -> str:
    """Make a node id that no other test uses."""
    return "".join(secrets.choice(ALPHABET) for _ in range(52))


@dataclass
class Running:
    """A discovery and what it has reported."""

    discovery: Discovery
    seen: list[Sighting]
    lost: list[str]
    clones: list[Sighting | None]

    def sighting(self, node_id: str) -> Sighting | None:
        """Find the newest sighting of a node."""
        return next((sighting for sighting in reversed(self.seen) if sighting.node_id == node_id), None)


@contextlib.asynccontextmanager
async def running(node_id: str, *, mqtt_port: int = 18883, door_port: int = 18884) -> AsyncIterator[Running]:
    """Announce and browse on lo while the block runs."""
    seen: list[Sighting] = []
    lost: list[str] = []
    clones: list[Sighting | None] = []
    node = Discovery(
        node_id=node_id,
        mqtt_port=mqtt_port,
        door_port=door_port,
        interfaces=("lo",),
        on_sighting=seen.append,
        on_lost=lost.append,
        on_duplicate=clones.append,
    )
    ready = asyncio.Event()
    task = asyncio.create_task(node.run(ready))
    await asyncio.wait_for(ready.wait(), 5)
    try:
        yield Running(node, seen, lost, clones)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Machine:
    """A machine whose interfaces a test switches on and off; they all lead to this one's loopback."""

    def __init__(self, *interfaces: Interface) -> None:
        self.interfaces = interfaces
        self.looks = 0

    def look(self) -> tuple[Interface, ...]:
        """List the interfaces there are now."""
        self.looks += 1
        return self.interfaces


@contextlib.asynccontextmanager
async def on(machine: Machine, node_id: str, *wanted: str) -> AsyncIterator[Running]:
    """Run a discovery on a machine, which looks at its interfaces all the time."""
    seen: list[Sighting] = []
    lost: list[str] = []
    node = Discovery(
        node_id=node_id,
        mqtt_port=18883,
        door_port=18884,
        interfaces=wanted or ("auto",),
        on_sighting=seen.append,
        on_lost=lost.append,
        poll_s=0.02,
        look=machine.look,
    )
    ready = asyncio.Event()
    task = asyncio.create_task(node.run(ready))
    await asyncio.wait_for(ready.wait(), 5)
    try:
        yield Running(node, seen, lost, [])
        assert not task.done()
    finally:
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(end, asyncio.CancelledError)
