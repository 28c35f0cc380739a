"""An answer whose nodes fail: another that holds the same model goes on, or the asker is told why nobody does."""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import httpx
import pytest
from starlette.applications import Starlette

from device.administration import Administration
from device.answers import Answer
from device.api import AnswerFinished, AnswerPart, AnswerPiece, HttpAddress
from device.core.query_messages import Cancel, Done, Failed, Query, Tokens, parse_message
from device.errors import AnswerLostError, EnginesEndedError, NeighbourFailedError
from device.guests import Guests
from device.http.app import public_routes
from device.http.gate import OwnersGate
from mesh.node import MeshNode, Received
from tests.models.waiting import until
from tests.sim.home import Home, asked, chat, heard
from tests.sim.mesh_net import SimulatedNet
from tests.sim.tiny_model import install_tiny

TOKENS = 400
QUESTION = chat(max_tokens=TOKENS)


@dataclass
class Street:
    """`spark` asks; whoever else is here holds the model."""

    net: SimulatedNet
    homes: dict[str, Home] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Home:
        return self.homes[name]

    def id(self, name: str) -> str:
        """Somebody's node id."""
        return self.homes[name].mesh.node_id

    def name(self, node_id: str) -> str:
        """Whose id it is."""
        return self.net.nodes[node_id].name

    def cut(self, name: str) -> None:
        """Nothing reaches that node any more."""
        for other in self.homes:
            if other != name:
                self.net.cut(self.homes[name].mesh, self.homes[other].mesh)

    def mid_answer(self, name: str, happens: Callable[[], bool]) -> None:
        """Call `happens` with what that node says after its first words; the message is lost if it says so."""
        heard: set[bytes | None] = set()
        others = self.net.lost

        def lost(received: Received) -> bool:
            message = parse_message(received.kind, received.body)
            if self.name(received.peer) != name or not isinstance(message, Tokens | Done | Failed):
                return others(received)
            if received.re in heard:
                return happens()
            if isinstance(message, Tokens) and message.tokens.text:
                heard.add(received.re)
            return False

        self.net.lost = lost

    def cut_in_mid_answer(self, *names: str) -> None:
        """Cut each of these nodes off in the middle of its answer."""

        def cutting(name: str) -> Callable[[], bool]:
            def happens() -> bool:
                self.cut(name)
                return False

            return happens

        for name in names:
            self.mid_answer(name, cutting(name))

    def kill_engine_in_mid_answer(self, *names: str) -> None:
        """Kill each of these nodes' engines in the middle of its answer, as a fault in it would."""

        def killing(name: str) -> Callable[[], bool]:
            killed: list[int] = []

            def happens() -> bool:
                worker = self.homes[name].engine._worker
                if worker is not None and not killed:
                    killed.append(worker.pid)
                    os.kill(worker.pid, signal.SIGKILL)
                return False

            return happens

        for name in names:
            self.mid_answer(name, killing(name))

    async def settled(self) -> bool:
        """Return once nobody works on an answer; False if somebody never stops."""
        await until(lambda: all(home.queries.counts().running == 0 for home in self.homes.values()))
        return True


@pytest.fixture
async def street(tmp_path: Path, shared_cache: Path) -> AsyncIterator[Street]:
    """`spark` has no model; `ember` and `attic` hold the same one, and `ember` is asked first."""
    street = Street(SimulatedNet())
    async with AsyncExitStack() as stack:
        for name in ("spark", "ember", "attic"):
            home = Home(street.net, name, tmp_path, shared_cache, still_at_it_s=0.2)
            await stack.enter_async_context(home.open(holds="" if name == "spark" else "tiny"))
            street.homes[name] = home
        street.net.link(street["spark"].mesh, street["ember"].mesh)
        street.net.link(street["spark"].mesh, street["attic"].mesh, hops=2)
        await until(
            lambda: all(street["spark"].queries.models_of(street.id(name)) for name in ("ember", "attic")),
        )
        yield street


async def last(answer: Answer) -> AnswerFinished:
    """Read an answer to its end."""
    items = [item async for item in answer]
    assert isinstance(items[-1], AnswerFinished)
    return items[-1]


def parts_of(street: Street, finished: AnswerFinished) -> list[str]:
    """Who gave a part, in turn; the parts are whole and follow each other."""
    assert sum(part.tokens for part in finished.parts) == finished.completion_tokens
    starts = [sum(part.tokens for part in finished.parts[:index]) for index in range(len(finished.parts))]
    assert [part.from_token for part in finished.parts] == starts
    assert [part.node_name for part in finished.parts] == [street.name(part.node_id) for part in finished.parts]
    return [part.node_name for part in finished.parts]


