"""What the nodes in reach hold, as one of them sees it."""

import logging
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from device.api_of_models import HeldModel
from device.core.fitting import Room
from device.core.query_messages import Status
from device.room_left import room_left
from models.store import ModelStore
from tests.models.waiting import until
from tests.sim.home import Home
from tests.sim.mesh_net import SimulatedNet
from tests.sim.street import Street

ROOM = Room(store_bytes=10**12, cache_bytes=10**12, shared=True, memory_bytes=0)


async def test_a_model_of_two_neighbours_is_listed_once(street: Street) -> None:
    """The nearest first; who leaves is listed no more."""
    spark = street["spark"]
    (model,) = spark.queries.mesh_models(ROOM).models
    assert (model.name, model.here, [holder.name for holder in model.holders]) == ("tiny", False, ["ember", "attic"])
    assert (
        spark.queries.mesh_models(Room(store_bytes=1, cache_bytes=1, shared=True, memory_bytes=0)).models[0].shortfalls
    )
    street.net.cut(spark.mesh, street["ember"].mesh)
    await until(lambda: [one.name for one in spark.queries.mesh_models(ROOM).models[0].holders] == ["attic"])
    (own,) = street["attic"].queries.mesh_models(ROOM).models
    assert own.here


async def test_what_one_announcement_cannot_hold_is_said(
    tmp_path: Path, shared_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred models are told, of whatever names; of three hundred the first, and how many are not, is known here."""
    net = SimulatedNet()
    async with AsyncExitStack() as stack:
        spark, ember = (Home(net, name, tmp_path, shared_cache) for name in ("spark", "ember"))
        for home in (spark, ember):
            await stack.enter_async_context(home.open())
        net.link(spark.mesh, ember.mesh)
        with caplog.at_level(logging.WARNING):
            for count in (100, 300):
                held = tuple(HeldModel(name=f"{n:064}", digest=f"{n:064x}", size_bytes=2**40) for n in range(count))
                told = len(Status(name="ember", models=held).told)
                ember.library.held = lambda held=held: held  # type: ignore[method-assign, misc]
                ember.queries.models_changed()
                await until(lambda told=told: len(spark.queries.mesh_models(ROOM).models) == told)  # type: ignore[misc]
                assert ember.queries.mesh_models(ROOM).untold == count - told
                assert told == 100 if count == 100 else 120 <= told < 300
        assert caplog.text.count("an announcement holds no more models") == 1


def test_the_room_that_is_left_is_looked_up(tmp_path: Path) -> None:
    """Also before anything has been written; what an engine holds counts as free for another."""
    store = ModelStore(tmp_path / "models")
    room = room_left(store.root, tmp_path / "cache" / "hearth", engine_pid=None)
    assert room.shared
    assert room.store_bytes == room.cache_bytes > 0
    assert room.memory_bytes > 0
    assert not store.root.exists()
