"""What is asked of a model: every value in its range, or an error that names it."""

from dataclasses import replace
from typing import Any

import pytest

from models.core.request import (
    MAX_ANSWER_CHARACTERS,
    MAX_PROMPT_BYTES,
    MAX_SCHEMA_BYTES,
    MAX_TOOL_CALLS,
    GenerationRequest,
    Message,
    SamplingParams,
    ToolCall,
)
from models.errors import InvalidRequestError

ASK = GenerationRequest((Message("user", "Where is Paris?"),), SamplingParams(stop=("\n",)))
WEATHER = '{"type": "function", "function": {"name": "weather"}}'


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", True),
        ("temperature", 10**400),
        ("top_k", 1.5),
        ("top_p", 0),
        ("min_p", 1.5),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("repetition_penalty", 0.0),
        ("seed", -1),
        ("max_tokens", 0),
        ("max_tokens", "many"),
        ("stop", ("",)),
        ("stop", ("\ud800",)),
        ("stop", ("x",) * 9),
        ("stop", ["x"]),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: Any) -> None:  # noqa: ANN401  wrong types on purpose
    """The message begins with the parameter's name, so that an API can point at it."""
    with pytest.raises(InvalidRequestError, match=f"^{name}: "):
        replace(SamplingParams(), **{name: value})


def test_a_conversation_is_bounded_and_writable() -> None:
    """Roles, number, size and characters of the messages are checked where they enter."""
    with pytest.raises(InvalidRequestError, match="role"):
        Message("oracle", "hello")
    with pytest.raises(InvalidRequestError, match="content"):
        Message("user", "\ud800")
    with pytest.raises(InvalidRequestError, match="messages"):
        GenerationRequest((), SamplingParams())
    with pytest.raises(InvalidRequestError, match="bytes"):
        GenerationRequest((Message("user", "x" * (MAX_PROMPT_BYTES + 1)),), SamplingParams())


@pytest.mark.parametrize(
    ("call_id", "name", "arguments"),
    [
        ("", "f", "{}"),
        ("x" * 129, "f", "{}"),
        ("\ud800", "f", "{}"),
        ("c", "", "{}"),
        ("c", "f g", "{}"),
        ("c", "auto", "{}"),
        ("c", "f", "[]"),
        ("c", "f", "{"),
        ("c", "f", '{"x": NaN}'),
        ("c", "f", '{"x": 1e999}'),
        ("c", "f", r'{"x": "\ud800"}'),
        ("c", "f", '{"x":' + "[" * 64 + "1" + "]" * 64 + "}"),
        ("c", "f", '{"x":' * 100_000 + "1" + "}" * 100_000),
    ],
)
def test_a_malformed_call_is_refused(call_id: str, name: str, arguments: str) -> None:
    """Before a template or a client sees it."""
    with pytest.raises(InvalidRequestError, match=r"^tool_calls: "):
        ToolCall(call_id, name, arguments)


def test_calls_and_their_answers_have_their_places() -> None:
    """Only an assistant calls, only a tool answers."""
    call = ToolCall("c", "f", "{}")
    with pytest.raises(InvalidRequestError, match=r"^tool_calls: "):
        Message("user", "", (call,))
    with pytest.raises(InvalidRequestError, match=r"^tool_call_id: "):
        Message("user", "", (), "c")
    with pytest.raises(InvalidRequestError, match=r"^tool_call_id: "):
        Message("tool", "", (), "c" * 129)
    with pytest.raises(InvalidRequestError, match="tool calls"):
        GenerationRequest((Message("assistant", "", (call,) * (MAX_TOOL_CALLS + 1)),), SamplingParams())
    assert len("Où") + 1 + len("cf{}") == Message("assistant", "Où", (call,)).size


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", 5),
        ("prompt", "beside messages"),
        ("tools", (WEATHER, WEATHER)),
        ("tools", ("{}",)),
        ("tools", (5,)),
        ("tools", ('{"type": "function", "function": {"name": "a b"}}',)),
        ("tools", ('{"type": "function", "function": {"name": "a", "parameters": []}}',)),
        ("tools", [WEATHER]),
        ("tools", (WEATHER,) * 129),
        ("tool_choice", "required"),
        ("tool_choice", "weather"),
        ("tool_choice", 5),
        ("schema", "true"),
        ("schema", "{"),
        ("schema", f'{{"x": "{"x" * MAX_SCHEMA_BYTES}"}}'),
        ("logprobs", 21),
        ("logprobs", True),
    ],
)
def test_what_a_request_wishes_is_bounded(name: str, value: Any) -> None:  # noqa: ANN401  wrong types on purpose
    """The message begins with what is at fault."""
    with pytest.raises(InvalidRequestError, match=f"^{name}: "):
        replace(ASK, **{name: value})


def test_wishes_that_exclude_each_other_are_refused() -> None:
    """A text to complete has no tools; an answer that must call has no other form."""
    with pytest.raises(InvalidRequestError, match=r"^tools: "):
        GenerationRequest((), SamplingParams(), prompt="x", tools=(WEATHER,))
    with pytest.raises(InvalidRequestError, match=r"^schema: "):
        replace(ASK, tools=(WEATHER,), tool_choice="required", schema="{}")
    with pytest.raises(InvalidRequestError, match=r"^prompt: "):
        GenerationRequest((), SamplingParams(), prompt="x" * (MAX_PROMPT_BYTES + 1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("answered", (1,) * 513),
        ("answered", (-1,)),
        ("answered", (2**31 + 1,)),
        ("answered", (True,)),
        ("answered", ("1",)),
        ("answered", [1]),
        ("characters", -1),
        ("characters", 1.0),
        ("characters", MAX_ANSWER_CHARACTERS + 1),
    ],
)
def test_a_begun_answer_is_bounded(name: str, value: Any) -> None:  # noqa: ANN401  wrong types on purpose
    """No more tokens than the whole answer may have, and no ids or counts that are none."""
    with pytest.raises(InvalidRequestError, match=f"^{name}: "):
        replace(ASK, **{name: value})
