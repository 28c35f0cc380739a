"""The official clients of OpenAI and Ollama, set up by their environment alone, and the real model behind a daemon."""

import json
import math
from collections.abc import Iterator
from typing import Any

import ollama
import openai
import pytest

from tests.e2e.hearths import Hearth

pytestmark = pytest.mark.slow
MODEL = "smollm2-135m"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "inhabitants": {"type": "integer"}},
    "required": ["city", "inhabitants"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Tells the weather", "parameters": CITY}}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a hearth with the real model listens."""
    with Hearth(tmp_path_factory.mktemp("a") / "ember", name="ember") as hearth:
        hearth.run("models", "pull", MODEL)
        http = hearth.json("status")["http"]
        yield f"http://{http['host']}:{http['port']}"


@pytest.fixture
def program(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A program for OpenAI's API, as the README sets it up."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with openai.OpenAI() as client:
        yield client


@pytest.fixture
def other(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A program for Ollama's API, as the README sets it up."""
    monkeypatch.setenv("OLLAMA_HOST", address)
    client = ollama.Client()
    yield client
    client._client.close()


def test_openai(program: Any) -> None:  # noqa: ANN401  overloads for dozens of models
    """Chat, stream, likelihoods, a form, a tool, a text: all of it by the real model."""
    asked = {"model": MODEL, "messages": QUESTION, "max_tokens": 30}
    said = program.chat.completions.create(**asked, logprobs=True, top_logprobs=2).choices[0]
    assert "Paris" in said.message.content
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in program.chat.completions.create(**asked, stream=True))
        == said.message.content
    )
    assert all(token.logprob == token.top_logprobs[0].logprob <= 0 for token in said.logprobs.content)
    assert math.exp(said.logprobs.content[0].logprob) > 0.1
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    formed = program.chat.completions.create(**asked | {"max_tokens": 100}, response_format=form).choices[0]
    assert (formed.finish_reason, set(json.loads(formed.message.content))) == ("stop", {"city", "inhabitants"})
    tooled = program.chat.completions.create(
        **asked | {"max_tokens": 200}, tools=[WEATHER], tool_choice="required"
    ).choices[0]
    assert (tooled.finish_reason, tooled.message.tool_calls[0].function.name) == ("tool_calls", "weather")
    assert set(json.loads(tooled.message.tool_calls[0].function.arguments)) == {"city", "inhabitants"}
    text = program.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=5)
    assert "Paris" in text.choices[0].text
    assert [model.id for model in program.models.list()] == [MODEL]


def test_ollama(other: Any) -> None:  # noqa: ANN401  as above
    """The same in Ollama's words."""
    options = {"num_predict": 30}
    said = other.chat(model=MODEL, messages=QUESTION, options=options)
    assert "Paris" in said.message.content
    streamed = other.chat(model=f"{MODEL}:latest", messages=QUESTION, options=options, stream=True)
    assert "".join(piece.message.content for piece in streamed) == said.message.content
    formed = other.chat(model=MODEL, messages=QUESTION, options={"num_predict": 100}, format=CITY)
    assert set(json.loads(formed.message.content)) == {"city", "inhabitants"}
    assert "Paris" in other.generate(MODEL, QUESTION[0]["content"], options=options).response
    assert "Paris" in other.generate(MODEL, "The capital of France is", raw=True, options={"num_predict": 5}).response
    assert [model.model for model in other.list().models] == [MODEL]
