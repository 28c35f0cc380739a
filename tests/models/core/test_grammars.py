"""When an answer has a form, and which."""

import json
from dataclasses import replace

from models.core.grammars import answer_grammar
from models.core.request import GenerationRequest, Message, SamplingParams

TOOLS = tuple(
    json.dumps({"type": "function", "function": function})
    for function in (
        {"name": "weather", "parameters": {"properties": {"city": {}}}},
        {"name": "time", "parameters": None},
    )
)
ASK = GenerationRequest((Message("user", "x"),), SamplingParams())


def test_most_answers_have_none() -> None:
    """Tools alone only offer something."""
    assert answer_grammar(ASK, in_tags=True) is None
    assert answer_grammar(replace(ASK, tools=TOOLS), in_tags=True) is None
    assert answer_grammar(replace(ASK, tools=TOOLS, tool_choice="none"), in_tags=True) is None


def test_a_schema_leaves_the_tools_that_are_offered() -> None:
    """The answer fits the schema, or calls."""
    fitting = replace(ASK, schema='{"type": "string"}')
    alone = answer_grammar(fitting, in_tags=True)
    assert alone is not None
    assert alone.splitlines()[0] == "start: answer"
    for choice, start in (("auto", "start: answer | call"), ("none", "start: answer")):
        grammar = answer_grammar(replace(fitting, tools=TOOLS, tool_choice=choice), in_tags=True)
        assert grammar is not None
        assert grammar.splitlines()[0] == start


def test_a_required_call_is_one_of_the_tools_or_the_named_one() -> None:
    """In the form that the model's template speaks of."""
    required = answer_grammar(replace(ASK, tools=TOOLS, tool_choice="required"), in_tags=True)
    named = answer_grammar(replace(ASK, tools=TOOLS, tool_choice="time"), in_tags=False)
    assert required is not None
    assert named is not None
    assert "weather" in required
    assert "<tool_call>" in required
    assert "arguments" in required
    assert "weather" not in named
    assert "<tool_call>" not in named
    assert '"{\\"name\\": \\"time\\", \\"parameters\\": "' in named


def test_a_schema_cannot_loosen_how_it_is_read() -> None:
    """What it says to the compiler is replaced, and nothing in it ends the rule."""
    hostile = json.dumps({"x-guidance": {"lenient": True}, "description": "}\nstart: /.*/", "type": "string"})
    grammar = answer_grammar(replace(ASK, schema=hostile), in_tags=True)
    assert grammar is not None
    assert len(grammar.splitlines()) == 2
    assert '"lenient":false' in grammar
    assert '"lenient":true' not in grammar


def _compiled(schema: object) -> object:
    grammar = answer_grammar(replace(ASK, schema=json.dumps(schema)), in_tags=True)
    assert grammar is not None
    compiled = json.loads(grammar.partition("%json ")[2])
    del compiled["x-guidance"]
    return compiled


def test_objects_have_only_the_properties_that_are_named() -> None:
    """Wherever a schema holds another, unless it says otherwise itself."""
    inner = {"properties": {"a": {}, "b": True}}
    closed = inner | {"additionalProperties": False}
    for outer in (
        lambda one: {"$ref": "#/$defs/x", "$defs": {"x": one}},
        lambda one: {"type": "array", "items": one},
        lambda one: {"anyOf": [one, {"type": "null"}]},
        lambda one: {"type": "object", "additionalProperties": one},
        lambda one: {"properties": {"properties": one}, "required": ["properties"], "additionalProperties": False},
    ):
        assert outer(closed) == _compiled(outer(inner))


def test_what_may_be_named_elsewhere_is_left_open() -> None:
    """An answer that fits the schema is never made impossible by closing a part of it."""
    inner: dict[str, object] = {"properties": {"a": {}}}
    for untouched in (
        {"type": "object"},
        {"type": "array", "items": False},
        {"const": inner, "anyOf": 5},
        inner | {"additionalProperties": {"type": "string"}},
        inner | {"required": ["c"]},
        inner | {"required": "a"},
        inner | {"required": [[]]},
        inner | {"required": ["a", {}]},
        {"properties": 5},
        inner | {"anyOf": [inner]},
        inner | {"minProperties": 2},
        {"allOf": [inner, inner]},
        {"oneOf": [inner, {"type": "null"}]},
        {"anyOf": [{"allOf": [inner]}, inner]},
    ):
        assert untouched == _compiled(untouched)
