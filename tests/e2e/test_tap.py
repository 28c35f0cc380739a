"""What a neighbour is asked and what it answers cannot be read on the way, not even where TLS has failed."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from device.api import ChatMessage
from device.client import DaemonClient
from device.config import HearthConfig
from device.node import HearthNode
from mesh.core import crypto
from mesh.node import MeshNode
from mesh.sightings import Sighting
from models.catalogue import Catalogue
from models.fetch import cache_directory, pull
from models.store import ModelStore
from tests.e2e.tap import Tap, tap_between
from tests.sim.hearth import hearth_config, living

QUESTION = "What is the capital of France?"
NOWHERE = "nowhere0"  # an interface that does not exist: these nodes know only the addresses they are told
WITHIN_S = 60.0

pytestmark = pytest.mark.slow


def deaf(data_dir: Path, name: str) -> HearthConfig:
    """Configure a node that discovers nobody."""
    config = hearth_config(data_dir, name=name)
    return replace(
        config,
        discovery=replace(config.discovery, interfaces=(NOWHERE,)),
        models=replace(config.models, default="smollm2-135m"),
        engine=replace(config.engine, threads=2),
    )


def mesh_of(node: HearthNode) -> MeshNode:
    """Reach through to the mesh, to tell it addresses."""
    return node.administration.mesh


async def until(node: HearthNode, condition: Callable[[], bool]) -> None:
    """Wait until something is true, looking on every change in the mesh."""
    news = asyncio.Event()
    mesh_of(node).on_change(news.set)
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            news.clear()
            await news.wait()


async def pair(ember: HearthNode, spark: HearthNode) -> None:
    """Let spark join ember."""
    offer = await mesh_of(ember).open_offer()
    await mesh_of(spark).join(offer.words, at=f"127.0.0.1:{mesh_of(ember).door_port}")
    await until(ember, lambda: linked(ember))
    await until(spark, lambda: linked(spark))


def linked(node: HearthNode) -> bool:
    """Whether the one neighbour is linked."""
    return [one.state for one in mesh_of(node).neighbours()] == ["linked"]


def tap(client: HearthNode, broker: HearthNode, folder: Path) -> Tap:
    """Tap what one node says to the other's broker."""
    folder.mkdir()
    mesh = mesh_of(broker)
    return tap_between(
        client.config.data_dir,
        broker.config.data_dir,
        broker_id=crypto.parse_node_id(mesh.node_id),
        broker_port=mesh.mqtt_port,
        folder=folder,
    )


async def test_neither_question_nor_answer_is_on_the_wire(tmp_path: Path) -> None:
    """Both directions of a real question are tapped; the topics are readable there, the words are not."""
    configs = deaf(tmp_path / "ember", "ember"), deaf(tmp_path / "spark", "spark")
    store = ModelStore(configs[0].data_dir / "models")
    entry = Catalogue.load().find("smollm2-135m")
    await pull(entry, store=store, cache_dir=cache_directory(os.environ), progress=lambda _: None)
    async with living(configs[0]) as ember, living(configs[1]) as spark:
        await pair(ember, spark)
    async with living(configs[0]) as ember, living(configs[1]) as spark:
        asked = tap(spark, ember, tmp_path / "asked")
        answered = tap(ember, spark, tmp_path / "answered")
        async with asked.listening(), answered.listening():
            for node, other, wire in ((spark, ember, asked), (ember, spark, answered)):
                mesh = mesh_of(other)
                mesh_of(node).sighted(Sighting(mesh.node_id, ("127.0.0.1",), wire.port, mesh.door_port))
            await until(spark, lambda: linked(spark))
            client = DaemonClient(spark.config.socket_path)
            pieces = [piece async for piece in client.ask([ChatMessage(role="user", content=QUESTION)])]
            answer = "".join(getattr(piece, "text", "") for piece in pieces)
            assert "Paris" in answer
            for wire, speaker in ((asked, spark), (answered, ember)):
                assert f"in/{mesh_of(speaker).node_id}.ctl/f".encode() in wire.heard
                for words in (QUESTION, "capital", "France", "Paris", answer):
                    assert words.encode() not in wire.heard
