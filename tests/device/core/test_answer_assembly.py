"""A neighbour's answer, put together from what arrives."""

from dataclasses import replace
from typing import Literal

import pytest

from device.api import AnswerQueued
from device.core.answer_assembly import AnswerAssembly
from device.core.query_messages import Cancel, Done, Failed, QueryMessage, Queued, Tokens
from device.errors import AnswerLostError, DeviceError, NeighbourFailedError, NeighbourMisbehavedError
from models.core.request import (
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
)

ASKED = GenerationRequest((Message("user", "Hello"),), SamplingParams(max_tokens=3))


def tokens(n: int, *ids: int) -> Tokens:
    """The n-th part, with these tokens."""
    return Tokens(n, TokensGenerated(ids, "x" * len(ids)))


def done(reason: Literal["stop", "length", "cancelled"] = "stop") -> Done:
    """The end."""
    return Done(GenerationFinished(reason=reason, prompt_tokens=1, completion_tokens=3, prefill_s=0.1, decode_s=0.1))


def test_parts_in_order_become_the_answer() -> None:
    """Empty parts keep the link's silence short and add nothing."""
    assembly = AnswerAssembly(ASKED)
    events = [assembly.receive(message) for message in (tokens(0), tokens(1, 7, 8), tokens(2), tokens(3, 9))]
    assert [event.ids if isinstance(event, TokensGenerated) else None for event in events] == [None, (7, 8), None, (9,)]
    assert not assembly.over
    assert assembly.receive(done()) == done().finished
    assert assembly.over


@pytest.mark.parametrize(
    ("message", "error", "over"),
    [
        (tokens(1, 7), AnswerLostError, False),
        (tokens(0, 1, 2, 3, 4), NeighbourMisbehavedError, False),
        (Tokens(0, TokensGenerated((), "x" * 4289)), NeighbourMisbehavedError, False),
        (Cancel(), NeighbourMisbehavedError, False),
        (Failed("busy", "no room"), NeighbourFailedError, True),
        (done("cancelled"), AnswerLostError, True),
        (done(), AnswerLostError, True),
    ],
)
def test_what_ends_an_answer_early(message: QueryMessage, error: type[DeviceError], over: bool) -> None:  # noqa: FBT001  a parameter
    """A gap, a flood, a stray message and a failure are told apart; `over` says whether the other end still sends."""
    assembly = AnswerAssembly(ASKED)
    with pytest.raises(error):
        assembly.receive(message)
    assert assembly.over is over


def test_what_another_node_gave_counts() -> None:
    """Tokens and characters of the answer's beginning leave so much less for its end."""
    begun = replace(ASKED, answered=(7, 8), characters=4200)
    assembly = AnswerAssembly(begun)
    assert assembly.receive(Tokens(0, TokensGenerated((9,), "x" * 88))) is not None
    with pytest.raises(NeighbourMisbehavedError):
        assembly.receive(Tokens(1, TokensGenerated((), "x")))
    with pytest.raises(NeighbourMisbehavedError):
        AnswerAssembly(begun).receive(tokens(0, 9, 10))


def test_log_probabilities_are_what_was_asked_for() -> None:
    """One for each token where the question wants them, with no more alternatives; else none at all."""
    likely = TokenLogprob(b"a", -0.5, ((b"a", -0.5),))
    part = Tokens(0, TokensGenerated((7,), "a", (likely,)))
    assert AnswerAssembly(replace(ASKED, logprobs=1)).receive(part) == part.tokens
    assert AnswerAssembly(replace(ASKED, logprobs=1)).receive(Tokens(0, TokensGenerated((), "a"))) is not None
    for asked, sent in ((None, part), (0, part), (1, tokens(0, 7))):
        with pytest.raises(NeighbourMisbehavedError, match="log-probabilities"):
            AnswerAssembly(replace(ASKED, logprobs=asked)).receive(sent)


def test_a_place_in_the_queue_is_news() -> None:
    """It is told on, and is no part of the answer."""
    assembly = AnswerAssembly(GenerationRequest((Message("user", "hello"),), SamplingParams()))
    assert assembly.receive(Queued(3)) == AnswerQueued(place=3)
    assert not assembly.over
