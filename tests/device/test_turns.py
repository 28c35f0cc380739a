"""The queue in front of a real engine: places told, turns given, nobody left behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from device import turns
from device.api import AnswerFinished, AnswerLoading, AnswerPiece, AnswerQueued
from device.core.access import LOOPBACK, OWNER, Caller, Key, caller_with
from device.core.admission import Standing
from device.core.offering import Offering
from device.errors import BusyError
from device.turns import MAX_UNREAD
from tests.models.waiting import until
from tests.sim.home import Home, asked, busy, chat, heard
from tests.sim.mesh_net import SimulatedNet

LONG = chat(max_tokens=30_000)


def phone(name: str) -> Caller:
    """A guest's phone."""
    return caller_with(Key(name="guests", digest="d" * 64, guest=True), session=name)


@pytest.fixture
def net() -> SimulatedNet:
    """A net without nodes."""
    return SimulatedNet()


@pytest.fixture
async def ember(net: SimulatedNet, tmp_path: Path, shared_cache: Path) -> AsyncIterator[Home]:
    """A node with a model."""
    async with Home(net, "ember", tmp_path, shared_cache).open(holds="tiny") as home:
        yield home


async def test_a_waiting_question_is_told_its_place(ember: Home) -> None:
    """At once, and again when it moves up; then come the words."""
    async with (
        busy(ember.queries, caller=phone("a")) as end,
        asked(ember, LONG, caller=phone("b")) as next_one,
        asked(ember, chat(), caller=phone("c")) as last,
    ):
        assert await next_one.step() == AnswerQueued(place=1)
        assert await last.step() == AnswerQueued(place=2)
        moved = asyncio.ensure_future(last.step())
        await next_one.aclose()
        assert await moved == AnswerQueued(place=1)
        assert ember.queries.turns.waiting == {Standing.GUEST: 1}
        assert ember.queries.counts().waiting == 1
        await end()
        assert isinstance(await last.step(), AnswerPiece)
    assert ember.queries.turns.waiting.total() == 0


