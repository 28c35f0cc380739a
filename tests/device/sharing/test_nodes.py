"""Two real nodes, two real brokers: the model of one comes to the other by `pull`."""

from pathlib import Path

import pytest

from device.api_of_models import Model, PullProgress
from device.client import DaemonClient
from tests.device.test_node import folder as folder  # noqa: PLC0414  a fixture
from tests.models.waiting import until
from tests.sim.hearth import Broker, hearth_config, living


@pytest.mark.parametrize("broker", ["mosquitto", "amqtt"])
async def test_a_model_comes_from_the_other_node(folder: Path, broker: Broker) -> None:
    """By its name, which no catalogue here knows; then it is held at both, and both say so."""
    ember_config, spark_config = (hearth_config(folder / name, name=name, broker=broker) for name in ("ember", "spark"))
    async with living(ember_config, holds="tiny") as ember, living(spark_config) as spark:
        clients = {node.config.node.name: DaemonClient(node.config.socket_path) for node in (ember, spark)}
        offer = await clients["ember"].pair()
        await clients["spark"].join(offer.words)
        await until(lambda: bool(spark.administration.queries.models_of(ember.administration.mesh.node_id)))
        items = [item async for item in clients["spark"].pull("tiny")]
        model = items[-1]
        assert isinstance(model, Model)
        [held] = (await clients["ember"].models()).models
        assert (model.name, model.digest) == ("tiny", held.digest)
        assert "ask" in {item.stage for item in items if isinstance(item, PullProgress)}
        await until(lambda: bool(ember.administration.queries.models_of(spark.administration.mesh.node_id)))
