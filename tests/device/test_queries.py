"""Questions across a simulated link: routed, answered by a real engine, cancelled, lost."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from device.answering import MAX_FROM_PEER
from device.api import AnswerFinished, AnswerPiece, AnswerQueued
from device.core.access import OWNER, Key, caller_with
from device.core.admission import DEFAULT_BOUNDS
from device.core.query_messages import Cancel, Done, Failed, Query, Tokens, parse_message
from device.errors import (
    AnswerLostError,
    BusyError,
    NeighbourFailedError,
    NoSuchModelError,
    StoppingError,
)
from mesh.node import Received
from tests.models.waiting import until
from tests.sim.home import Home, asked, chat, heard
from tests.sim.mesh_net import SimulatedNet
from tests.sim.tiny_model import CONTEXT_TOKENS


@pytest.fixture
def net() -> SimulatedNet:
    """A net without nodes."""
    return SimulatedNet()


@pytest.fixture
async def pair(net: SimulatedNet, tmp_path: Path, shared_cache: Path) -> AsyncIterator[tuple[Home, Home]]:
    """`spark`, which has no model, and `ember`, which has one; linked, and aware of each other's models."""
    async with AsyncExitStack() as stack:
        spark = Home(net, "spark", tmp_path, shared_cache, context_tokens=CONTEXT_TOKENS)
        ember = Home(net, "ember", tmp_path, shared_cache, context_tokens=CONTEXT_TOKENS)
        await stack.enter_async_context(spark.open())
        await stack.enter_async_context(ember.open(holds="tiny"))
        net.link(spark.mesh, ember.mesh)
        await until(lambda: bool(spark.queries.models_of(ember.mesh.node_id)))
        yield spark, ember


LONG = chat(max_tokens=CONTEXT_TOKENS)


async def test_a_neighbour_answers_as_it_would_at_home(pair: tuple[Home, Home]) -> None:
    """The asker hears the same words, with who said them, by which model, and how fast."""
    spark, ember = pair
    text, finished = await heard(spark, chat(max_tokens=20))
    at_home, _ = await heard(ember, chat(max_tokens=20))
    assert (text, finished.completion_tokens, finished.finish_reason) == (at_home, 20, "length")
    by = finished.answerer
    assert (by.node_id, by.node_name, by.model, by.local) == (ember.mesh.node_id, "ember", "tiny", False)
    assert by.model_digest == ember.library.held()[0].digest
    assert finished.ttft_ms > 0
    assert finished.tokens_per_s > 0
    assert (spark.queries.counts().asked, ember.queries.counts().answered) == (1, 1)


async def test_members_know_what_the_others_hold(pair: tuple[Home, Home]) -> None:
    """It is announced, anew when it changes."""
    spark, ember = pair
    assert spark.queries.models_of(ember.mesh.node_id) == ember.library.held() != ()
    await ember.library.remove("tiny")
    await until(lambda: not spark.queries.models_of(ember.mesh.node_id))


async def test_a_status_that_is_none_changes_nothing(pair: tuple[Home, Home]) -> None:
    """What was said before counts on."""
    spark, ember = pair
    ember.mesh.announce(lambda: b"nonsense")
    await until(lambda: spark.mesh.announcements()[ember.mesh.node_id] == b"nonsense")
    assert spark.queries.models_of(ember.mesh.node_id) == ember.library.held()


async def test_closing_an_answer_frees_the_neighbour(pair: tuple[Home, Home]) -> None:
    """A cancel travels, and the answerer stops computing."""
    spark, ember = pair
    async with asked(spark, LONG) as answer:
        assert isinstance(await anext(answer), AnswerPiece)
        assert ember.queries.counts().running == 1
    await until(lambda: ember.queries.counts().running == 0 and not ember.engine.busy)
    assert len(ember.mesh.seen[Cancel.KIND]) == 1
    assert spark.queries.counts().running == 0


async def test_an_answer_that_is_over_needs_no_cancel(pair: tuple[Home, Home]) -> None:
    """After DONE nothing more is said."""
    spark, ember = pair
    await heard(spark, chat())
    await until(lambda: len(spark.mesh.seen[Done.KIND]) == 1)
    assert not ember.mesh.seen[Cancel.KIND]


async def test_a_link_that_goes_down_ends_the_answer_on_both_sides(net: SimulatedNet, pair: tuple[Home, Home]) -> None:
    """The asker gets what had arrived, then an error; the answerer stops."""
    spark, ember = pair
    async with asked(spark, LONG) as answer:
        await anext(answer)
        net.cut(spark.mesh, ember.mesh)
        with pytest.raises(AnswerLostError, match="link to the neighbour went down"):
            async for _ in answer:
                pass
    await until(lambda: ember.queries.counts().running == 0 and not ember.engine.busy)