async def test_a_question_that_waits_for_its_model_is_told(
    net: SimulatedNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one has it converted and loaded, the next finds it there."""
    monkeypatch.setattr(turns, "LOOK_FOR_MODEL_S", 0.01)
    async with Home(net, "ember", tmp_path, tmp_path / "cache").open(holds="tiny") as ember:
        async with asked(ember, chat()) as first:
            delays = []
            while isinstance(item := await first.step(), AnswerLoading):
                delays.append(item.converted_percent)
        assert isinstance(item, AnswerPiece)
        assert delays[0] == 0
        assert max(delays) > 0
        async with asked(ember, chat()) as second:
            assert isinstance(await second.step(), AnswerPiece)


async def test_whoever_only_wants_words_gets_only_words(ember: Home) -> None:
    """Places are for those who ask for them."""
    async with busy(ember.queries, caller=phone("a")):
        waiting = asyncio.ensure_future(heard_by(ember, "b"))
        await until(lambda: ember.queries.turns.waiting.total() == 1)
    assert (await waiting).completion_tokens == 5


async def test_the_owner_overtakes(ember: Home) -> None:
    """It moves before all who wait, and they are told."""
    async with (
        busy(ember.queries, caller=OWNER),
        asked(ember, chat(), caller=phone("b")) as guest,
        asked(ember, chat(), caller=OWNER) as owner,
    ):
        assert await guest.step() == AnswerQueued(place=1)
        moved = asyncio.ensure_future(guest.step())
        assert await owner.step() == AnswerQueued(place=1)
        assert await moved == AnswerQueued(place=2)


async def test_an_answer_steps_aside_for_the_owner(ember: Home) -> None:
    """It goes on afterwards where it was: the same words, as if nothing had been."""
    question = chat(max_tokens=400)
    undisturbed, _ = await heard(ember, question)
    async with asked(ember, question, caller=phone("a")) as guest:
        pieces = [await anext(guest)]
        owners = asyncio.create_task(heard(ember, chat()))
        items = []
        while not owners.done():
            items.append(await guest.step())
        assert AnswerQueued(place=1) in items
        assert not isinstance(items[-1], AnswerFinished)
        pieces += [item for item in items if isinstance(item, AnswerPiece | AnswerFinished)]
        pieces += [item async for item in guest]
    finished = pieces.pop()
    assert isinstance(finished, AnswerFinished)
    assert finished.completion_tokens == 400
    assert "".join(piece.text for piece in pieces if isinstance(piece, AnswerPiece)) == undisturbed
    assert (await owners)[1].completion_tokens == 5


async def test_an_answer_that_nobody_reads_leaves_the_engine(ember: Home) -> None:
    """It goes on, complete, once what there is of it has been read."""
    question = chat(max_tokens=3 * MAX_UNREAD)
    undisturbed, _ = await heard(ember, question)
    async with asked(ember, question, caller=phone("a")) as unread:
        pieces = [await anext(unread)]
        assert await heard_by(ember, "b")
        pieces += [item async for item in unread]
    finished = pieces.pop()
    assert isinstance(finished, AnswerFinished)
    assert finished.completion_tokens == 3 * MAX_UNREAD
    assert "".join(piece.text for piece in pieces if isinstance(piece, AnswerPiece)) == undisturbed


async def test_as_many_are_answered_as_there_are_slots(net: SimulatedNet, tmp_path: Path, shared_cache: Path) -> None:
    """At the same time; one more waits, and the owner's takes the place of who began last."""
    async with (
        Home(net, "ember", tmp_path, shared_cache, slots=2).open(holds="tiny") as ember,
        busy(ember.queries, caller=phone("a")),
        busy(ember.queries, caller=phone("b")),
        asked(ember, chat(), caller=phone("c")) as waiting,
    ):
        assert await waiting.step() == AnswerQueued(place=1)
        assert (await heard(ember, chat()))[1].completion_tokens == 5


async def test_a_full_queue_says_when_to_come_back(ember: Home) -> None:
    """One phone holds half of the guests' places at most; the next phone still finds one."""
    async with asyncio.TaskGroup() as tasks, busy(ember.queries, caller=phone("a")):
        greedy = [tasks.create_task(heard_by(ember, "greedy")) for _ in range(8)]
        await until(lambda: ember.queries.turns.waiting.total() == 8)
        with pytest.raises(BusyError, match="8 questions are waiting here, 8 of them yours") as raised:
            await heard_by(ember, "greedy")
        assert raised.value.retry_after_s >= 1
        async with asked(ember, chat(), caller=phone("modest")) as modest:
            assert await modest.step() == AnswerQueued(place=2)
        for task in greedy:
            task.cancel()


async def heard_by(home: Home, name: str) -> AnswerFinished:
    """A phone's whole answer."""
    async with asked(home, chat(), caller=phone(name)) as answer:
        *_, finished = [item async for item in answer]
    assert isinstance(finished, AnswerFinished)
    return finished


async def test_a_place_travels_over_the_mesh(
    net: SimulatedNet, ember: Home, tmp_path: Path, shared_cache: Path
) -> None:
    """Who asks at a node without a model is told its place in the neighbour's queue."""
    async with Home(net, "spark", tmp_path, shared_cache).open() as spark:
        net.link(spark.mesh, ember.mesh)
        await until(lambda: bool(spark.queries.models_of(ember.mesh.node_id)))
        async with busy(ember.queries) as end, asked(spark, chat(), caller=LOOPBACK) as far:
            assert await far.step() == AnswerQueued(place=1)
            assert ember.queries.turns.waiting == {Standing.NEIGHBOUR: 1}
            await end()
            assert isinstance(await far.step(), AnswerPiece)


async def test_a_hot_board_answers_its_owner_alone(net: SimulatedNet, tmp_path: Path, shared_cache: Path) -> None:
    """Guests and neighbours hear why; the owner and the owner's programs notice nothing."""
    hot = Offering(share=0.0, reason="the board is at 82 °C")
    home = Home(net, "ember", tmp_path, shared_cache, offering=lambda: hot)
    async with home.open(holds="tiny") as ember:
        with pytest.raises(BusyError, match="spares itself"):
            await heard_by(ember, "a")
        assert (await heard(ember, chat()))[1].completion_tokens == 5
        async with asked(ember, chat(), caller=LOOPBACK) as answer:
            assert isinstance(await anext(answer), AnswerPiece)
        assert ember.queries.turns.offering == hot


async def test_who_waits_while_it_gets_hot_is_told(net: SimulatedNet, tmp_path: Path, shared_cache: Path) -> None:
    """A turn that will not come is not waited for."""
    now = Offering()
    home = Home(net, "ember", tmp_path, shared_cache, offering=lambda: now)
    async with (
        home.open(holds="tiny") as ember,
        busy(ember.queries) as end,
        asked(ember, chat(), caller=phone("a")) as waiting,
    ):
        assert await waiting.step() == AnswerQueued(place=1)
        now = Offering(share=0.0, reason="the board is at 82 °C")
        ember.queries.turns._look_at = 0.0  # time to look at the sensors again
        await end()
        with pytest.raises(BusyError, match="waited in vain: the board is at 82 °C"):
            await waiting.step()


async def test_a_warm_board_rests_between_guests(net: SimulatedNet, tmp_path: Path, shared_cache: Path) -> None:
    """The next guest waits for the end of the rest, and is then answered without anybody's doing."""
    home = Home(net, "ember", tmp_path, shared_cache, offering=lambda: Offering(share=0.5, reason="warm"))
    async with home.open(holds="tiny") as ember:
        await heard_by(ember, "a")
        async with asked(ember, chat(), caller=phone("b")) as waiting:
            assert await waiting.step() == AnswerQueued(place=1)
            assert isinstance(await waiting.step(), AnswerPiece)
