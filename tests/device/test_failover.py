"""An answer whose nodes fail: another that holds the same model goes on, or the asker is told why nobody does."""

import asyncio
import itertools
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from device.answers import Answer
from device.api import AnswerFinished, AnswerPiece
from device.core.query_messages import Cancel, Failed, Query, parse_message
from device.errors import AnswerLostError, EnginesEndedError, NeighbourFailedError
from tests.models.waiting import until
from tests.sim.home import Home, asked, chat, heard
from tests.sim.street import Street
from tests.sim.tiny_model import install_tiny

TOKENS = 2400  # told of several times, by an engine that gives thousands a second
LONG = 8000
QUESTION = chat(max_tokens=TOKENS)


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
    schema = {"type": "array", "items": {"enum": ["hot", "cold"]}, "minItems": 720, "maxItems": 720}
    generation = replace(chat(max_tokens=8 * TOKENS).generation, schema=json.dumps(schema), logprobs=2)
    question = replace(QUESTION, generation=generation)
    whole, _ = await heard(street["ember"], question)
    items: list[object] = []
    async with asked(street["spark"], question) as answer:
        async for item in answer:
            if isinstance(item, AnswerPiece) and not any(isinstance(one, AnswerPiece) for one in items):
                street.cut("ember")  # its first words are here
            items.append(item)
    finished = items.pop()
    assert isinstance(finished, AnswerFinished)
    pieces = [item for item in items if isinstance(item, AnswerPiece)]
    assert "".join(piece.text for piece in pieces) == whole
    assert len(json.loads(whole)) == 720
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
    _, finished = await heard(street["spark"], chat(max_tokens=LONG))
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
            await heard(street["spark"], chat(max_tokens=LONG))
        assert await street.settled()
    assert not cellar.mesh.seen[Query.KIND]


async def test_a_worker_that_dies_at_home_costs_no_answer(street: Street) -> None:
    """This node's own engine is one like any other: a neighbour goes on."""
    ember = street["ember"]
    street.net.link(ember.mesh, street["attic"].mesh)
    await until(lambda: bool(ember.queries.models_of(street.id("attic"))))
    async with asked(ember, chat(max_tokens=LONG)) as answer:
        piece = await anext(answer)
        assert isinstance(piece, AnswerPiece)
        assert piece.answerer.local
        worker = ember.engine._worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert parts_of(street, await last(answer)) == ["ember", "attic"]


async def test_a_node_that_stops_hands_its_answers_over(street: Street) -> None:
    """An owner who updates a hearth cuts nobody's answer."""
    async with asked(street["spark"], chat(max_tokens=LONG)) as answer:
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
    async with asked(street["spark"], chat(max_tokens=LONG)) as answer:
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
    async with asked(street["spark"], chat(max_tokens=LONG)) as answer:
        await anext(answer)
        (query,) = ember.mesh.seen[Query.KIND]
        failed = Failed("unforeseen", "the engine failed")
        await ember.mesh.send(street.id("spark"), Failed.KIND, failed.to_body(), re=query.message_id)
        with pytest.raises(NeighbourFailedError, match="the engine failed"):
            await last(answer)
    assert not street["attic"].mesh.seen[Query.KIND]