async def test_the_next_node_goes_on_where_a_link_went_down(street: Street) -> None:
    """One continuous answer, word for word what one node would have said, and a note of who gave which part."""
    whole, _ = await heard(street["ember"], QUESTION)
    street.cut_in_mid_answer("ember")
    text, finished = await heard(street["spark"], QUESTION)
    assert (text, finished.completion_tokens, finished.finish_reason) == (whole, TOKENS, "length")
    assert parts_of(street, finished) == ["ember", "attic"]
    assert finished.answerer.node_name == "ember"
    (query,) = street["attic"].mesh.seen[Query.KIND]
    sent = parse_message(query.kind, query.body)
    assert isinstance(sent, Query)
    assert len(sent.request.answered) == finished.parts[1].from_token > 0
    assert await street.settled()


async def test_pieces_name_the_node_that_made_them(street: Street) -> None:
    """The change shows in the stream at once."""
    street.cut_in_mid_answer("ember")
    async with asked(street["spark"], QUESTION) as answer:
        names = [item.answerer.node_name async for item in answer if isinstance(item, AnswerPiece)]
    assert names == sorted(names, key=("ember", "attic").index)
    assert set(names) == {"ember", "attic"}


async def test_the_next_node_goes_on_within_a_form(street: Street) -> None:
    """The answer as a whole fits the schema that the question names, and every token's log-probability arrives."""
    schema = {"type": "array", "items": {"enum": ["hot", "cold"]}, "minItems": 60, "maxItems": 60}
    generation = replace(chat(max_tokens=8 * TOKENS).generation, schema=json.dumps(schema), logprobs=2)
    question = replace(QUESTION, generation=generation)
    whole, _ = await heard(street["ember"], question)
    street.cut_in_mid_answer("ember")
    async with asked(street["spark"], question) as answer:
        items = [item async for item in answer]
    finished = items.pop()
    assert isinstance(finished, AnswerFinished)
    pieces = [item for item in items if isinstance(item, AnswerPiece)]
    assert "".join(piece.text for piece in pieces) == whole
    assert len(json.loads(whole)) == 60
    assert finished.finish_reason == "stop"
    assert parts_of(street, finished) == ["ember", "attic"]
    likely = [one for piece in pieces for one in piece.logprobs]
    assert len(likely) == finished.completion_tokens
    assert all(len(one.top) == 2 for one in likely)
    assert b"".join(one.token for one in likely).decode() == whole


async def test_a_node_that_falls_silent_is_not_waited_for(street: Street) -> None:
    """A black hole keeps its link and says nothing, not even "still at it": the next goes on; it is told to stop."""
    street.mid_answer("ember", lambda: True)
    _, finished = await heard(street["spark"], QUESTION)
    assert parts_of(street, finished) == ["ember", "attic"]
    await until(lambda: len(street["ember"].mesh.seen[Cancel.KIND]) == 1)


async def test_a_lost_part_costs_no_answer(street: Street) -> None:
    """What came before the gap is good; the next node goes on from there."""
    whole, _ = await heard(street["ember"], QUESTION)
    lost = itertools.count()
    street.mid_answer("ember", lambda: next(lost) == 0)
    text, finished = await heard(street["spark"], QUESTION)
    assert text == whole
    assert parts_of(street, finished) == ["ember", "attic"]


async def test_a_worker_that_dies_over_there_costs_no_answer(street: Street) -> None:
    """The neighbour says that its engine failed; another goes on."""
    street.kill_engine_in_mid_answer("ember")
    _, finished = await heard(street["spark"], chat(max_tokens=20 * TOKENS))
    assert parts_of(street, finished) == ["ember", "attic"]


async def test_a_question_that_kills_engines_reaches_two(street: Street, tmp_path: Path, shared_cache: Path) -> None:
    """The third node that holds the model never hears of it; the asker hears where it ended engines."""
    cellar = Home(street.net, "cellar", tmp_path, shared_cache)
    async with cellar.open(holds="tiny"):
        street.homes["cellar"] = cellar
        street.net.link(street["spark"].mesh, cellar.mesh, hops=3)
        await until(lambda: bool(street["spark"].queries.models_of(street.id("cellar"))))
        street.kill_engine_in_mid_answer("ember", "attic")
        with pytest.raises(EnginesEndedError, match=r"2 engines ended on this question, at ember .* and attic "):
            await heard(street["spark"], chat(max_tokens=20 * TOKENS))
        assert await street.settled()
    assert not cellar.mesh.seen[Query.KIND]


