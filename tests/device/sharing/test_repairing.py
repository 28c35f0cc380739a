"""A model that the card has damaged is made whole by whoever holds it, and no more than the damage comes."""

from pathlib import Path

import pytest

from device.repairing import Repairer
from device.scrubber import Scrubber
from models.blob_trees import BlobTrees
from models.core.hash_tree import CHUNK_BYTES
from models.store import StoredModel
from tests.sim.mesh_net import SimulatedNet
from tests.sim.sharing_home import Sharer, street


@pytest.fixture
def net() -> SimulatedNet:
    """A net without nodes."""
    return SimulatedNet()


def damage(home: Sharer, model: StoredModel, *, at: int) -> None:
    """Flip a byte, as a worn card does."""
    with home.store.path(model.manifest.gguf).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def scrubber_of(home: Sharer) -> Scrubber:
    """What verifies a node's models, and asks its neighbours."""
    repairer, scrubber = Repairer(home.store, BlobTrees(home.store), home.sharing), Scrubber(home.store)
    scrubber.tree_of, scrubber.repair = repairer.tree_of, repairer.repair
    return scrubber


async def test_one_flipped_byte_costs_one_chunk(tmp_path: Path, net: SimulatedNet) -> None:
    """It is found, the chunk that it is in comes from a neighbour, and the model is whole again."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    async with ember.open(), spark.open():
        got, _ = await spark.pulls(model)
        before = len(ember.asked_for())
        damage(spark, got, at=3 * CHUNK_BYTES + 5)
        found = await scrubber_of(spark).verify([got], lambda _: None)
        assert [(one.sound, one.repaired, one.damage[0].chunks) for one in found.models] == [(False, True, (3,))]
        assert ember.asked_for()[before:] == [3]
        whole = [home.store.path(model.manifest.gguf).read_bytes() for home in (spark, ember)]
        assert whole[0] == whole[1]
        again = await scrubber_of(spark).verify([got], lambda _: None)
        assert [one.sound for one in again.models] == [True]


async def test_with_nobody_in_reach_it_stays_aside(tmp_path: Path, net: SimulatedNet) -> None:
    """It is said, nothing is lost, and the next time somebody holds it, it is repaired."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    async with ember.open(), spark.open():
        got, _ = await spark.pulls(model)
        net.cut(ember.mesh, spark.mesh)
        damage(spark, got, at=7)
        found = await scrubber_of(spark).verify([got], lambda _: None)
        assert [(one.sound, one.repaired) for one in found.models] == [(False, False)]
        assert spark.store.aside_path(model.manifest.gguf.sha256).exists()
        net.link(ember.mesh, spark.mesh)
        found = await scrubber_of(spark).verify([got], lambda _: None)
        assert [(one.sound, one.repaired) for one in found.models] == [(False, True)]
