"""The real model within a form: whatever it would like to say, what comes out can be read by a program."""

import json
from pathlib import Path

import fastjsonschema
import pytest

from models.core.request import GenerationFinished, GenerationRequest, Message, SamplingParams, ToolCall
from models.core.tool_calls import ToolCallReader
from models.engine import Engine
from models.gguf import GgufFile
from models.graph import convert
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer
from tests.models.alone import Alone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STRING = {"type": "string", "maxLength": 20}
SCHEMAS = {
    "a country": {
        "type": "object",
        "properties": {
            "name": STRING,
            "population": {"type": "integer", "minimum": 0, "maximum": 2_000_000_000},
            "languages": {"type": "array", "items": STRING, "minItems": 1, "maxItems": 3},
            "continent": {"enum": ["Africa", "America", "Asia", "Europe", "Oceania"]},
        },
        "required": ["name", "population", "languages", "continent"],
    },
    "a choice": {"anyOf": [{"const": "yes"}, {"const": "no"}, {"type": "null"}]},
    "a tree": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": STRING,
                    "children": {"type": "array", "items": {"$ref": "#/$defs/leaf"}, "maxItems": 2},
                },
                "required": ["name", "children"],
            },
            "leaf": {"type": "object", "properties": {"name": STRING}, "required": ["name"]},
        },
        "$ref": "#/$defs/node",
    },
    "a code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
    "numbers": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "minItems": 3, "maxItems": 3},
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": STRING, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def generator(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """The real model with its own template, which knows no tools."""
    graph = tmp_path_factory.mktemp("forms") / "graph"
    convert(smollm2_gguf, graph)
    with GgufFile.open(smollm2_gguf) as file:
        tokenizer = Tokenizer.from_gguf(file)
        source = str(file.metadata["tokenizer.chat_template"])
    chat = ChatTemplate(source, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token)
    return Alone(Engine(graph, threads=2, context_tokens=1024), tokenizer, chat)


def _answer(generator: Alone, request: GenerationRequest) -> str:
    *pieces, finished = generator.generate(request)
    assert isinstance(finished, GenerationFinished)
    assert finished.reason == "stop"
    return "".join(piece.text for piece in pieces if not isinstance(piece, GenerationFinished))


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("name", SCHEMAS)
def test_an_answer_always_fits_its_schema(generator: Alone, name: str, temperature: float) -> None:
    """Greedily and wildly: it parses, and an independent validator finds nothing to object to."""
    valid = fastjsonschema.compile(SCHEMAS[name])
    for seed in range(1 if temperature == 0 else 4):
        sampling = SamplingParams(max_tokens=500, temperature=temperature, seed=seed)
        text = _answer(
            generator,
            GenerationRequest((Message("user", f"Give me {name}."),), sampling, schema=json.dumps(SCHEMAS[name])),
        )
        valid(json.loads(text))


def test_a_required_call_names_the_city(generator: Alone) -> None:
    """The tools were understood: the argument is the city of the question."""
    sampling = SamplingParams(max_tokens=200)
    request = GenerationRequest(
        (Message("user", "What is the weather in Ulm?"),),
        sampling,
        tools=(json.dumps(WEATHER),),
        tool_choice="required",
    )
    reader = ToolCallReader(["get_weather"], id_prefix="call_")
    (call,) = [*reader.feed(_answer(generator, request)), *reader.finish()]
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments)["city"] == "Ulm"


def test_a_text_is_completed(generator: Alone) -> None:
    """Without any template around it, and the model is sure of how."""
    request = GenerationRequest((), SamplingParams(max_tokens=3), prompt="The capital of France is", logprobs=2)
    first, *_ = generator.generate(request)
    assert not isinstance(first, GenerationFinished)
    (likely,) = first.logprobs
    assert (first.text, likely.token) == (" Paris", b" Paris")
    assert -1 < likely.logprob == likely.top[0][1]