async def test_a_worker_that_dies_at_home_costs_no_answer(street: Street) -> None:
    """This node's own engine is one like any other: a neighbour goes on."""
    ember = street["ember"]
    street.net.link(ember.mesh, street["attic"].mesh)
    await until(lambda: bool(ember.queries.models_of(street.id("attic"))))
    async with asked(ember, chat(max_tokens=20 * TOKENS)) as answer:
        piece = await anext(answer)
        assert isinstance(piece, AnswerPiece)
        assert piece.answerer.local
        worker = ember.engine._worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert parts_of(street, await last(answer)) == ["ember", "attic"]


async def test_a_node_that_stops_hands_its_answers_over(street: Street) -> None:
    """An owner who updates a hearth cuts nobody's answer."""
    async with asked(street["spark"], chat(max_tokens=20 * TOKENS)) as answer:
        await anext(answer)
        await street["ember"].queries.stop(grace_s=0)
        assert parts_of(street, await last(answer)) == ["ember", "attic"]


async def test_who_is_busy_is_passed_over(street: Street) -> None:
    """Nothing came from there, so the answer is the next node's alone, and so is its header."""
    street["ember"].queries._answerer.refuse_new()
    async with asked(street["spark"], QUESTION) as answer:
        finished = await last(answer)
        assert answer.first.node_name == "attic"
    assert (finished.answerer.node_name, finished.parts) == ("attic", ())


async def test_two_failures_in_a_row(street: Street, tmp_path: Path, shared_cache: Path) -> None:
    """Each node gets one turn; three of them give one answer."""
    cellar = Home(street.net, "cellar", tmp_path, shared_cache)
    async with cellar.open(holds="tiny"):
        street.homes["cellar"] = cellar
        street.net.link(street["spark"].mesh, cellar.mesh, hops=3)
        await until(lambda: bool(street["spark"].queries.models_of(street.id("cellar"))))
        whole, _ = await heard(cellar, QUESTION)
        street.cut_in_mid_answer("ember", "attic")
        text, finished = await heard(street["spark"], QUESTION)
    assert text == whole
    assert parts_of(street, finished) == ["ember", "attic", "cellar"]


async def test_the_own_model_takes_over_when_nobody_else_is_left(street: Street) -> None:
    """A model that came here meanwhile is as good as a neighbour's."""
    spark = street["spark"]
    street.cut("attic")
    whole, _ = await heard(street["ember"], QUESTION)
    await install_tiny(spark.store, spark.folder / "files")  # on the disk; the library has not looked yet
    async with asked(spark, QUESTION) as answer:
        first = await anext(answer)
        assert isinstance(first, AnswerPiece)
        spark.library._changed()
        street.cut("ember")
        items = [first, *[item async for item in answer]]
    finished = items[-1]
    assert isinstance(finished, AnswerFinished)
    assert parts_of(street, finished) == ["ember", "spark"]
    assert "".join(item.text for item in items if isinstance(item, AnswerPiece)) == whole


async def test_when_all_are_gone_the_asker_is_told(street: Street) -> None:
    """What had arrived stands; the error says after how many tokens, at whom and why."""
    street.cut_in_mid_answer("ember", "attic")
    async with asked(street["spark"], QUESTION) as answer:
        with pytest.raises(AnswerLostError, match=r"after \d+ tokens at attic .*nobody else in reach holds tiny"):
            await last(answer)
    assert await street.settled()


async def test_another_model_does_not_go_on(street: Street, tmp_path: Path, shared_cache: Path) -> None:
    """Not even one of the same name: only the digest counts."""
    street.cut("attic")
    other = Home(street.net, "other", tmp_path, shared_cache)
    async with other.open(holds="tiny", seed=2):
        street.homes["other"] = other
        street.net.link(street["spark"].mesh, other.mesh, hops=2)
        await until(lambda: bool(street["spark"].queries.models_of(street.id("other"))))
        street.cut_in_mid_answer("ember")
        with pytest.raises(AnswerLostError, match="nobody else in reach holds tiny"):
            await heard(street["spark"], QUESTION)
    assert not other.mesh.seen[Query.KIND]


async def test_a_node_of_the_askers_choice_is_not_replaced(street: Street) -> None:
    """Who names a node gets that node's answer or an error."""
    street.cut_in_mid_answer("ember")
    with pytest.raises(AnswerLostError, match=r"only ember .* was to give it") as raised:
        await heard(street["spark"], chat(max_tokens=TOKENS, node="ember"))
    assert "without a node" in raised.value.hint
    assert not street["attic"].mesh.seen[Query.KIND]


