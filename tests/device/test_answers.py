"""An answer as the asker sees it: pieces, times, ends."""

import asyncio
from collections.abc import AsyncGenerator, Iterator

import pytest

from device.answers import Answer
from device.api import Answerer, AnswerFinished, AnswerPiece
from device.core.failover import AnswerSoFar
from device.errors import AnswerLostError, StoppingError
from models.core.request import (
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
)

BY = Answerer(node_id="k3v5", node_name="ember", model="tiny", model_digest="00" * 32)


def so_far() -> AnswerSoFar:
    """An answer of which nothing has come yet."""
    return AnswerSoFar(GenerationRequest((Message("user", "Hello"),), SamplingParams()), BY)


def end(completion_tokens: int) -> GenerationFinished:
    """The last event."""
    return GenerationFinished(
        reason="stop", prompt_tokens=9, completion_tokens=completion_tokens, prefill_s=1.0, decode_s=1.0
    )


async def told(*events: GenerationEvent) -> AsyncGenerator[GenerationEvent, None]:
    """These events."""
    for event in events:
        yield event


def ticking(*times: float) -> Iterator[float]:
    """A clock that shows these times, one after the other."""
    return iter(times)


async def test_times_are_the_askers() -> None:
    """First token 0.25 s after asking; two more in half a second: 4 a second."""
    clock = ticking(10.0, 10.25, 10.75)
    events = told(TokensGenerated((1,), ""), TokensGenerated((2,), "ab"), TokensGenerated((3,), "c"), end(3))
    answer = Answer(so_far(), events, clock=lambda: next(clock))
    assert [item async for item in answer] == [
        AnswerPiece(text="ab", answerer=BY),
        AnswerPiece(text="c", answerer=BY),
        AnswerFinished(
            answerer=BY,
            finish_reason="stop",
            prompt_tokens=9,
            completion_tokens=3,
            ttft_ms=250.0,
            tokens_per_s=4.0,
            prefill_s=1.0,
            decode_s=1.0,
        ),
    ]


@pytest.mark.parametrize(("tokens", "rate"), [(1, 2.0), (0, 0.0)])
async def test_one_token_is_rated_over_the_whole_time(tokens: int, rate: float) -> None:
    """There is no time after the first token then."""
    clock = ticking(10.0, 10.5, 10.5)
    events = told(*[TokensGenerated((1,), "a")] * tokens, end(tokens))
    items = [item async for item in Answer(so_far(), events, clock=lambda: next(clock))]
    assert isinstance(items[-1], AnswerFinished)
    assert items[-1].tokens_per_s == rate


@pytest.mark.parametrize(
    "events",
    [
        (),
        (TokensGenerated((1,), "a"),),
        (GenerationFinished(reason="cancelled", prompt_tokens=1, completion_tokens=1, prefill_s=0, decode_s=0),),
    ],
)
async def test_an_answer_without_an_end_is_an_error(events: tuple[GenerationEvent, ...]) -> None:
    """Half an answer is never taken for a whole one."""
    with pytest.raises(AnswerLostError):
        assert [item async for item in Answer(so_far(), told(*events))]


async def test_closing_tells_whoever_counts_once() -> None:
    """And ends the source."""
    closed = []
    source = told(end(0))
    answer = Answer(so_far(), source, on_close=lambda: closed.append("closed"))
    await answer.aclose()
    await answer.aclose()
    assert closed == ["closed"]
    with pytest.raises(StopAsyncIteration):
        await anext(source)


async def test_a_stop_reaches_whoever_waits() -> None:
    """The wait for the next piece ends with the reason, and so does every later one, whatever is there already."""

    async def silent() -> AsyncGenerator[GenerationEvent, None]:
        await asyncio.Event().wait()
        yield end(0)

    answer = Answer(so_far(), silent())
    waiting = asyncio.ensure_future(anext(answer))
    await asyncio.sleep(0)
    answer.stop(StoppingError("now"))
    answer.stop(StoppingError("again"))
    with pytest.raises(StoppingError, match="now"):
        await waiting
    stopped = Answer(so_far(), told(TokensGenerated((1,), "a"), end(1)))
    stopped.stop(StoppingError("now"))
    with pytest.raises(StoppingError):
        await anext(stopped)


async def test_log_probabilities_come_with_their_tokens() -> None:
    """A token that completes no character yet has one all the same: its piece has no text."""
    first, second = TokenLogprob(b"\xc3", -1.0), TokenLogprob(b"\xa9", -0.5)
    events = told(TokensGenerated((1,), "", (first,)), TokensGenerated((2,), "é", (second,)), end(2))
    pieces = [item async for item in Answer(so_far(), events)][:-1]
    assert [
        AnswerPiece(text="", answerer=BY, logprobs=(first,)),
        AnswerPiece(text="é", answerer=BY, logprobs=(second,)),
    ] == pieces
