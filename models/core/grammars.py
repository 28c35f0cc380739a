"""The form that an answer must have, as a grammar in the dialect of Lark that models/constraints.py compiles.

Objects are written as Python's json writes them, with one blank after a colon and a comma, and have no other properties
than those that their schema names, where it names some: a small model may fill its answer with blanks, or with
properties that nobody asked for, and never come to an end.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from models.core.request import GenerationRequest, tool_name

# "x-guidance" is how a schema tells the compiler; what somebody else wrote there is replaced.
_STYLE: Final = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": False,
}
# Where a schema holds others: by name, in a list, alone.
_NAMED: Final = frozenset({"properties", "$defs", "definitions"})
_LISTED: Final = frozenset({"anyOf", "prefixItems"})
_ALONE: Final = frozenset({"items", "additionalProperties"})
# What speaks of properties that may be named elsewhere, by itself or beside `properties`.
_COMBINING: Final = frozenset(
    {"allOf", "oneOf", "if", "dependentSchemas", "patternProperties", "unevaluatedProperties"}
)
_COMBINING_BESIDE: Final = frozenset({"$ref", "anyOf", "minProperties"})


def answer_grammar(request: GenerationRequest, *, in_tags: bool) -> str | None:
    """Write the grammar of a request's answer; None where any text will do.

    in_tags: calls stand in <tool_call> tags with `arguments`, else bare with `parameters`, as Llama 3 writes them.
    """
    if request.tool_choice not in ("auto", "none"):
        chosen = [tool for tool in request.tools if request.tool_choice in ("required", tool_name(tool))]
        return "\n".join(["start: call", *_call_rules(chosen, in_tags=in_tags)])
    if request.schema is None:
        return None
    rules = [f"answer: {_json_rule(json.loads(request.schema))}"]
    if request.tools and request.tool_choice == "auto":
        return "\n".join(["start: answer | call", *rules, *_call_rules(request.tools, in_tags=in_tags)])
    return "\n".join(["start: answer", *rules])


def _call_rules(tools: Sequence[str], *, in_tags: bool) -> list[str]:
    """Rules of `call`: one of these tools with arguments that fit its description."""
    functions = [json.loads(tool)["function"] for tool in tools]
    any_of = " | ".join(f"call_{number}" for number in range(len(functions)))
    rules = [rf'call: "<tool_call>\n" ({any_of}) "\n</tool_call>"' if in_tags else f"call: {any_of}"]
    key = "arguments" if in_tags else "parameters"
    for number, function in enumerate(functions):
        begin = json.dumps(f'{{"name": "{function["name"]}", "{key}": ')
        parameters = {"type": "object", "properties": {}} | (function.get("parameters") or {})
        rules.append(f'call_{number}: {begin} parameters_{number} "}}"')
        rules.append(f"parameters_{number}: {_json_rule(parameters)}")
    return rules


def _json_rule(schema: dict[str, Any]) -> str:
    written = (schema if _combines(schema) else _closed(schema)) | {"x-guidance": _STYLE}
    return f"%json {json.dumps(written, ensure_ascii=False, separators=(',', ':'))}"


def _combines(value: object) -> bool:
    """Whether a schema puts objects together from several others, somewhere; then none of them can be closed."""
    match value:
        case dict():
            beside = "properties" in value and _COMBINING_BESIDE & value.keys()
            return bool(_COMBINING & value.keys() or beside) or any(_combines(item) for item in value.values())
        case list():
            return any(_combines(item) for item in value)
    return False


def _closed(schema: Any) -> Any:  # noqa: ANN401  any JSON
    """Forbid other properties where a schema names some and says nothing of others; what fits it fits the original."""
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, dict):
            closed[key] = {name: _closed(one) for name, one in value.items()}
        elif key in _LISTED and isinstance(value, list):
            closed[key] = [_closed(one) for one in value]
        elif key in _ALONE:
            closed[key] = _closed(value)
    properties, required = schema.get("properties"), schema.get("required", [])
    named = isinstance(required, list) and all(isinstance(name, str) for name in required)  # else it is no schema
    if isinstance(properties, dict) and named and properties.keys() >= set(required):
        closed.setdefault("additionalProperties", False)
    return closed
