"""The official Python clients of OpenAI and Ollama, unchanged, against a whole node: what they send, what they read.

The node holds `tiny`, whose answers go on until they are cut, and `polite`, whose answers may end: forms need that.
"""

import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest
import pytest_asyncio

from device.node import HearthNode
from models.store import ModelStore
from tests.models.waiting import until
from tests.sim.hearth import hearth_config, living
from tests.sim.tiny_model import install_tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")
Client = Any  # their overloads distinguish dozens of models, and would have each dict here declared
HELLO = [{"role": "user", "content": "hello"}]
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Ulm", "Bonn"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": CITY}}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> AsyncIterator[HearthNode]:
    """A node with both models."""
    config = hearth_config(tmp_path_factory.mktemp("c"), context_tokens=16_384)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        store = ModelStore(config.data_dir / "models")
        await install_tiny(store, config.data_dir / "files", name="polite", endless=False)
        async with living(config, holds="tiny") as node:
            yield node


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def program(node: HearthNode) -> AsyncIterator[Client]:
    """A program for OpenAI's API."""
    http = node.administration.http
    async with openai.AsyncOpenAI(base_url=f"http://{http.host}:{http.port}/v1", api_key="none") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def other(node: HearthNode) -> AsyncIterator[Client]:
    """A program for Ollama's API."""
    http = node.administration.http
    client = ollama.AsyncClient(host=f"http://{http.host}:{http.port}")
    yield client
    await client._client.aclose()


async def test_openai_chats(program: Client, node: HearthNode) -> None:
    """Whole and streamed, the same words and the same usage; headers and body say who answered."""
    whole = await program.chat.completions.with_raw_response.create(model="tiny", messages=HELLO, max_tokens=6)
    said = whole.parse()
    stream = await program.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=6, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    words = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert words == said.choices[0].message.content
    assert chunks[-1].usage.prompt_tokens == said.usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == said.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens > 0  # it was asked just before
    assert (said.choices[0].finish_reason, chunks[-2].choices[0].finish_reason) == ("length", "length")
    assert whole.headers["x-hearthmesh-node"] == node.administration.mesh.node_id
    assert said.model_extra["hearthmesh"]["model_digest"] == whole.headers["x-hearthmesh-model-digest"]


async def test_openai_completes(program: Client) -> None:
    """A text, whole and streamed, with the likelihood of its tokens."""
    whole = await program.completions.create(model="tiny", prompt="Once", max_tokens=6, logprobs=2)
    stream = await program.completions.create(model="tiny", prompt="Once", max_tokens=6, logprobs=2, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    told = whole.choices[0].logprobs
    assert told is not None
    lists = (told.tokens, told.token_logprobs, told.top_logprobs, told.text_offset)
    assert [len(one or ()) for one in lists] == [6, 6, 6, 6]
    streamed = [logprob for chunk in chunks for logprob in chunk.choices[0].logprobs.token_logprobs]
    assert streamed == told.token_logprobs
    assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "length"


async def test_openai_is_told_how_likely_the_tokens_were(program: Client) -> None:
    """One entry a token, the likeliest alternatives first; greedy answers take the likeliest."""
    said = await program.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=6, logprobs=True, top_logprobs=3
    )
    tokens = said.choices[0].logprobs.content
    assert len(tokens) == said.usage.completion_tokens == 6
    for token in tokens:
        likely = [one.logprob for one in token.top_logprobs]
        assert (likely, token.logprob) == (sorted(likely, reverse=True), likely[0])
        assert sum(math.exp(one) for one in likely) <= 1.0001
    spelled = b"".join(bytes(token.bytes) for token in tokens).decode(errors="replace")
    assert spelled == said.choices[0].message.content


async def test_openai_gets_json(program: Client) -> None:
    """An answer that fits its schema, from a model that knows nothing of it."""
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY, "strict": True}}
    said = await program.chat.completions.create(model="polite", messages=HELLO, max_tokens=200, response_format=form)
    assert json.loads(said.choices[0].message.content)["city"] in ("Ulm", "Bonn")
    assert said.choices[0].finish_reason == "stop"


