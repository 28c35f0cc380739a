"""Who a model is brought from: whoever told of it, also where that one is away for the moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from device.errands import Errands
from device.library import Library
from mesh.views import BLOCKED
from models.catalogue import Catalogue
from models.errors import ModelNotFoundError
from models.host import EngineHost
from tests.models.waiting import until
from tests.sim.mesh_net import SimulatedNet
from tests.sim.sharing_home import Sharer, street


async def admitted(_size_bytes: int) -> None:
    """Every model fits."""


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Sharer, Sharer, Library]]:
    """A node that holds a model, one that does not, and the library of that one."""
    ember, spark = street(SimulatedNet(), tmp_path, "ember", "spark")
    ember.holds()
    engine = EngineHost(store=spark.store, cache_dir=tmp_path / "cache", threads=1, context_tokens=128)
    library = Library(
        store=spark.store, catalogue=Catalogue(()), engine=engine, cache_dir=tmp_path / "cache", errands=Errands()
    )
    try:
        async with ember.open(), spark.open():
            library.puller.neighbours = spark.sharing
            yield ember, spark, library
    finally:
        await engine.aclose()


async def test_one_that_is_away_is_waited_for(two: tuple[Sharer, Sharer, Library]) -> None:
    """Bad Wi-Fi is no reason to say that nobody has it."""
    ember, spark, library = two
    ember.net.cut(ember.mesh, spark.mesh)
    assert spark.sharing.offered("tiny") == ()
    pulling = asyncio.create_task(library.puller.bring("tiny", (), lambda _: None, admit=admitted))
    await until(lambda: spark.sharing.counts().arriving == 1)
    ember.net.link(ember.mesh, spark.mesh)
    assert (await pulling).name == "tiny"


async def test_one_that_is_blocked_is_not(two: tuple[Sharer, Sharer, Library]) -> None:
    """Nothing is wanted from it."""
    ember, spark, library = two
    ember.net.cut(ember.mesh, spark.mesh)
    spark.mesh.states[ember.mesh.node_id] = BLOCKED
    with pytest.raises(ModelNotFoundError):
        await library.puller.bring("tiny", (), lambda _: None, admit=admitted)