async def test_a_part_lost_on_the_way_is_noticed(net: SimulatedNet, pair: tuple[Home, Home]) -> None:
    """No answer with a hole in it: it ends with an error and is cancelled over there."""
    spark, ember = pair

    def lost(received: Received) -> bool:
        message = parse_message(received.kind, received.body)
        return isinstance(message, Tokens) and message.n == 3

    net.lost = lost
    with pytest.raises(AnswerLostError, match="part 3"):
        await heard(spark, LONG)
    await until(lambda: len(ember.mesh.seen[Cancel.KIND]) == 1)


async def test_a_full_queue_is_waited_for(net: SimulatedNet, pair: tuple[Home, Home]) -> None:
    """While nothing can be sent tokens gather, and travel together afterwards: none is lost."""
    spark, ember = pair
    await heard(ember, chat())  # loaded
    refused = [0]

    def full(_peer: str, kind: int) -> bool:
        refused[0] += kind == Tokens.KIND
        return kind == Tokens.KIND and refused[0] < 5

    net.full = full
    text, finished = await heard(spark, chat(max_tokens=60))
    assert finished.completion_tokens == 60
    assert len(spark.mesh.seen[Tokens.KIND]) < 60
    assert (await heard(ember, chat(max_tokens=60)))[0] == text


async def test_a_neighbour_answers_so_many_and_no_more(pair: tuple[Home, Home]) -> None:
    """The next is told that it is busy; once one has ended there is room again."""
    spark, ember = pair
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(heard(spark, LONG)) for _ in range(MAX_FROM_PEER)]
        await until(lambda: ember.queries.counts().running == MAX_FROM_PEER)
        with pytest.raises(NeighbourFailedError) as raised:
            await heard(spark, chat())
        assert raised.value.code == "busy"
        for task in waiting:
            task.cancel()
    await until(lambda: ember.queries.counts().running == 0)
    assert (await heard(spark, chat()))[1].completion_tokens == 5


async def test_guests_leave_the_owner_a_place_at_a_neighbour(pair: tuple[Home, Home]) -> None:
    """However many ask at once, the last place is the owner's; one that a guest gives up is another's again."""
    spark, ember = pair
    guests = [caller_with(Key(name="guests", digest="d" * 64, guest=True), session=name) for name in "abcdefgh"]
    async with AsyncExitStack() as stack:
        answers = [await stack.enter_async_context(asked(spark, LONG, caller=guest)) for guest in guests]
        steps = [asyncio.ensure_future(answer.step()) for answer in answers]
        refused = steps[MAX_FROM_PEER - 1 :]
        for step in refused:
            with pytest.raises(BusyError, match="at that neighbour already"):
                await step
        owners = await stack.enter_async_context(asked(spark, chat()))
        assert await owners.step() == AnswerQueued(place=MAX_FROM_PEER - 1)
        await owners.aclose()
        await steps[0]
        await answers[0].aclose()
        await until(lambda: ember.queries.counts().running == MAX_FROM_PEER - 2)
        another = await stack.enter_async_context(asked(spark, LONG, caller=guests[-1]))
        assert isinstance(await another.step(), AnswerQueued | AnswerPiece)
        await asyncio.gather(*steps[: MAX_FROM_PEER - 1])
    await until(lambda: not spark.queries._asker._places)


async def test_a_prompt_too_long_over_there_says_both_numbers(pair: tuple[Home, Home]) -> None:
    """The neighbour's own words reach the asker."""
    with pytest.raises(NeighbourFailedError, match=r"\d{5} tokens, the context holds \d+") as raised:
        await heard(pair[0], chat("x" * 2 * CONTEXT_TOKENS))
    assert raised.value.code == "prompt_too_long"


async def test_a_worker_killed_over_there_costs_one_answer(pair: tuple[Home, Home]) -> None:
    """The asker is told; the next question works."""
    spark, ember = pair
    async with asked(spark, LONG) as answer:
        await anext(answer)
        worker = ember.engine._worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(AnswerLostError, match="engine's process ended"):
            async for _ in answer:
                pass
    assert (await heard(spark, chat()))[1].completion_tokens == 5


async def test_a_model_that_left_meanwhile_is_said(pair: tuple[Home, Home]) -> None:
    """What the asker last heard may be old; the answerer knows."""
    spark, ember = pair
    ember.library._stored = ()
    with pytest.raises(NeighbourFailedError) as raised:
        await heard(spark, chat())
    assert raised.value.code == "no_such_model"