async def test_openai_calls_tools(program: Client) -> None:
    """A call comes out as one, whole and streamed, and its result can be said."""
    asked = {"model": "polite", "messages": HELLO, "max_tokens": 200, "tools": [WEATHER], "tool_choice": "required"}
    said = (await program.chat.completions.create(**asked)).choices[0]
    (call,) = said.message.tool_calls
    assert (said.finish_reason, said.message.content, call.function.name) == ("tool_calls", None, "weather")
    assert json.loads(call.function.arguments)["city"] in ("Ulm", "Bonn")
    async with program.chat.completions.stream(**asked) as stream:
        streamed = (await stream.get_final_completion()).choices[0]
    assert streamed.message.tool_calls[0].function.arguments == call.function.arguments
    assert streamed.finish_reason == "tool_calls"
    turns = [*HELLO, said.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    asked |= {"messages": turns, "tool_choice": "none", "max_tokens": 4}
    assert (await program.chat.completions.create(**asked)).usage.completion_tokens <= 4


async def test_openai_lists_models(program: Client) -> None:
    """All, and one by its name."""
    assert sorted([model.id async for model in program.models.list()]) == ["polite", "tiny"]
    assert (await program.models.retrieve("tiny")).id == "tiny"
    with pytest.raises(openai.NotFoundError, match="no model 'absent'"):
        await program.models.retrieve("absent")


async def test_openai_hears_what_is_not_there(program: Client) -> None:
    """As errors of its own kinds, with the words of ours."""
    with pytest.raises(openai.NotFoundError, match="embeddings are not made by this version"):
        await program.embeddings.create(model="tiny", input="x")
    with pytest.raises(openai.BadRequestError, match="n is not supported"):
        await program.chat.completions.create(model="tiny", messages=HELLO, n=2)


async def test_closing_the_stream_frees_the_engine(program: Client, node: HearthNode) -> None:
    """What nobody reads is not computed."""
    engine = node.administration.library._engine
    stream = await program.chat.completions.create(model="tiny", messages=HELLO, max_tokens=15_000, stream=True)
    assert (await anext(aiter(stream))).choices
    assert engine.busy
    await stream.close()
    await until(lambda: not engine.busy and node.administration.queries.counts().running == 0)


async def test_ollama_chats(other: Client) -> None:
    """Whole and streamed, the same words and the same counts."""
    asked = {"model": "tiny", "messages": HELLO, "options": {"num_predict": 6}}
    whole = await other.chat(**asked)
    pieces = [piece async for piece in await other.chat(**asked, stream=True)]
    assert "".join(piece.message.content for piece in pieces) == whole.message.content
    assert (pieces[-1].done_reason, pieces[-1].eval_count) == (whole.done_reason, whole.eval_count) == ("length", 6)
    assert whole.total_duration >= whole.eval_duration > 0


async def test_ollama_generates(other: Client) -> None:
    """A question, and a text to go on with."""
    asked = {"model": "tiny:latest", "options": {"num_predict": 6}}
    whole = await other.generate(prompt="hello", **asked)
    pieces = [piece async for piece in await other.generate(prompt="hello", **asked, stream=True)]
    assert "".join(piece.response for piece in pieces) == whole.response
    raw = await other.generate(prompt="Once", raw=True, logprobs=True, top_logprobs=1, **asked)
    assert len(raw.logprobs) == raw.eval_count == 6
    assert (await other.generate(model="tiny")).done_reason == "load"


async def test_ollama_gets_json_and_calls_tools(other: Client) -> None:
    """A form for the answer; tools are offered, and what is no call stays text."""
    said = await other.chat(model="polite", messages=HELLO, format=CITY, options={"num_predict": 200})
    assert json.loads(said.message.content)["city"] in ("Ulm", "Bonn")
    said = await other.chat(model="polite", messages=HELLO, tools=[WEATHER], options={"num_predict": 4})
    assert said.message.tool_calls is None


async def test_ollama_sees_models(other: Client, node: HearthNode) -> None:
    """All, one, and which is loaded."""
    digests = {model.name: model.digest for model in node.administration.library.held()}
    assert {model.model: model.digest for model in (await other.list()).models} == digests
    await other.generate(model="tiny", prompt="hello", options={"num_predict": 1})
    assert [model.model for model in (await other.ps()).models] == ["tiny"]
    assert "completion" in (await other.show("tiny")).capabilities
    with pytest.raises(ollama.ResponseError, match="no model 'absent'") as raised:
        await other.show("absent")
    assert raised.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="embeddings are not made by this version"):
        await other.embed("tiny", "x")
