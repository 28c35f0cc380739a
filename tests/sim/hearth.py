"""A whole node inside the test's loop: real broker, real engine, free ports, discovery on loopback alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from device.config import (
    DiscoveryConfig,
    DoorConfig,
    EngineConfig,
    HearthConfig,
    HttpConfig,
    ModelsConfig,
    MqttConfig,
    NodeConfig,
)
from device.core.contribution_accounts import Pace
from device.node import GRACE_S, HearthNode
from mesh.interfaces import Interface, survey
from models.store import ModelStore
from tests.sim.tiny_model import install_tiny

READY_WITHIN_S = 30.0
Broker = Literal["auto", "mosquitto", "amqtt"]


def hearth_config(
    data_dir: Path,
    *,
    name: str = "ember",
    broker: Broker = "auto",
    context_tokens: int = 2048,
    slots: int = 1,
    interfaces: tuple[str, ...] = (),
) -> HearthConfig:
    """Configure a node that disturbs nobody."""
    return HearthConfig(
        data_dir=data_dir,
        node=NodeConfig(name=name),
        http=HttpConfig(port=0),
        mqtt=MqttConfig(port=0, broker=broker),
        door=DoorConfig(port=0),
        discovery=DiscoveryConfig(interfaces=("lo", *interfaces)),
        engine=EngineConfig(threads=1, context_tokens=context_tokens, slots=slots),
        models=ModelsConfig(default="tiny"),
    )


@asynccontextmanager
async def living(
    config: HearthConfig,
    *,
    holds: str = "",
    grace_s: float = GRACE_S,
    networks: Callable[[], tuple[Interface, ...]] = survey,
    contributions: Pace | None = None,
) -> AsyncIterator[HearthNode]:
    """A node from ready to stopped; with a tiny endless model of that name in its store, if one is given."""
    if holds:
        await install_tiny(ModelStore(config.data_dir / "models"), config.data_dir / "files", name=holds)
    node, ready = HearthNode(config, grace_s=grace_s, networks=networks, contributions=contributions), asyncio.Event()
    running, waiting = asyncio.create_task(node.run(ready)), asyncio.create_task(ready.wait())
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        yield node
    finally:
        waiting.cancel()
        node.stop()
        await asyncio.wait((running,))
    running.result()
