"""Conversations, tools and formats of the answer as OpenAI's and Ollama's clients write them.

Source: OpenAI's API reference, chat/create; Ollama's API reference, /api/chat, where tool calls have objects as
arguments and usually no ids.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from device.core.json_fields import json_text, optional
from device.errors import BadRequestError, NotSupportedError
from models.core.request import MAX_MESSAGES, MAX_TOOL_CALLS, MAX_TOOLS, TOOL_CHOICES, Message, ToolCall
from models.errors import InvalidRequestError

ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
ANY_OBJECT: Final = '{"type":"object"}'  # the schema of what OpenAI calls json_object


def messages_in(fields: Mapping[str, Any], arguments: type[str | dict[str, Any]] = str) -> tuple[Message, ...]:
    """Read `messages`.  arguments: what kind those of a call are, an object or its JSON.  Raises BadRequestError."""
    value = fields.get("messages")
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
        raise BadRequestError(f"messages: a list of 1 to {MAX_MESSAGES} messages", param="messages")
    return tuple(_message(item, f"messages.{index}", arguments) for index, item in enumerate(value))


def tools_in(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Read `tools`: each as the JSON text of {"type": "function", "function": {…}}.  Raises BadRequestError."""
    tools: list[Any] = optional(fields, "tools", list, default=[])
    if len(tools) > MAX_TOOLS:
        raise BadRequestError(f"tools: up to {MAX_TOOLS}", param="tools")
    return tuple(_tool(item, f"tools.{index}") for index, item in enumerate(tools))


def tool_choice_in(fields: Mapping[str, Any]) -> str:
    """Read `tool_choice`: auto, none, required, or the name of the one tool to call.  Raises BadRequestError."""
    match fields.get("tool_choice"):
        case None:
            return "auto"
        case str(choice) if choice in TOOL_CHOICES:
            return choice
        case {"type": "function", "function": {"name": str(name)}} if name not in TOOL_CHOICES:
            return name
        case {"type": str(kind)} if kind != "function":
            raise NotSupportedError(f"tool_choice: {json.dumps(kind)[:80]} is not supported", param="tool_choice")
    message = f'tool_choice: {", ".join(TOOL_CHOICES)}, or {{"type": "function", "function": {{"name": …}}}}'
    raise BadRequestError(message, param="tool_choice")


def response_format_in(fields: Mapping[str, Any]) -> str | None:
    """Read `response_format`: the JSON Schema, as text, that the answer must fit, or None.  Raises BadRequestError."""
    match fields.get("response_format"):
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ANY_OBJECT
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return json_text(schema, "response_format")
        case {"type": str(kind)} if kind not in ("json_schema", "json_object", "text"):
            raise NotSupportedError(
                f"response_format: {json.dumps(kind)[:80]} is not supported", param="response_format"
            )
    message = 'response_format: {"type": "text"}, "json_object", or "json_schema" with {"json_schema": {"schema": {…}}}'
    raise BadRequestError(message, param="response_format")


def _message(item: object, where: str, arguments: type) -> Message:
    if not isinstance(item, dict):
        raise BadRequestError(f"{where}: an object with role and content", param=where)
    role = item.get("role")
    if role == "function" or item.get("function_call"):
        raise NotSupportedError(f"{where}: function calls are not supported, tool calls are", param=where)
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequestError(f"{where}.role: one of {', '.join(ROLES)}", param=f"{where}.role")
    if item.get("images"):
        raise NotSupportedError(f"{where}.images: only text is supported", param=f"{where}.images")
    calls = _tool_calls(item, where, arguments)
    content = item.get("content")
    text = "" if content is None and calls else _content(content, f"{where}.content")
    call_id: str = optional(item, "tool_call_id", str, default="", where=f"{where}.tool_call_id")
    try:
        return Message(ROLES[role], text, calls, call_id)
    except InvalidRequestError as error:
        raise BadRequestError(f"{where}.{error}", param=f"{where}.{str(error).partition(':')[0]}") from error


def _content(value: object, where: str) -> str:
    """Text, or a list of text parts: these become lines, as other servers do it."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise BadRequestError(f"{where}: text, or a list of text parts", param=where)
    texts = []
    for index, part in enumerate(value):
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": str(kind)} if kind != "text":
                raise NotSupportedError(f"{where}.{index}: only text is supported", param=f"{where}.{index}")
            case _:
                raise BadRequestError(f'{where}.{index}: {{"type": "text", "text": …}}', param=f"{where}.{index}")
    return "\n".join(texts)


def _tool_calls(item: Mapping[str, Any], where: str, arguments: type) -> tuple[ToolCall, ...]:
    where = f"{where}.tool_calls"
    calls: list[Any] = optional(item, "tool_calls", list, default=[], where=where)
    if len(calls) > MAX_TOOL_CALLS:
        raise BadRequestError(f"{where}: up to {MAX_TOOL_CALLS}", param=where)
    return tuple(_tool_call(call, f"call_{index}", f"{where}.{index}", arguments) for index, call in enumerate(calls))


def _tool_call(item: Any, usual_id: str, where: str, arguments: type) -> ToolCall:  # noqa: ANN401  anything JSON can say
    match item:
        case {"function": {"name": str(name), "arguments": given}} if type(given) is arguments:
            call_id: str = optional(item, "id", str, default=usual_id, where=f"{where}.id")
            text = given if isinstance(given, str) else json_text(given, where)
        case {"type": str(kind)} if kind != "function":
            raise NotSupportedError(f"{where}: only functions are supported", param=where)
        case _:
            form = "a JSON object, as text" if arguments is str else "an object"
            raise BadRequestError(f"{where}: a function with name and arguments, which are {form}", param=where)
    try:
        return ToolCall(call_id, name, text)
    except InvalidRequestError as error:
        raise BadRequestError(f"{where}: {str(error).partition(': ')[2]}", param=where) from error


def _tool(item: Any, where: str) -> str:  # noqa: ANN401  anything JSON can say
    match item:
        case {"function": {"name": str()} as function} if item.get("type") in (None, "function"):
            optional(function, "description", str, default="", where=f"{where}.function.description")
            optional(function, "parameters", dict, default={}, where=f"{where}.function.parameters")
            kept = {key: value for key, value in function.items() if key in ("name", "description", "parameters")}
            return json_text({"type": "function", "function": kept}, where)
        case {"type": str(kind)} if kind != "function":
            raise NotSupportedError(f"{where}: only functions are supported", param=where)
    raise BadRequestError(f'{where}: {{"type": "function", "function": {{"name": …}}}}', param=where)
