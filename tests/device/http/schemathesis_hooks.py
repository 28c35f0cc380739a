"""What schemathesis is told of this API beyond its document: rules between fields, and that answers be short.

Loaded by its command (test_schemathesis.py).  Only questions that the document allows are changed, so that they also
keep the rules it has no words for; malformed ones go out as they are.
"""

from typing import Any

import schemathesis
from schemathesis import GenerationMode

SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
ANSWER_TOKENS = 8
MESSAGES = 4


@schemathesis.hook
def before_call(_context: object, case: schemathesis.Case[Any], _kwargs: object) -> None:
    """Mend a question in place."""
    body: Any = case.body
    if not isinstance(body, dict) or case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if case.path.startswith("/v1"):
        _mend_tools(body)
        body["max_tokens"] = body["max_completion_tokens"] = ANSWER_TOKENS
    elif case.path != "/api/show":
        body["options"] = {**(body.get("options") or {}), "num_predict": ANSWER_TOKENS}
    body["model"] = "tiny"
    body["messages"] = (body.get("messages") or [])[:MESSAGES]  # a small board's context holds no more
    body.pop("hearthmesh", None)  # a node of that name is not there
    if body.get("raw"):
        body.pop("system", None)
    if isinstance(body.get("format"), dict):
        body["format"] = SCHEMA  # what a schema may say is up to the engine
    for message in body["messages"]:
        if message.get("tool_calls"):
            message["tool_calls"] = message["tool_calls"][:MESSAGES]
    tools = body.get("tools")
    if tools:
        body["tools"] = list({tool["function"]["name"]: tool for tool in tools}.values())[:MESSAGES]


def _mend_tools(body: dict[str, Any]) -> None:
    """Choose among tools that are there, call them with JSON, and ask for one thing at a time."""
    for message in body.get("messages", []):
        for call in message.get("tool_calls") or []:
            call["function"]["arguments"] = '{"at":"sea"}'
    choice = body.get("tool_choice")
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        wanted["json_schema"]["schema"] = SCHEMA
    if choice in (None, "auto", "none"):
        return
    if not body.get("tools"):
        body["tool_choice"] = "auto"
    elif isinstance(choice, dict):
        choice["function"]["name"] = body["tools"][0]["function"]["name"]
    if wanted:
        body["tool_choice"] = "none"
