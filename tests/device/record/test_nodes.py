"""Two real nodes, two real brokers: what one publishes, the other's log and lists say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from device.api_of_record import LogLine, OnRecord
from device.client import DaemonClient, RequestRefusedError
from device.node import HearthNode
from mesh.core.entries import PublishModel
from tests.device.test_node import broker as broker  # noqa: PLC0414  a fixture
from tests.device.test_node import folder as folder  # noqa: PLC0414  a fixture
from tests.models.waiting import until
from tests.sim.hearth import Broker, hearth_config, living

Pair = tuple[DaemonClient, DaemonClient, HearthNode]


@pytest.fixture
async def pair(folder: Path, broker: Broker) -> AsyncIterator[Pair]:
    """Clients of `ember`, which founded the community, and of `spark`, which has a model and is the third."""
    async with AsyncExitStack() as stack:
        homes = (("ember", ""), ("spark", "tiny"))
        nodes = [
            await stack.enter_async_context(living(hearth_config(folder / name, name=name, broker=broker), holds=holds))
            for name, holds in homes
        ]
        ember, spark = (DaemonClient(node.config.socket_path) for node in nodes)
        await spark.join((await ember.pair()).words)
        await until(lambda: bool(nodes[0].administration.queries.models_of(nodes[1].administration.mesh.node_id)))
        yield ember, spark, nodes[0]


async def told(client: DaemonClient, *, kind: str = "", model: str = "", author: str = "") -> list[LogLine]:
    """The record as a node has it."""
    return [line async for line in client.log(kind=kind, model=model, author=author)]


async def published(client: DaemonClient, name: str = "tiny") -> OnRecord:
    """Publish a model."""
    items = [item async for item in client.publish(name)]
    assert isinstance(items[-1], OnRecord)
    return items[-1]


async def test_what_one_publishes_the_other_reads(pair: Pair) -> None:
    """In its log, told to whoever follows it, in its list of the mesh's models, and until a voter takes it back."""
    ember, spark, node = pair
    lines = ember.log(follow=True)
    assert [(await anext(lines)).kind for _ in range(2)] == ["genesis", "admit"]
    said = await published(spark)
    assert said.published_by == (f"spark ({(await spark.status()).node_id[:8]})",)
    seen = await asyncio.wait_for(anext(lines), 30)
    await lines.aclose()
    assert (seen.number, seen.kind, seen.name, seen.model, seen.counts) == (2, "model", "spark", said.digest, True)
    assert seen.says == f"{said.published_by[0]} published tiny ({said.digest[:8]}), licence {said.licence}"
    assert await told(ember) == await told(spark)
    [listed] = (await ember.mesh_models()).models
    assert (listed.published_by, listed.retired) == (said.published_by, "")
    assert (await spark.card("tiny")).sharing.published_by == said.published_by

    gone = await ember.retire(said.digest[:8], reason="it lies")
    assert gone.retired == f"by ember ({(await ember.status()).node_id[:8]}): it lies"
    await until(lambda: len(node.administration.mesh.record.view().entries) == 4)
    async with asyncio.timeout(30):
        while not (await spark.card("tiny")).sharing.retired:  # noqa: ASYNC110  asked over HTTP
            await asyncio.sleep(0.01)
    assert (await spark.card("tiny")).sharing.retired == gone.retired
    with pytest.raises(RequestRefusedError, match="tiny was retired by ember") as refused:
        await published(spark)
    assert refused.value.code == "model_retired"
    [listed] = (await ember.mesh_models()).models
    assert listed.retired == gone.retired
    assert await told(ember, model="tiny") == [line for line in await told(spark) if line.model == said.digest]
    assert [line.kind for line in await told(ember, author="ember", model=said.digest)] == ["retire"]


async def test_nothing_is_signed_twice_or_for_nothing(pair: Pair) -> None:
    """What the record says already, what others published, what may not be passed on, what nobody published."""
    ember, spark, _ = pair
    first = await published(spark)
    assert await published(spark, first.digest) == first
    own = await spark.retire("tiny", reason="too slow")
    assert await spark.retire("tiny", reason="again") == own
    assert [line.kind for line in await told(spark)] == ["genesis", "admit", "model", "retire"]
    assert (await published(spark)).retired == ""
    with pytest.raises(RequestRefusedError) as unknown:
        await ember.retire("unheard of")
    assert unknown.value.code == "model_not_published"
    with pytest.raises(RequestRefusedError) as long:
        await ember.retire("tiny", reason="r" * 201)
    assert long.value.param == "reason"
    card = (await spark.card("tiny")).card
    await spark.keep_card("tiny", card.changed({"licence": "LicenseRef-secret", "redistribution": "forbidden"}))
    with pytest.raises(RequestRefusedError) as forbidden:
        await published(spark)
    assert forbidden.value.code == "not_shared"


async def test_who_may_retire_what(pair: Pair) -> None:
    """An observer only its own word; a voter speaks for everyone, also where the publisher has spoken first."""
    ember, spark, node = pair
    mesh = node.administration.mesh
    by_ember = PublishModel(b"\1" * 32, b"\2" * 32, "large", "MIT")
    mesh.record.sign(by_ember)
    mesh.record.sign(replace(by_ember, digest=b"\3" * 32))
    async with asyncio.timeout(30):
        while len(await told(spark)) < 4:  # noqa: ASYNC110  asked over HTTP
            await asyncio.sleep(0.01)
    with pytest.raises(RequestRefusedError, match="large was published by ember") as others:
        await spark.retire("01010101")
    assert others.value.code == "not_allowed"
    with pytest.raises(RequestRefusedError) as ambiguous:
        await ember.retire("large")
    assert ambiguous.value.code == "model_ambiguous"
    await published(spark)
    await spark.retire("tiny", reason="mine")
    await until(lambda: len(mesh.record.view().entries) == 6)
    assert (await ember.retire("tiny", reason="ours")).retired.endswith("ours")
    assert [line.says.rpartition(": ")[2] for line in await told(ember, kind="retire")] == ["mine", "ours"]


async def test_a_node_ends_at_once_though_somebody_follows_its_log(folder: Path) -> None:
    """The stream is told to its end, and holds nothing up."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(living(hearth_config(folder / "ember"), grace_s=60))
        client = DaemonClient(node.config.socket_path)
        await client.pair()
        lines = client.log(follow=True)
        assert (await anext(lines)).kind == "genesis"
        ending = asyncio.ensure_future(anext(lines))
        async with asyncio.timeout(20):
            await stack.aclose()
            with pytest.raises(StopAsyncIteration):
                await ending
