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
_COMBINING: Final = frozenset(
    {"allOf", "anyOf", "oneOf", "if", "$ref", "patternProperties", "unevaluatedProperties", "minProperties"}
)
_OF_NAMES: Final = frozenset({"properties", "$defs", "definitions"})


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
    return f"%json {json.dumps(_closed(schema) | {'x-guidance': _STYLE})}"


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Forbid other properties where a schema names some and says nothing of others; whatever fits it fits the original.

    Left as it is: a schema that combines others, whose properties may be named elsewhere.
    """
    if _COMBINING & schema.keys():
        return schema
    closed = dict(schema)
    for key in _OF_NAMES & schema.keys():
        if isinstance(schema[key], dict):
            closed[key] = {name: _closed_any(one) for name, one in schema[key].items()}
    if "items" in schema:
        closed["items"] = _closed_any(schema["items"])
    properties, required = schema.get("properties"), schema.get("required", [])
    if isinstance(properties, dict) and isinstance(required, list) and all(name in properties for name in required):
        closed.setdefault("additionalProperties", False)
    return closed


def _closed_any(schema: object) -> object:
    return _closed(schema) if isinstance(schema, dict) else schema
