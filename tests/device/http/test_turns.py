"""An answer's words and calls of tools told apart on their way to a client, with scripted answers."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence

from starlette.types import Message

from device.answers import Answer
from device.api import Answerer, AnswerFinished, AnswerLoading, AnswerQueued
from device.core.chat_request import ChatRequest, parse_chat_request
from device.core.failover import AnswerSoFar
from device.http.turns import EVENT_STREAM, Piece, Turn, TurnStream
from device.turns import AnswerEvent
from models.core.request import GenerationEvent, GenerationFinished, TokenLogprob, TokensGenerated, ToolCall

BY = Answerer(node_id="e" * 52, node_name="ember", model="tiny", model_digest="d" * 64, local=True)
CALL = '<tool_call>\n{"name": "weather", "arguments": {"at": "sea"}}\n</tool_call>'
END = GenerationFinished(reason="stop", prompt_tokens=1, completion_tokens=2, prefill_s=0.1, decode_s=0.1)
TOOL = {"type": "function", "function": {"name": "weather"}}


def chat(**fields: object) -> ChatRequest:
    """A question with a tool and these fields."""
    body = {"messages": [{"role": "user", "content": "hello"}], "tools": [TOOL], **fields}
    return parse_chat_request(json.dumps(body).encode())


async def told(question: ChatRequest, words: Sequence[TokensGenerated]) -> tuple[list[Piece], AnswerFinished]:
    """What a client is told of these words."""

    async def events() -> AsyncGenerator[GenerationEvent, None]:
        for word in words:
            yield word
        yield END

    turn = Turn(question, Answer(AnswerSoFar(question.generation, BY), events()))
    await turn.begin()
    items = [item async for item in turn]
    end = items.pop()
    assert isinstance(end, AnswerFinished)
    return [item for item in items if isinstance(item, Piece)], end


def words(*texts: str) -> list[TokensGenerated]:
    """A token a text, each with how likely it was."""
    return [
        TokensGenerated((place,), text, (TokenLogprob(text.encode(), -float(place)),))
        for place, text in enumerate(texts)
    ]


async def test_a_call_is_no_words() -> None:
    """The end says that a tool was called; how likely its tokens were comes with the call."""
    pieces, end = await told(chat(logprobs=True), words("Look: ", *CALL))
    (said, called) = (piece for piece in pieces if piece.text or piece.call)
    assert (said.text.strip(), end.finish_reason) == ("Look:", "tool_calls")
    assert isinstance(called.call, ToolCall)
    assert (called.call.name, json.loads(called.call.arguments)) == ("weather", {"at": "sea"})
    assert called.call.id.startswith("call_")
    assert sum(len(piece.logprobs) for piece in pieces) == 1 + len(CALL)


async def test_one_call_may_be_all_that_is_wanted() -> None:
    """Without parallel_tool_calls the first call stands; else each has an id of its own."""
    pieces, _ = await told(chat(), words(CALL, CALL))
    assert len({piece.call.id for piece in pieces if piece.call}) == 2
    pieces, end = await told(chat(parallel_tool_calls=False), words(CALL, CALL))
    assert (sum(piece.call is not None for piece in pieces), end.finish_reason) == (1, "tool_calls")


async def test_half_a_call_is_words() -> None:
    """An answer that is cut within a call gives out what it had, at its end."""
    pieces, end = await told(chat(), words(CALL[:30]))
    assert ("".join(piece.text for piece in pieces), end.finish_reason) == (CALL[:30], "stop")


async def test_where_no_call_may_come_nothing_is_held_back() -> None:
    """Tools that must not be called, or an answer that must fit a schema."""
    for question in (chat(tool_choice="none"), chat(response_format={"type": "json_object"})):
        pieces, end = await told(question, words(CALL))
        assert ([piece.text for piece in pieces], end.finish_reason) == ([CALL], "stop")


async def test_a_stream_says_why_its_words_are_late() -> None:
    """As comments, one for each reason; what comes after them is the answer."""
    question = chat()
    delays = AnswerQueued(place=2), AnswerLoading(converted_percent=0), AnswerLoading(converted_percent=40)

    async def events() -> AsyncGenerator[AnswerEvent, None]:
        for delay in delays:
            yield delay
        yield END

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"data: [DONE]\n\n"

    async def receive() -> Message:
        return await asyncio.Future[Message]()

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    turn = Turn(question, Answer(AnswerSoFar(question.generation, BY), events()))
    stream = TurnStream(chunks(), turn, media_type=EVENT_STREAM, delayed=await turn.begin())
    await stream({"type": "http"}, receive, send)
    assert [message["body"] for message in sent[1:-1]] == [
        b": queue 2\n\n",
        b": loading\n\n",
        b": converting 40\n\n",
        b"data: [DONE]\n\n",
    ]
