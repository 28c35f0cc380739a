"""Bodies of /v1/chat/completions: what is understood, what is refused, and which field is named."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.chat_request import HARMLESS, parse_chat_request
from device.core.json_fields import parse_object
from device.errors import BadRequestError, NotSupportedError
from models.core.request import MAX_SEED, Message, SamplingParams, ToolCall

HELLO = {"role": "user", "content": "hello"}
WEATHER = {"type": "function", "function": {"name": "weather"}}
CALL = {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"at":"sea"}'}}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    *HARMLESS,
    "model",
    "messages",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "hearthmesh",
    "tools",
    "tool_choice",
    "response_format",
    "logprobs",
    "top_logprobs",
]


def tool(**fields: object) -> dict[str, object]:
    """A tool with these fields."""
    return {"type": "function", "function": {"name": "weather", **fields}}


def call(**fields: object) -> dict[str, object]:
    """A call with these fields."""
    return {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": "{}", **fields}}


def body(**fields: Any) -> bytes:  # noqa: ANN401  anything JSON can say
    """A body with a greeting and these fields."""
    return json.dumps({"messages": [HELLO], **fields}).encode()


def test_a_bare_question_has_sensible_defaults() -> None:
    """Greedy, 512 tokens, the default model, wherever it is, not streamed."""
    chat = parse_chat_request(body())
    assert (chat.model, chat.node, chat.stream, chat.include_usage) == ("default", "auto", False, False)
    assert chat.generation.messages == (Message("user", "hello"),)
    assert chat.generation.sampling == SamplingParams(temperature=0.0, max_tokens=512)


def test_every_field_finds_its_place() -> None:
    """Null counts as absent, a whole number as a number, one stop text as a list of one."""
    chat = parse_chat_request(
        body(
            model="smollm2-135m",
            temperature=1,
            top_p=0.5,
            top_k=40,
            repetition_penalty=1.1,
            seed=-1,
            max_tokens=5,
            max_completion_tokens=7,
            stop="\n",
            stream=True,
            stream_options={"include_usage": True},
            hearthmesh={"node": "local"},
            user="someone",
            n=1,
            min_p=0.05,
            presence_penalty=0.5,
            frequency_penalty=-1,
            response_format={"type": "text"},
            parallel_tool_calls=False,
            logit_bias=None,
        )
    )
    assert (chat.model, chat.node, chat.stream, chat.include_usage) == ("smollm2-135m", "local", True, True)
    assert chat.generation.sampling == SamplingParams(
        temperature=1.0,
        top_p=0.5,
        top_k=40,
        min_p=0.05,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=-1.0,
        seed=MAX_SEED,
        max_tokens=7,
        stop=("\n",),
    )
    assert not chat.parallel_tool_calls


def test_text_parts_become_lines_and_developers_speak_as_the_system() -> None:
    """As other servers do it."""
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": parts}]
    chat = parse_chat_request(body(messages=messages))
    assert chat.generation.messages == (Message("system", "be kind"), Message("user", "one\ntwo"))


def test_tools_and_their_calls_are_kept() -> None:
    """What a model sees of a tool, what it asked for before, and what the tool said."""
    messages = [
        HELLO,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_a", "content": "rain"},
    ]
    described = tool(description="where?", parameters={"type": "object"}, strict=True)
    chat = parse_chat_request(body(messages=messages, tools=[described], tool_choice="required"))
    _, called, said = chat.generation.messages
    assert called == Message("assistant", "", (ToolCall("call_a", "weather", '{"at":"sea"}'),))
    assert said == Message("tool", "rain", (), "call_a")
    assert [json.loads(text) for text in chat.generation.tools] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "where?", "parameters": {"type": "object"}},
        }
    ]
    assert chat.generation.tool_choice == "required"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [(None, "auto"), ("none", "none"), ({"type": "function", "function": {"name": "weather"}}, "weather")],
)
def test_a_tool_choice_is_a_word_or_a_name(choice: object, expected: str) -> None:
    """As OpenAI writes it: an object around the name."""
    assert parse_chat_request(body(tools=[WEATHER], tool_choice=choice)).generation.tool_choice == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}, {"type": "array"}),
    ],
)
def test_a_response_format_becomes_a_schema(wanted: object, expected: object) -> None:
    """Any object is a schema too."""
    schema = parse_chat_request(body(response_format=wanted)).generation.schema
    assert (json.loads(schema) if schema else None) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 3}, 3),
        ({"top_logprobs": 3}, 3),
        ({"logprobs": False, "top_logprobs": 3}, None),
    ],
)
def test_logprobs_come_when_asked_for(fields: dict[str, object], expected: int | None) -> None:
    """With as many alternatives; alternatives alone ask for both."""
    assert parse_chat_request(body(**fields)).generation.logprobs == expected


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """JSON knows one kind of number."""
    assert parse_chat_request(body(max_tokens=7.0)).generation.sampling.max_tokens == 7


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages.0"),
        ({"messages": [HELLO, {"role": "pirate", "content": "arr"}]}, "messages.1.role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": ["text"]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": "x" * 600_000}]}, "messages"),
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 300}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"seed": "one"}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 0, "max_completion_tokens": 5}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop": 3}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"min_p": 2}, "min_p"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"logprobs": 1}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"tools": {}}, "tools"),
        ({"tools": ["weather"]}, "tools.0"),
        ({"tools": [{"type": "function"}]}, "tools.0"),
        ({"tools": [{**WEATHER, "type": 1}]}, "tools.0"),
        ({"tools": [tool(name="with space")]}, "tools"),
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"tools": [tool(parameters=[])]}, "tools.0.function.parameters"),
        ({"tools": [tool(description=1)]}, "tools.0.function.description"),
        ({"tools": [tool(description="\ud800")]}, "tools.0"),
        ({"tools": [WEATHER] * 129}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes", "tools": [WEATHER]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}, "tools": [WEATHER]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "none"}}, "tools": [WEATHER]}, "tool_choice"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}}, "response_format"),
        (
            {"response_format": {"type": "json_object"}, "tools": [WEATHER], "tool_choice": "required"},
            "response_format",
        ),
        ({"messages": [HELLO, {"role": "assistant", "content": None}]}, "messages.1.content"),
        ({"messages": [HELLO, {"role": "assistant", "tool_calls": [{}]}]}, "messages.1.tool_calls.0"),
        ({"messages": [HELLO, {"role": "assistant", "tool_calls": [CALL] * 1025}]}, "messages.1.tool_calls"),
        ({"messages": [HELLO, {"role": "assistant", "tool_calls": [call(arguments="{")]}]}, "messages.1.tool_calls.0"),
        ({"messages": [HELLO, {"role": "assistant", "tool_calls": [call(arguments={})]}]}, "messages.1.tool_calls.0"),
        ({"messages": [HELLO, {"role": "assistant", "tool_calls": [{**CALL, "id": 1}]}]}, "messages.1.tool_calls.0.id"),
        ({"messages": [{**HELLO, "tool_calls": [CALL]}]}, "messages.0.tool_calls"),
        ({"messages": [{**HELLO, "tool_call_id": "x"}]}, "messages.0.tool_call_id"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"hearthmesh": "local"}, "hearthmesh"),
        ({"hearthmesh": {"node": 1}}, "hearthmesh.node"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, object], param: str) -> None:
    """Wrong types and values out of range are refused, and the message begins with the field at fault."""
    with pytest.raises(BadRequestError) as raised:
        parse_chat_request(body(**fields))
    assert raised.value.param == param
    assert str(raised.value).startswith(param.partition(".")[0])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"tools": [{"type": "custom"}]}, "tools.0"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"logit_bias": {"1": 100}}, "logit_bias"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "custom"}]}]}, "messages.0.tool_calls.0"),
        ({"messages": [{**HELLO, "images": ["…"]}]}, "messages.0.images"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0"),
    ],
)
def test_what_would_change_the_answer_is_refused_not_ignored(fields: dict[str, object], param: str) -> None:
    """A field that this version does not do is said so, plainly."""
    with pytest.raises(NotSupportedError, match="support") as raised:
        parse_chat_request(body(**fields))
    assert raised.value.param == param


def test_a_number_that_only_python_reads_is_refused() -> None:
    """It becomes infinity here and would be no JSON on its way to the model."""
    text = body(tools=[tool(parameters={"minimum": "GREAT"})]).replace(b'"GREAT"', b"1e999")
    with pytest.raises(BadRequestError, match="too large") as raised:
        parse_chat_request(text)
    assert raised.value.param == "tools.0"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"x"', b"\xff\xfe{}", b"[" * 100_000, b'{"a": NaN}', b"1" * 9999])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    """Broken, too deep, not UTF-8, not a number that JSON knows, or not an object."""
    with pytest.raises(BadRequestError):
        parse_object(text)


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=4))
def test_any_json_gives_a_request_or_one_error(fields: dict[str, object]) -> None:
    """Whatever JSON says, nothing but BadRequestError comes of it."""
    try:
        chat = parse_chat_request(json.dumps({"messages": [HELLO], **fields}).encode())
    except BadRequestError:
        return
    assert chat.generation.messages
