"""What a question is charged, however it ends: through the queue, an engine and a mesh."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from device.api import AnswerQueued
from device.core.access import Key, caller_with
from device.core.budgets import Allowance, prompt_tokens
from device.errors import NeighbourFailedError
from device.meter import Meter
from tests.models.waiting import until
from tests.sim.home import Home, asked, busy, chat, heard
from tests.sim.mesh_net import SimulatedNet
from tests.sim.tiny_model import CONTEXT_TOKENS

KEY = Key(name="guests", digest="9" * 64, guest=True, allowance=Allowance(per_day=10**6))
GUEST = caller_with(KEY, session="phone")
LONG = chat("a long story " * 100, max_tokens=CONTEXT_TOKENS)


@pytest.fixture
async def pair(tmp_path: Path, shared_cache: Path) -> AsyncIterator[tuple[Home, Home]]:
    """`spark`, which has no model and counts its guests' tokens, and `ember`, which has one and counts, too."""
    net = SimulatedNet()
    async with AsyncExitStack() as stack:
        spark, ember = (
            Home(net, name, tmp_path, shared_cache, context_tokens=CONTEXT_TOKENS) for name in ("spark", "ember")
        )
        await stack.enter_async_context(spark.open())
        await stack.enter_async_context(ember.open(holds="tiny"))
        net.link(spark.mesh, ember.mesh)
        await until(lambda: bool(spark.queries.models_of(ember.mesh.node_id)))
        await heard(ember, chat())  # the engine is warm
        for home in (spark, ember):
            home.queries._meter = Meter(allowance=lambda _: KEY.allowance)
        yield spark, ember


def charged(home: Home) -> int:
    """What the key has used."""
    return home.queries._meter.spent[KEY.digest].tokens


@pytest.mark.parametrize("name", ["ember", "spark"])
async def test_hanging_up_before_the_first_token_is_not_free(pair: tuple[Home, Home], name: str) -> None:
    """The prompt is being read, here or at a neighbour: it counts, and what is set aside beyond it comes back."""
    home = {one.mesh.name: one for one in pair}[name]
    answer = await home.queries.ask(LONG, GUEST)
    reading = asyncio.create_task(answer.step())
    await until(lambda: pair[1].engine.busy)
    reading.cancel()
    await asyncio.wait((reading,))
    await answer.aclose()
    least = prompt_tokens(LONG.generation)
    assert least <= charged(home) <= least + 100


async def test_a_question_that_only_waited_costs_nothing(pair: tuple[Home, Home]) -> None:
    """Neither in the queue here, nor in a neighbour's, nor one that was refused there."""
    spark, ember = pair
    async with busy(ember.queries):
        for home in pair:
            async with asked(home, LONG, caller=GUEST) as waiting:
                assert isinstance(await waiting.step(), AnswerQueued)
            assert charged(home) == 0
        ember.queries._answerer.refuse_new()
        async with asked(spark, LONG, caller=GUEST) as refused:
            with pytest.raises(NeighbourFailedError, match="stopping"):
                await anext(refused)
        assert charged(spark) == 0
