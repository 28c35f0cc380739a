"""Two real nodes, two real brokers: what one answers and gives is on the record of both, signed by both."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from device.api_of_models import Model
from device.api_of_record import Contributions, Giver
from device.client import ChatMessage, DaemonClient, Sampling
from device.core.contribution_accounts import Pace
from device.node import HearthNode
from tests.device.test_node import broker as broker  # noqa: PLC0414  a fixture
from tests.device.test_node import folder as folder  # noqa: PLC0414  a fixture
from tests.models.waiting import until
from tests.sim.hearth import Broker, hearth_config, living

AT_ONCE = Pace(wait_s=0, min_tokens=20, min_model_bytes=1000, look_every_s=0.05, ask_again_s=0.2)
TOKENS = 30


async def shown(client: DaemonClient, wanted: Callable[[Contributions], bool]) -> Contributions:
    """Ask a node who gave what, until it says what is waited for."""
    async with asyncio.timeout(30):
        while not wanted(found := await client.contributions()):  # noqa: ASYNC110  asked over HTTP
            await asyncio.sleep(0.05)
    return found


async def test_answers_and_models_are_on_the_record(folder: Path, broker: Broker) -> None:
    """Of both nodes, which say the same; a restart of both changes nothing, and the next sum is another period."""
    configs = {name: hearth_config(folder / name, name=name, broker=broker) for name in ("ember", "spark")}

    async def started(stack: AsyncExitStack, *, holds: str) -> tuple[HearthNode, HearthNode]:
        ember = await stack.enter_async_context(living(configs["ember"], holds=holds, contributions=AT_ONCE))
        spark = await stack.enter_async_context(living(configs["spark"], contributions=AT_ONCE))
        return ember, spark

    clients = [DaemonClient(config.socket_path) for config in configs.values()]
    at_ember, at_spark = clients
    async with AsyncExitStack() as stack:
        ember, spark = await started(stack, holds="tiny")
        await at_spark.join((await at_ember.pair()).words)
        ids = [one.administration.mesh.node_id for one in (ember, spark)]
        await until(lambda: bool(spark.administration.queries.models_of(ids[0])))
        hello, few = [ChatMessage(role="user", content="hello")], Sampling(max_tokens=TOKENS)
        assert [piece async for piece in at_spark.ask(hello, sampling=few)]

        answered = await shown(at_spark, lambda found: bool(found.givers))
        [giver] = answered.givers
        assert (giver.node_id, giver.name, giver.member) == (ids[0], "ember", True)
        assert (giver.answers, giver.tokens, giver.model_bytes) == (1, TOKENS, 0)
        assert [(one.node_id, one.name, one.tokens) for one in giver.receivers] == [(ids[1], "spark", TOKENS)]
        assert await shown(at_ember, lambda found: bool(found.givers)) == answered

    async with AsyncExitStack() as stack:
        ember, spark = await started(stack, holds="")
        await until(lambda: bool(spark.administration.queries.models_of(ids[0])), within_s=30)
        model = [item async for item in at_spark.pull("tiny")][-1]
        assert isinstance(model, Model)

        def has_models(found: Contributions) -> bool:
            return sum(one.model_bytes for one in found.givers) >= model.size_bytes

        pulled = await shown(at_spark, has_models)
        assert await shown(at_ember, has_models) == pulled
        [giver] = pulled.givers
        assert giver == Giver(
            **vars(answered.givers[0]) | {"model_bytes": giver.model_bytes, "receivers": giver.receivers}
        )
        assert model.size_bytes <= giver.model_bytes <= model.size_bytes + 1_000_000
        lines = [line.says async for line in at_spark.log(kind="contribution")]
        assert [line.rpartition(", ")[2] for line in lines] == [f"period {number}" for number in range(len(lines))]
        assert lines[0].startswith(
            f"spark ({ids[1][:8]}) received 1 answer of {TOKENS} tokens from ember ({ids[0][:8]})"
        )
