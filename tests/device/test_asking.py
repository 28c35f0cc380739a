"""Both ends of a question with their patience cut short: silence, floods, neighbours that read nothing."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from device.answering import Answerer, _Outbox
from device.asking import MAX_UNREAD, MAX_UNREAD_WITH_LOGPROBS, Asker
from device.core.query_messages import Cancel, Failed, Query, Tokens, parse_message
from device.errands import Errands
from device.errors import AnswerLostError, NeighbourMisbehavedError
from device.library import Library
from device.turns import AnswerEvent, Turns
from mesh.errors import LinkDownError
from mesh.node import Received
from models.catalogue import Catalogue
from models.core.request import (
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
)
from models.core.worker_protocol import MAX_LOGPROBS_AT_ONCE
from models.host import EngineHost
from models.store import ModelStore
from tests.models.waiting import until
from tests.sim.mesh_net import SimulatedMesh, SimulatedNet

QUERY = Query("ab" * 32, GenerationRequest((Message("user", "hello"),), SamplingParams(max_tokens=50)))
SOON_S = 10.0


@pytest.fixture
def net() -> SimulatedNet:
    """A net with the two nodes of `ends`, once they are asked for."""
    return SimulatedNet()


@pytest.fixture
def ends(net: SimulatedNet) -> tuple[SimulatedMesh, SimulatedMesh]:
    """Two linked nodes."""
    spark, ember = net.node("spark"), net.node("ember")
    net.link(spark, ember)
    return spark, ember


async def read(events: AsyncGenerator[AnswerEvent, None]) -> list[AnswerEvent]:
    """Everything, in time."""
    async with asyncio.timeout(SOON_S):
        return [event async for event in events]


async def test_silence_is_not_waited_out_for_ever(ends: tuple[SimulatedMesh, SimulatedMesh]) -> None:
    """After a while without a word the asker gives up, and says so over there."""
    spark, ember = ends
    errands = Errands()
    async with errands.open():
        asker = Asker(spark, errands, silence_s=0.02)
        with pytest.raises(AnswerLostError, match="nothing came"):
            await read(asker.ask(ember.node_id, QUERY))
        assert asker.running(ember.node_id) == 0
        await until(lambda: len(ember.seen[Cancel.KIND]) == 1)


@pytest.mark.parametrize(("logprobs", "most"), [(None, MAX_UNREAD), (20, MAX_UNREAD_WITH_LOGPROBS)])
async def test_a_flood_nobody_reads_is_cut(
    ends: tuple[SimulatedMesh, SimulatedMesh], logprobs: int | None, most: int
) -> None:
    """What has not been read is bounded, even if each part is small and none has tokens."""
    spark, ember = ends
    errands = Errands()
    async with errands.open():
        asker = Asker(spark, errands, silence_s=SOON_S)
        events = asker.ask(ember.node_id, replace(QUERY, request=replace(QUERY.request, logprobs=logprobs)))
        reading = asyncio.ensure_future(anext(events))
        await until(lambda: len(ember.seen[Query.KIND]) == 1)
        (re,) = (message.message_id for message in ember.seen[Query.KIND])
        for n in range(most + 1):
            asker.arrived(ember.node_id, re, Tokens(n, TokensGenerated((), "x")))
        assert await reading == TokensGenerated((), "x")
        with pytest.raises(NeighbourMisbehavedError, match="more than"):
            await read(events)


async def test_empty_parts_cost_nothing(ends: tuple[SimulatedMesh, SimulatedMesh]) -> None:
    """A neighbour may say "still at it" as often as it likes; nothing of it is kept."""
    spark, ember = ends
    errands = Errands()
    async with errands.open():
        asker = Asker(spark, errands, silence_s=SOON_S)
        reading = asyncio.ensure_future(anext(asker.ask(ember.node_id, QUERY)))
        await until(lambda: len(ember.seen[Query.KIND]) == 1)
        (re,) = (message.message_id for message in ember.seen[Query.KIND])
        for n in range(MAX_UNREAD + 1):
            asker.arrived(ember.node_id, re, Tokens(n, TokensGenerated((), "")))
        asker.arrived(ember.node_id, re, Tokens(MAX_UNREAD + 1, TokensGenerated((7,), "seven")))
        assert await reading == TokensGenerated((7,), "seven")


async def test_a_question_to_nobody_is_an_error(net: SimulatedNet, ends: tuple[SimulatedMesh, SimulatedMesh]) -> None:
    """Without a link nothing is sent and nothing is kept."""
    spark, ember = ends
    net.cut(spark, ember)
    asker = Asker(spark, Errands())
    with pytest.raises(LinkDownError):
        await read(asker.ask(ember.node_id, QUERY))
    assert asker.running(ember.node_id) == 0


class Told(Library):
    """A library whose answers a test tells itself."""

    def __init__(self, folder: Path) -> None:
        store = ModelStore(folder)
        engine = EngineHost(store=store, cache_dir=folder, threads=1, context_tokens=64)
        super().__init__(store=store, catalogue=Catalogue(()), engine=engine, cache_dir=folder, errands=Errands())
        self.go_on = asyncio.Event()

    async def generate(
        self, digest: str, request: GenerationRequest, *, scope: str = ""
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Wait for the test, then say one word."""
        assert digest == QUERY.digest
        assert scope.startswith("neighbour:")
        await self.go_on.wait()
        yield TokensGenerated((1,), "word")
        if request.messages[0].content != "break off":
            yield GenerationFinished(reason="stop", prompt_tokens=1, completion_tokens=1, prefill_s=0, decode_s=0)


