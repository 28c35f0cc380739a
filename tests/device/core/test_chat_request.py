"""Bodies of /v1/chat/completions: what is understood, what is refused, and which field is named."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.chat_request import HARMLESS, parse_chat_request, parse_object
from device.errors import BadRequestError, NotSupportedError
from models.core.request import MAX_SEED, Message, SamplingParams

HELLO = {"role": "user", "content": "hello"}
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
]


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
            presence_penalty=0,
            response_format={"type": "text"},
            logit_bias=None,
        )
    )
    assert (chat.model, chat.node, chat.stream, chat.include_usage) == ("smollm2-135m", "local", True, True)
    assert chat.generation.sampling == SamplingParams(
        temperature=1.0, top_p=0.5, top_k=40, repetition_penalty=1.1, seed=MAX_SEED, max_tokens=7, stop=("\n",)
    )


def test_text_parts_become_lines_and_developers_speak_as_the_system() -> None:
    """As other servers do it."""
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": parts}]
    chat = parse_chat_request(body(messages=messages))
    assert chat.generation.messages == (Message("system", "be kind"), Message("user", "one\ntwo"))


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
        ({"max_completion_tokens": -5}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop": 3}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
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
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 100}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "assistant", "content": "x", "tool_calls": [{}]}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0"),
    ],
)
def test_what_would_change_the_answer_is_refused_not_ignored(fields: dict[str, object], param: str) -> None:
    """A field that this version does not do is said so, plainly."""
    with pytest.raises(NotSupportedError, match="support") as raised:
        parse_chat_request(body(**fields))
    assert raised.value.param == param


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
