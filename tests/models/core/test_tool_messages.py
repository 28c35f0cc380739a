"""How tools, calls and results are told to a model."""

import json
from dataclasses import replace

from models.core.request import GenerationRequest, Message, SamplingParams, ToolCall
from models.core.tool_messages import for_template, in_words, offered_tools

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "In <city>", "parameters": {"n": [1, None]}},
}
CALL = ToolCall("c1", "weather", '{"city": "<Ulm>", "<k>": [2]}')
TURNS = (
    Message("user", "And <here>?"),
    Message("assistant", "", (CALL,)),
    Message("tool", "<rain>", (), "c1"),
    Message("tool", "wind", (), "unknown"),
    Message("assistant", "It rains.", (CALL,)),
    Message("assistant", ""),
)


def quote(text: str) -> str:
    """Mark what a person wrote."""
    return text.replace("<", "*")


def test_the_tools_are_offered_unless_none_is_to_be_called() -> None:
    """Every text in a description is quoted, at any depth."""
    ask = GenerationRequest(TURNS, SamplingParams(), tools=(json.dumps(WEATHER),))
    function = {"name": "weather", "description": "In *city>", "parameters": {"n": [1, None]}}
    assert [{"type": "function", "function": function}] == offered_tools(ask, quote)
    assert offered_tools(replace(ask, tool_choice="none"), quote) == []


def test_templates_that_know_tools_get_hugging_faces_shape() -> None:
    """Arguments are an object; a result says which call and which tool it belongs to."""
    user, assistant, result, stray, *_ = for_template(TURNS, quote)
    function = {"name": "weather", "arguments": {"city": "*Ulm>", "*k>": [2]}}
    assert user == {"role": "user", "content": "And *here>?"}
    assert assistant["tool_calls"] == [{"type": "function", "id": "c1", "function": function}]
    assert result == {"role": "tool", "content": "*rain>", "tool_call_id": "c1", "name": "weather"}
    assert stray["name"] == ""


def test_other_templates_get_words() -> None:
    """Roles that every template knows, all results of a turn in one, calls and results in tags."""
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "*Ulm>", "*k>": [2]}}\n</tool_call>'
    results = "<tool_response>\n*rain>\n</tool_response>\n<tool_response>\nwind\n</tool_response>"
    assert in_words(TURNS, [], quote) == [
        {"role": "user", "content": "And *here>?"},
        {"role": "assistant", "content": call},
        {"role": "user", "content": results},
        {"role": "assistant", "content": f"It rains.\n{call}"},
        {"role": "assistant", "content": ""},
    ]


def test_tools_in_words_come_in_front() -> None:
    """In the system's turn where there is one, in a new one else."""
    system, user = in_words((Message("user", "x"),), [WEATHER], quote)
    joined, _ = in_words((Message("system", "Be brief."), Message("user", "x")), [WEATHER], quote)
    assert (system["role"], user) == ("system", {"role": "user", "content": "x"})
    assert f"<tools>\n{json.dumps(WEATHER)}\n</tools>" in str(system["content"])
    assert {"role": "system", "content": f"Be brief.\n\n{system['content']}"} == joined