async def test_a_long_wait_is_not_silent(ends: tuple[SimulatedMesh, SimulatedMesh], tmp_path: Path) -> None:
    """Empty parts tell the asker that its question is still in hand, however long the queue or the prompt."""
    spark, ember = ends
    library, errands = Told(tmp_path), Errands()
    async with errands.open():
        answerer = Answerer(ember, Turns(library), errands, on_end=lambda: None, still_at_it_s=0.01)
        asker = Asker(spark, errands, silence_s=1.0)
        ember.on_message(
            lambda got: answerer.query(got.peer, got.message_id, QUERY) if got.kind == Query.KIND else None
        )
        _hear(spark, asker)
        reading = asyncio.create_task(read(asker.ask(ember.node_id, QUERY)))
        await until(lambda: len(spark.seen[Tokens.KIND]) >= 3)
        library.go_on.set()
        events = await reading
    assert [type(event) for event in events] == [TokensGenerated, GenerationFinished]
    assert answerer.answered == 1


async def test_an_engine_that_just_ends_is_a_failure(ends: tuple[SimulatedMesh, SimulatedMesh], tmp_path: Path) -> None:
    """An answer without an end never looks like a whole one."""
    spark, ember = ends
    library, errands = Told(tmp_path), Errands()
    library.go_on.set()
    cut = Query(QUERY.digest, GenerationRequest((Message("user", "break off"),), SamplingParams()))
    async with errands.open():
        answerer = Answerer(ember, Turns(library), errands, on_end=lambda: None)
        answerer.query(spark.node_id, bytes(16), cut)
        await until(lambda: len(spark.seen[Failed.KIND]) == 1)
    (said,) = spark.seen[Failed.KIND]
    assert parse_message(said.kind, said.body) == Failed("engine_failed", "the answer stopped before its end")


async def test_a_neighbour_that_reads_nothing_gets_no_more(
    net: SimulatedNet, ends: tuple[SimulatedMesh, SimulatedMesh], tmp_path: Path
) -> None:
    """A queue that stays full ends the answer: the engine is for those who listen."""
    spark, ember = ends
    library, errands = Told(tmp_path), Errands()
    library.go_on.set()
    net.full = lambda _peer, kind: kind == Tokens.KIND
    async with errands.open():
        answerer = Answerer(ember, Turns(library), errands, on_end=lambda: None, full_for_s=0.01)
        answerer.query(spark.node_id, bytes(16), QUERY)
        assert answerer.running == 1
        await until(lambda: answerer.running == 0)
    assert answerer.answered == 0


async def test_after_the_end_errands_are_refused() -> None:
    """A component may be asked for a word while it stops; it is not an error, and nothing leaks."""
    errands, done = Errands(), asyncio.Event()

    async def errand() -> None:
        done.set()

    assert errands.spawn(errand(), name="too early") is None
    async with errands.open():
        assert errands.spawn(errand(), name="in time") is not None
    assert done.is_set()
    assert errands.spawn(errand(), name="too late") is None


def _hear(mesh: SimulatedMesh, asker: Asker) -> None:
    """Hand what arrives at a node to its asker."""

    def deliver(got: Received) -> None:
        message = parse_message(got.kind, got.body)
        if message is not None:
            asker.arrived(got.peer, got.re, message)

    mesh.on_message(deliver)


def test_what_waits_together_travels_together() -> None:
    """As many tokens as one message may carry, each with its log-probabilities; the rest goes with the next."""
    outbox = _Outbox(still_at_it_s=1.0)
    parts = [TokensGenerated((n,), "x", (TokenLogprob(b"x", -0.5),)) for n in range(MAX_LOGPROBS_AT_ONCE + 3)]
    for part in parts:
        outbox.put(part)
    first, second = outbox.take(), outbox.take()
    assert len(first.ids) == len(first.logprobs) == len(first.text) == MAX_LOGPROBS_AT_ONCE
    assert (*first.ids, *second.ids) == tuple(range(len(parts)))
    assert len(second.logprobs) == 3
