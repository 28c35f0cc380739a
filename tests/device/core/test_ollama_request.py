"""Bodies of Ollama's API."""

import json
from typing import Any

import pytest

from device.core.ollama_request import (
    OllamaRequest,
    parse_ollama_chat,
    parse_ollama_generate,
    parse_ollama_show,
    without_latest,
)
from device.errors import BadRequestError, NotSupportedError
from models.core.request import MAX_NEW_TOKENS, MAX_SEED, Message, SamplingParams, ToolCall

HELLO = {"role": "user", "content": "hello"}
CALL_AS_TEXT = {"function": {"name": "f", "arguments": "{}"}}


def chat(**fields: Any) -> OllamaRequest:  # noqa: ANN401  anything JSON can say
    """A conversation with these fields."""
    return parse_ollama_chat(json.dumps({"model": "m", "messages": [HELLO], **fields}).encode())


def generate(**fields: Any) -> OllamaRequest:  # noqa: ANN401  anything JSON can say
    """A question with these fields."""
    return parse_ollama_generate(json.dumps({"model": "m", "prompt": "hello", **fields}).encode())


def test_the_options_find_their_places() -> None:
    """Ollama's names for what OpenAI calls otherwise; memory and threads are the owner's business."""
    options = {
        "temperature": 1,
        "top_k": 40,
        "top_p": 0.5,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
        "seed": -1,
        "num_predict": 7,
        "stop": ["\n"],
        "num_ctx": 4096,
        "num_thread": 8,
        "mirostat": 0,
    }
    asked = chat(options=options, keep_alive="5m", think=False)
    assert asked.question.generation.sampling == SamplingParams(
        temperature=1.0,
        top_k=40,
        top_p=0.5,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=0.25,
        seed=MAX_SEED,
        max_tokens=7,
        stop=("\n",),
    )


def test_answers_stream_unless_that_is_declined() -> None:
    """Ollama's default is not OpenAI's."""
    assert (chat().question.stream, chat(stream=False).question.stream) == (True, False)


@pytest.mark.parametrize(
    ("name", "expected"), [("m", "m"), ("m:latest", "m"), ("m:1b", "m:1b"), (":latest", ":latest")]
)
def test_latest_means_the_name_without_it(name: str, expected: str) -> None:
    """Clients add the tag by themselves."""
    assert chat(model=name).question.model == without_latest(name) == expected


@pytest.mark.parametrize("endless", [-1, -2])
def test_an_endless_answer_has_a_bound(endless: int) -> None:
    """As much as there can be."""
    assert chat(options={"num_predict": endless}).question.generation.sampling.max_tokens == MAX_NEW_TOKENS


def test_calls_have_objects_as_arguments_and_no_ids() -> None:
    """Each gets one by its place."""
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}
    asked = chat(messages=[HELLO, called, {"role": "tool", "content": "2", "tool_name": "f"}])
    _, call, said = asked.question.generation.messages
    assert call == Message("assistant", "", (ToolCall("call_0", "f", '{"a":1}'),))
    assert said == Message("tool", "2")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(None, None), ("", None), ("json", {"type": "object"}), ({"type": "array"}, {"type": "array"})],
)
def test_a_format_becomes_a_schema(wanted: object, expected: object) -> None:
    """The word json, or a schema."""
    schema = chat(format=wanted).question.generation.schema
    assert (json.loads(schema) if schema else None) == expected


def test_a_question_may_have_a_system_message() -> None:
    """/api/generate has it beside the prompt."""
    asked = generate(system="be brief")
    assert asked.question.generation.messages == (Message("system", "be brief"), Message("user", "hello"))


def test_a_raw_prompt_is_a_text_to_go_on_with() -> None:
    """No template around it."""
    generation = generate(raw=True).question.generation
    assert (generation.prompt, generation.messages) == ("hello", ())


def test_an_empty_question_asks_only_for_the_model() -> None:
    """That is how Ollama's clients load one."""
    assert [asked.only_load for asked in (chat(messages=[]), chat(messages=None), generate(prompt=""), chat())] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "pirate", "content": ""}]}, "messages.0.role"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL_AS_TEXT]}]}, "messages.0.tool_calls.0"),
        ({"options": []}, "options"),
        ({"options": {"temperature": 6}}, "options.temperature"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"repeat_penalty": 0}}, "options.repeat_penalty"),
        ({"options": {"num_predict": 0}}, "options.num_predict"),
        ({"options": {"stop": [1]}}, "options.stop"),
        ({"format": "yaml"}, "format"),
        ({"format": {"x": "y" * 70_000}}, "format"),
        ({"keep_alive": True}, "keep_alive"),
        ({"keep_alive": []}, "keep_alive"),
        ({"stream": "no"}, "stream"),
        ({"top_logprobs": -1}, "top_logprobs"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, object], param: str) -> None:
    """With its place in the options."""
    with pytest.raises(BadRequestError) as raised:
        chat(**fields)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"prompt": 1}, "prompt"), ({"prompt": "\ud800"}, "prompt"), ({"raw": True, "system": "x"}, "system")],
)
def test_a_bad_prompt_is_named(fields: dict[str, object], param: str) -> None:
    """In the words of /api/generate."""
    with pytest.raises(BadRequestError) as raised:
        generate(**fields)
    assert raised.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"think": True},
        {"images": ["…"]},
        {"suffix": "end"},
        {"template": "{{ .Prompt }}"},
        {"context": [1, 2]},
        {"options": {"mirostat": 2}},
        {"options": {"repeat_last_n": 128}},
    ],
)
def test_what_would_change_the_answer_is_refused(fields: dict[str, object]) -> None:
    """Not ignored."""
    with pytest.raises(NotSupportedError):
        generate(**fields)


def test_show_takes_the_older_name_too() -> None:
    """Clients before `model` said `name`."""
    assert [parse_ollama_show(body) for body in (b'{"model": "m:latest"}', b'{"name": "m"}')] == ["m", "m"]
