"""An answer that several nodes give in turn."""

from dataclasses import replace

import pytest

from device.api import Answerer, AnswerPart
from device.core.failover import AnswerSoFar
from device.core.query_messages import FAILURES
from device.errors import AnswerLostError, BusyError, EnginesEndedError, NeighbourFailedError, NeighbourMisbehavedError
from mesh.errors import LinkDownError, MessageTooLargeError, QueueFullError
from models.core.request import GenerationRequest, Message, SamplingParams, TokensGenerated
from models.errors import (
    EngineError,
    InvalidRequestError,
    InvalidTemplateError,
    ModelNotFoundError,
    OutOfMemoryError,
    PromptTooLongError,
    UnforeseenError,
    WorkerDiedError,
    WorkerProtocolError,
)

QUESTION = GenerationRequest((Message("user", "Hello"),), SamplingParams(max_tokens=9))


def node(name: str) -> Answerer:
    """Somebody who answers."""
    return Answerer(node_id=name * 9, node_name=name, model="tiny", model_digest="00" * 32)


def begun(*ids: int) -> AnswerSoFar:
    """An answer of which `ember` gave these tokens."""
    so_far = AnswerSoFar(QUESTION, node("ember"))
    so_far.add(TokensGenerated(ids, "x" * len(ids)))
    return so_far


def test_the_first_is_asked_the_question_as_it_is() -> None:
    """Nothing of an answer is there yet."""
    so_far = AnswerSoFar(QUESTION, node("ember"))
    assert (so_far.rest(), so_far.begun) == (QUESTION, False)
    so_far.add(TokensGenerated((), ""))
    assert so_far.begun


def test_the_next_is_told_what_is_there() -> None:
    """Ids and characters of all who came before, and the very same question."""
    so_far = begun(1, 2)
    so_far.pass_on(node("spark"))
    so_far.add(TokensGenerated((), "é"))
    so_far.add(TokensGenerated((3,), ""))
    assert so_far.rest() == GenerationRequest(QUESTION.messages, QUESTION.sampling, (1, 2, 3), 3)
    assert (so_far.by, so_far.failed, so_far.tokens) == (node("spark"), {node("ember").node_id}, 3)


def test_one_nodes_answer_has_no_parts() -> None:
    """Not even when another failed before its first token, or had only the end to say."""
    so_far = AnswerSoFar(QUESTION, node("ember"))
    assert (so_far.first, so_far.parts()) == (node("ember"), ())
    so_far.pass_on(node("spark"))
    so_far.add(TokensGenerated((1,), "a"))
    so_far.pass_on(node("attic"))
    assert (so_far.first, so_far.parts()) == (node("spark"), ())


def test_parts_say_who_gave_which_tokens() -> None:
    """In the order of the answer, without those who gave none."""
    so_far = begun(1, 2)
    for name in ("spark", "attic"):
        so_far.pass_on(node(name))
    so_far.add(TokensGenerated((3, 4, 5), "abc"))
    assert so_far.first == node("ember")
    assert so_far.parts() == (
        AnswerPart(node_id="ember" * 9, node_name="ember", from_token=0, tokens=2),
        AnswerPart(node_id="attic" * 9, node_name="attic", from_token=2, tokens=3),
    )


@pytest.mark.parametrize(
    "error",
    [
        AnswerLostError("silence"),
        LinkDownError("no link"),
        QueueFullError("too much waits"),
        EngineError("no number"),
        WorkerDiedError("killed"),
        ModelNotFoundError("removed meanwhile"),
        *[NeighbourFailedError(code, "") for code in ("no_such_model", "busy", "stopping", "engine_failed")],
        BusyError("here"),
    ],
)
def test_what_befell_a_node_need_not_befall_the_next(error: Exception) -> None:
    """The question is as good as before, whether the answer has begun or not."""
    assert begun(1).may_pass_on(error)
    assert begun().may_pass_on(error)


