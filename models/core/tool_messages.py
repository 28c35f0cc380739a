"""Tools and calls in a conversation, as chat templates expect them.

A template that knows tools gets them the way Hugging Face's templates read them.  For one that does not, they are
written out in words, in the form that NousResearch's Hermes models made common: descriptions in <tools>, calls in
<tool_call>, results in <tool_response>.  Source: Hugging Face, chat templating with tools; Hermes function calling.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from models.core.request import GenerationRequest, Message, ToolCall

Quote = Callable[[str], str]

_INSTRUCTIONS = """You can call functions. Their descriptions stand between the <tools> tags, one a line:
<tools>
{tools}
</tools>
To call one, write its name and its arguments as a JSON object between <tool_call> tags:
<tool_call>
{{"name": "the function's name", "arguments": {{"argument": "value"}}}}
</tool_call>"""


def offered_tools(request: GenerationRequest, quote: Quote) -> list[object]:
    """Give the descriptions of the tools that the model is to know of; `quote` is applied to every text in them."""
    return [] if request.tool_choice == "none" else [quoted(json.loads(tool), quote) for tool in request.tools]


def for_template(messages: Sequence[Message], quote: Quote) -> list[dict[str, object]]:
    """Write messages for a template that knows tools: arguments as objects, each result with the name of its tool."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    written: list[dict[str, object]] = []
    for message in messages:
        turn: dict[str, object] = {"role": message.role, "content": quote(message.content)}
        if message.tool_calls:
            turn["tool_calls"] = [
                {"type": "function", "id": quote(call.id), "function": _function(call, quote)}
                for call in message.tool_calls
            ]
        if message.role == "tool":
            turn |= {"tool_call_id": quote(message.tool_call_id), "name": names.get(message.tool_call_id, "")}
        written.append(turn)
    return written


def in_words(messages: Sequence[Message], tools: Sequence[object], quote: Quote) -> list[dict[str, object]]:
    """Write messages for a template that knows only system, user and assistant; the tools come in front."""
    turns = list(_in_words(messages, quote))
    if tools:
        listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        instructions = _INSTRUCTIONS.format(tools=listed)
        if turns and turns[0]["role"] == "system":
            turns[0] = {"role": "system", "content": f"{turns[0]['content']}\n\n{instructions}"}
        else:
            turns.insert(0, {"role": "system", "content": instructions})
    return turns


def _in_words(messages: Sequence[Message], quote: Quote) -> Iterator[dict[str, object]]:
    for is_result, group in groupby(messages, key=lambda message: message.role == "tool"):
        if is_result:
            # One turn for all results of a turn's calls: many templates want user and assistant to alternate.
            results = [f"<tool_response>\n{quote(message.content)}\n</tool_response>" for message in group]
            yield {"role": "user", "content": "\n".join(results)}
        else:
            for message in group:
                calls = [
                    f"<tool_call>\n{json.dumps(_function(call, quote), ensure_ascii=False)}\n</tool_call>"
                    for call in message.tool_calls
                ]
                texts = [quote(message.content)] if message.content or not calls else []
                yield {"role": message.role, "content": "\n".join([*texts, *calls])}


def _function(call: ToolCall, quote: Quote) -> dict[str, object]:
    return {"name": call.name, "arguments": quoted(json.loads(call.arguments), quote)}


def quoted(value: Any, quote: Quote) -> Any:  # noqa: ANN401  any JSON
    """Quote every text in a JSON value, keys too."""
    match value:
        case str():
            return quote(value)
        case list():
            return [quoted(item, quote) for item in value]
        case dict():
            return {quote(key): quoted(item, quote) for key, item in value.items()}
    return value