async def test_a_question_waits_for_a_neighbour_that_is_coming_up(net: SimulatedNet, pair: tuple[Home, Home]) -> None:
    """Right after pairing or a restart the link is not there yet: the question waits a moment instead of failing."""
    spark, ember = pair
    spark.queries._told.clear()
    spark.mesh._known.clear()
    net.cut(spark.mesh, ember.mesh)
    spark.mesh.states[ember.mesh.node_id] = "connecting"
    question = asyncio.ensure_future(heard(spark, chat()))
    await asyncio.sleep(0)
    assert not question.done()
    net.link(spark.mesh, ember.mesh)
    assert (await question)[1].answerer.node_name == "ember"


async def test_without_anyone_to_wait_for_the_no_comes_at_once(net: SimulatedNet, pair: tuple[Home, Home]) -> None:
    """A neighbour that is gone is not waited for."""
    spark, ember = pair
    net.cut(spark.mesh, ember.mesh)
    spark.queries._told.clear()
    async with asyncio.timeout(1):
        with pytest.raises(NoSuchModelError):
            await spark.queries.ask(chat(), OWNER)


async def test_a_stopping_node_says_so_everywhere(pair: tuple[Home, Home]) -> None:
    """Running answers get their grace and then an error, here and at the neighbour; new ones are refused."""
    spark, ember = pair
    async with asked(ember, LONG) as own, asked(spark, LONG) as far:
        await anext(own)
        first = asyncio.ensure_future(anext(far))
        await until(lambda: ember.queries.counts().running == 2)
        stopping = asyncio.create_task(ember.queries.stop(grace_s=0.05))
        with pytest.raises(StoppingError):
            async for _ in own:
                pass
        await own.aclose()
        with pytest.raises(NeighbourFailedError) as raised:
            await first
        assert raised.value.code == "stopping"
        await stopping
    with pytest.raises(StoppingError):
        await ember.queries.ask(chat(), OWNER)
    with pytest.raises(NeighbourFailedError, match="is stopping"):
        await heard(spark, chat())


async def test_own_questions_are_bounded_too(pair: tuple[Home, Home]) -> None:
    """What nobody reads does not pile up."""
    spark, _ = pair
    answers = [await spark.queries.ask(LONG, OWNER) for _ in range(DEFAULT_BOUNDS.doubled().owner)]
    with pytest.raises(BusyError):
        await spark.queries.ask(LONG, OWNER)
    for answer in answers:
        await answer.aclose()
    assert spark.queries.counts().running == 0


async def test_nonsense_from_a_neighbour_is_dropped(pair: tuple[Home, Home], caplog: pytest.LogCaptureFixture) -> None:
    """Malformed messages change nothing and fill no log; an answer to no question, and its cancel, neither."""
    spark, ember = pair
    for _ in range(9):
        await ember.mesh.send(spark.mesh.node_id, Query.KIND, b"\xff")
    await ember.mesh.send(spark.mesh.node_id, 99, b"from the future")
    await ember.mesh.send(spark.mesh.node_id, Failed.KIND, Failed("busy", "no").to_body(), re=bytes(16))
    await ember.mesh.send(spark.mesh.node_id, Cancel.KIND, Cancel().to_body(), re=bytes(16))
    await until(lambda: len(spark.mesh.seen[Cancel.KIND]) == 1)
    assert [record.getMessage() for record in caplog.records].count("messages dropped") == 1
    assert (await heard(spark, chat()))[1].completion_tokens == 5


async def test_nobody_else_ends_a_neighbours_answer(net: SimulatedNet, pair: tuple[Home, Home]) -> None:
    """A third node's message about this answer is not this answer's."""
    spark, _ = pair
    stranger = net.node("stranger")
    net.link(spark.mesh, stranger)
    async with asked(spark, chat(max_tokens=200)) as answer:
        await anext(answer)
        (open_id,) = spark.queries._asker._open
        await stranger.send(spark.mesh.node_id, Failed.KIND, Failed("busy", "no").to_body(), re=open_id)
        items = [item async for item in answer]
    assert isinstance(items[-1], AnswerFinished)


async def test_leaving_no_task_behind(pair: tuple[Home, Home]) -> None:
    """After answers that ended in every way, no task is left that was not there before."""
    spark, ember = pair
    await heard(spark, chat())
    await until(lambda: ember.queries.counts().running == 0 and not ember.engine.busy)
    before = asyncio.all_tasks()
    await heard(spark, chat())
    with contextlib.suppress(NeighbourFailedError):
        await heard(spark, chat("x" * 2 * CONTEXT_TOKENS))
    await until(lambda: ember.queries.counts().running == 0 and not ember.engine.busy)
    await until(lambda: asyncio.all_tasks() <= before)
    assert spark.queries.counts().running == 0