async def test_another_way_to_the_same_node_changes_nothing(street: Street) -> None:
    """From a direct link to a relayed one and back: the mesh delivers, and the answer does not notice."""
    spark, ember = street["spark"].mesh, street["ember"].mesh

    hops = itertools.cycle((2, 1))

    def happens() -> bool:
        street.net.link(spark, ember, hops=next(hops))
        return False

    street.mid_answer("ember", happens)
    _, finished = await heard(street["spark"], QUESTION)
    assert (finished.answerer.node_name, finished.parts) == ("ember", ())
    assert not street["attic"].mesh.seen[Query.KIND]


async def test_a_node_that_is_just_coming_up_may_go_on(street: Street) -> None:
    """A moment without anyone in reach is no end yet."""
    spark, attic = street["spark"].mesh, street["attic"].mesh
    street.cut("attic")
    async with asked(street["spark"], chat(max_tokens=20 * TOKENS)) as answer:
        await anext(answer)
        spark.states[street.id("attic")] = "connecting"
        street.cut("ember")
        rest = asyncio.ensure_future(last(answer))
        await asyncio.sleep(0)
        assert not rest.done()
        street.net.link(spark, attic)
        assert parts_of(street, await rest) == ["ember", "attic"]


async def test_a_question_that_is_wrong_is_wrong_once(street: Street) -> None:
    """What no node can do better is not asked of every node."""
    with pytest.raises(NeighbourFailedError, match="the context holds"):
        await heard(street["spark"], chat("x" * 100_000))
    assert not street["attic"].mesh.seen[Query.KIND]


async def test_a_question_that_nobody_foresaw_is_asked_of_one_engine(street: Street) -> None:
    """It might take those of all who hold the model, one after the other."""
    ember = street["ember"]
    async with asked(street["spark"], chat(max_tokens=20 * TOKENS)) as answer:
        await anext(answer)
        (query,) = ember.mesh.seen[Query.KIND]
        failed = Failed("unforeseen", "the engine failed")
        await ember.mesh.send(street.id("spark"), Failed.KIND, failed.to_body(), re=query.message_id)
        with pytest.raises(NeighbourFailedError, match="the engine failed"):
            await last(answer)
    assert not street["attic"].mesh.seen[Query.KIND]


@pytest.fixture
async def program(street: Street) -> AsyncIterator[httpx.AsyncClient]:
    """A program that asks `spark` over the public API."""
    spark = street["spark"]
    administration = Administration(
        mesh=cast("MeshNode", spark.mesh),  # of which nothing is asked here
        queries=spark.queries,
        library=spark.library,
        guests=cast("Guests", None),
        http=HttpAddress(host="127.0.0.1", port=0),
        version="0",
        started_at=0.0,
        restart=lambda: None,
    )
    app = OwnersGate(Starlette(routes=public_routes(spark.queries, administration)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://spark") as client:
        yield client


async def test_a_program_is_told_the_parts(street: Street, program: httpx.AsyncClient) -> None:
    """The headers name the first node, the extension lists all of them."""
    street.cut_in_mid_answer("ember")
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": TOKENS}
    reply = await program.post("/v1/chat/completions", json=body)
    about = reply.json()["hearthmesh"]
    assert [part["node_name"] for part in about["parts"]] == ["ember", "attic"]
    assert set(about["parts"][0]) == {"node_id", "node_name", "from_token", "tokens"}
    assert reply.headers["x-hearthmesh-node"] == about["node_id"] == street.id("ember")
    assert reply.json()["usage"]["completion_tokens"] == TOKENS


async def test_each_chunk_names_its_node(street: Street, program: httpx.AsyncClient) -> None:
    """And the last lists the parts; an answer of one node has none."""
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": TOKENS, "stream": True}

    async def chunks() -> list[dict[str, dict[str, object]]]:
        reply = await program.post("/v1/chat/completions", json=body)
        data = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
        return [json.loads(line) for line in data if line != "[DONE]"]

    assert all("parts" not in chunk["hearthmesh"] for chunk in await chunks())
    street.cut_in_mid_answer("ember")
    told = await chunks()
    names = [str(chunk["hearthmesh"]["node_name"]) for chunk in told]
    assert (names[0], names[-2], names[-1]) == ("ember", "attic", "ember")
    parts = told[-1]["hearthmesh"]["parts"]
    assert isinstance(parts, list)
    assert [AnswerPart(**part).node_name for part in parts] == ["ember", "attic"]