@pytest.mark.parametrize(
    "error",
    [
        NeighbourFailedError("invalid_request", ""),
        NeighbourFailedError("unforeseen", ""),
        UnforeseenError("a panic"),
        NeighbourMisbehavedError("nonsense"),
        MessageTooLargeError("too large"),
        InvalidRequestError("top_p"),
        InvalidTemplateError("roles"),
        ValueError("ours"),
    ],
)
def test_what_is_wrong_with_the_question_is_wrong_everywhere(error: Exception) -> None:
    """Nor is a beginning gone on with that a liar may have given."""
    assert not begun(1).may_pass_on(error)


@pytest.mark.parametrize("error", [PromptTooLongError(9, 8), NeighbourFailedError("prompt_too_long", "9 tokens")])
def test_a_beginning_too_long_for_one_node_may_fit_another(error: Exception) -> None:
    """The question fitted where the answer began; one that fits nowhere is refused by the first."""
    assert begun(1).may_pass_on(error)
    assert not begun().may_pass_on(error)


def test_every_code_is_decided_about() -> None:
    """A new way to fail must be thought about here."""
    assert {code for code in FAILURES if begun(1).may_pass_on(NeighbourFailedError(code, ""))} == {
        "no_such_model",
        "prompt_too_long",
        "busy",
        "stopping",
        "engine_failed",
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (NeighbourFailedError("engine_failed", "killed"), NeighbourFailedError("unforeseen", "a panic")),
        (WorkerDiedError("killed"), NeighbourFailedError("engine_failed", "killed")),
        (OutOfMemoryError("too long"), WorkerProtocolError("noise")),
    ],
)
def test_a_question_that_two_engines_ended_on_is_given_up(first: Exception, second: Exception) -> None:
    """One may have had a trouble of its own; after the second nobody else is asked, and the asker hears where."""
    so_far = begun(1)
    so_far.turn_ended(first)
    assert (so_far.ends_engines, so_far.may_pass_on(first)) == (False, True)
    so_far.pass_on(node("attic"))
    so_far.turn_ended(second)
    assert so_far.ends_engines
    words = rf"2 engines ended on this question, at ember \(emberemb\) and attic \(atticatt\): {second}"
    with pytest.raises(EnginesEndedError, match=words):
        raise so_far.given_up(second)


def test_nodes_that_are_lost_count_for_nothing() -> None:
    """However many: the question had no part in it."""
    so_far = begun(1)
    for error in (AnswerLostError("silence"), LinkDownError("no link"), NeighbourFailedError("stopping", "")) * 2:
        so_far.turn_ended(error)
        assert not so_far.ends_engines


def test_an_answer_that_never_began_ends_with_its_own_error() -> None:
    """Busy stays busy: programs know what to do with that."""
    error = NeighbourFailedError("busy", "full")
    assert begun().broken_off(error, pinned=False) is error


def test_what_befell_an_answer_at_home_is_its_own_error() -> None:
    """No mesh had part in it; unless another node began."""
    error = WorkerDiedError("killed")
    at_home = AnswerSoFar(QUESTION, replace(node("here"), local=True))
    at_home.add(TokensGenerated((1,), "a"))
    assert at_home.broken_off(error, pinned=False) is error
    last = begun(1)
    last.pass_on(replace(node("here"), local=True))
    assert isinstance(last.broken_off(error, pinned=False), AnswerLostError)


@pytest.mark.parametrize(
    ("pinned", "words", "hint"),
    [
        (False, "nobody else in reach holds tiny", "ask again"),
        (True, r"only ember \(emberemb\) was to give it", "ask again, without a node of your choice"),
    ],
)
def test_an_answer_that_broke_off_says_where_and_why(pinned: bool, words: str, hint: str) -> None:  # noqa: FBT001  a parameter
    """After how many tokens, at whom, what happened, and why nobody goes on."""
    lost = begun(1, 2).broken_off(LinkDownError("no link"), pinned=pinned)
    with pytest.raises(AnswerLostError, match=rf"after 2 tokens at ember \(emberemb\): no link; {words}") as raised:
        raise lost
    assert raised.value.hint == hint
