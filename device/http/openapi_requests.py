"""What may be asked, as JSON Schemas of the OpenAPI document; the bounds are the parsers' own.

Fields that are read and change nothing are left out: whoever sends them is understood.
"""

from typing import Any, Final

from device.core.chat_messages import ROLES
from device.core.chat_request import MAX_STOPS
from device.core.json_fields import MAX_NAME_CHARACTERS
from models.core.request import (
    MAX_ADDED_PENALTY,
    MAX_LOGPROBS,
    MAX_MESSAGES,
    MAX_NEW_TOKENS,
    MAX_REPETITION_PENALTY,
    MAX_STOP_CHARACTERS,
    MAX_TEMPERATURE,
    MAX_TOOL_CALL_ID_CHARACTERS,
    MAX_TOOL_CALLS,
    MAX_TOOLS,
    MAX_TOP_K,
    MIN_REPETITION_PENALTY,
    TOOL_CHOICES,
)

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Point to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Schema) -> Schema:
    """A field that may also be null, which counts as absent."""
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def number(low: float, high: float, about: str, **more: object) -> Schema:
    """A number in a range, or null."""
    return or_null({"type": "number", "minimum": low, "maximum": high, "description": about, **more})


def integer(low: int | None, high: int | None, about: str) -> Schema:
    """A whole number in a range, or null."""
    bounds = {"minimum": low, "maximum": high}
    kept = {name: bound for name, bound in bounds.items() if bound is not None}
    return or_null({"type": "integer", **kept, "description": about})


def flag(about: str) -> Schema:
    """True, false or null."""
    return or_null({"type": "boolean", "description": about})


def _object(required: list[str], properties: Schema, **more: object) -> Schema:
    return {"type": "object", "required": required, "properties": properties, **more}


_NAME: Final = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS, "pattern": "^[ -~]+$"}
_MODEL: Final = {**_NAME, "description": 'A model\'s name, its digest, or "default".'}
_TOOL_NAME: Final = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}
_STOP_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARACTERS}
_STOP: Final = {
    "description": "Texts that end the answer; they are not part of it.",
    "anyOf": [_STOP_TEXT, {"type": "array", "maxItems": MAX_STOPS, "items": _STOP_TEXT}, {"type": "null"}],
}
_TEXT: Final = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": _object(["type", "text"], {"type": {"const": "text"}, "text": {"type": "string"}})},
    ]
}
_CALL_ID: Final = {"type": "string", "minLength": 1, "maxLength": MAX_TOOL_CALL_ID_CHARACTERS}
_HEARTHMESH: Final = or_null(
    _object([], {"node": or_null({**_NAME, "description": '"auto", "local", or the beginning of a node\'s id.'})})
)
_TEMPERATURE: Final = number(0, MAX_TEMPERATURE, "0, the default, takes the most likely token.")
_TOP_K: Final = integer(0, MAX_TOP_K, "How many of the most likely tokens may be taken; 0 = all.")
_TOP_P: Final = or_null({"type": "number", "exclusiveMinimum": 0, "maximum": 1, "description": "Nucleus sampling."})
_MIN_P: Final = number(0, 1, "The part of the likeliest token's probability that another needs.")
_PENALTY: Final = number(-MAX_ADDED_PENALTY, MAX_ADDED_PENALTY, "Taken from the logits of tokens already there.")
_REPETITION: Final = number(MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY, "Divides the logits of recent tokens.")
_SEED: Final = integer(None, None, "The same seed gives the same answer.")
_NEW_TOKENS: Final = integer(1, MAX_NEW_TOKENS, "The most tokens that the answer may have.")
_LOGPROBS: Final = integer(0, MAX_LOGPROBS, "How many alternatives to tell of each token.")
_STREAM: Final = flag("Whether the answer comes piece by piece.")

# What OpenAI's two ways of asking have in common.
_OPENAI: Final[Schema] = {
    "model": or_null(_MODEL),
    "temperature": _TEMPERATURE,
    "top_k": _TOP_K,
    "top_p": _TOP_P,
    "min_p": _MIN_P,
    "repetition_penalty": _REPETITION,
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "seed": _SEED,
    "max_tokens": _NEW_TOKENS,
    "max_completion_tokens": _NEW_TOKENS,
    "stop": _STOP,
    "n": {"enum": [1, None], "description": "One answer a question."},
    "stream": _STREAM,
    "stream_options": or_null(_object([], {"include_usage": flag("Whether the stream ends with the usage.")})),
    "hearthmesh": _HEARTHMESH,
}
_OPTIONS: Final = _object(
    [],
    {
        "temperature": _TEMPERATURE,
        "top_k": _TOP_K,
        "top_p": _TOP_P,
        "min_p": _MIN_P,
        "repeat_penalty": _REPETITION,
        "presence_penalty": _PENALTY,
        "frequency_penalty": _PENALTY,
        "seed": _SEED,
        "num_predict": {
            "description": "The most tokens that the answer may have; -1 and -2: as many as there is room for.",
            "anyOf": [
                {"enum": [-1, -2]},
                {"type": "integer", "minimum": 1, "maximum": MAX_NEW_TOKENS},
                {"type": "null"},
            ],
        },
        "stop": _STOP,
    },
)
_OLLAMA: Final[Schema] = {
    "model": {**_MODEL, "description": 'A model\'s name, with or without ":latest".'},
    "stream": flag("Whether the answer comes piece by piece, one JSON object a line; it does unless declined."),
    "options": or_null(_OPTIONS),
    "format": {
        "description": 'The answer is JSON: any object ("json"), or what fits a JSON Schema.',
        "anyOf": [{"enum": ["", "json", None]}, {"type": "object"}],
    },
    "keep_alive": {
        "description": "Taken, and of no effect: the owner decides how long models stay loaded.",
        "anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}],
    },
    "think": {"enum": [False, None], "description": "No model here thinks aloud."},
    "logprobs": flag("Whether to tell how likely the tokens were."),
    "top_logprobs": _LOGPROBS,
    "hearthmesh": _HEARTHMESH,
}


def _conversation(call_arguments: Schema) -> Schema:
    """A turn of a conversation; the two APIs write the arguments of calls differently."""
    function = _object(["name", "arguments"], {"name": _TOOL_NAME, "arguments": call_arguments})
    call = _object(["function"], {"id": or_null(_CALL_ID), "function": function})
    calls = {"type": "array", "minItems": 1, "maxItems": MAX_TOOL_CALLS, "items": call}
    said = [role for role in ROLES if role not in ("assistant", "tool")]
    no_calls = {"tool_calls": or_null({"type": "array", "maxItems": 0})}
    answers_none = {"tool_call_id": or_null({"type": "string", "maxLength": 0})}
    answers_one = {"tool_call_id": or_null({"type": "string", "maxLength": MAX_TOOL_CALL_ID_CHARACTERS})}
    called = {"role": {"const": "assistant"}, "content": or_null(_TEXT), "tool_calls": calls, **answers_none}
    return {
        "description": "One turn of a conversation.",
        "anyOf": [
            _object(["role", "content"], {"role": {"enum": said}, "content": _TEXT, **no_calls, **answers_none}),
            _object(
                ["role", "content"], {"role": {"const": "assistant"}, "content": _TEXT, **no_calls, **answers_none}
            ),
            _object(["role", "tool_calls"], called),
            _object(["role", "content"], {"role": {"const": "tool"}, "content": _TEXT, **no_calls, **answers_one}),
        ],
    }


_MESSAGES: Final = {"type": "array", "minItems": 1, "maxItems": MAX_MESSAGES}
_TOOL: Final = _object(
    ["function"],
    {
        "type": {"enum": ["function", None]},
        "function": _object(
            ["name"],
            {
                "name": _TOOL_NAME,
                "description": or_null({"type": "string"}),
                "parameters": or_null({"type": "object", "description": "A JSON Schema."}),
            },
        ),
    },
)
_TOOLS: Final = or_null(
    {
        "type": "array",
        "maxItems": MAX_TOOLS,
        "uniqueItems": True,
        "items": ref("Tool"),
        "description": "Each name once.",
    }
)
_TOOL_CHOICE: Final = {
    "description": "Whether a tool must be called, or which; only with tools.",
    "anyOf": [
        {"enum": [*TOOL_CHOICES, None]},
        _object(
            ["type", "function"],
            {"type": {"const": "function"}, "function": _object(["name"], {"name": _TOOL_NAME})},
        ),
    ],
}
_RESPONSE_FORMAT: Final = {
    "description": "What form the answer has.",
    "anyOf": [
        _object(["type"], {"type": {"enum": ["text", "json_object"]}}),
        _object(
            ["type", "json_schema"],
            {
                "type": {"const": "json_schema"},
                "json_schema": _object(["schema"], {"schema": {"type": "object", "description": "A JSON Schema."}}),
            },
        ),
    ],
}
_BEGINNING: Final = {
    "description": "The text to go on with.",
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "string", "minLength": 1}},
    ],
}
_NOTHING_ASKED: Final = "None: only find out whether the model is there."


def _openai_bodies() -> Schema:
    """What is sent to OpenAI's two ways of asking."""
    chat = {
        "messages": {**_MESSAGES, "items": ref("Message")},
        **_OPENAI,
        "tools": _TOOLS,
        "tool_choice": ref("ToolChoice"),
        "parallel_tool_calls": flag("Whether the answer may call more than one tool."),
        "response_format": or_null(ref("ResponseFormat")),
        "logprobs": flag("Whether to tell how likely the tokens were."),
        "top_logprobs": _LOGPROBS,
    }
    completion = {"prompt": _BEGINNING, **_OPENAI, "logprobs": _LOGPROBS}
    return {"ChatRequest": _object(["messages"], chat), "CompletionRequest": _object(["prompt"], completion)}


def _ollama_bodies() -> Schema:
    """What is sent to Ollama's ways of asking."""
    messages = {**_MESSAGES, "minItems": 0, "items": ref("OllamaMessage"), "description": _NOTHING_ASKED}
    generate = {
        "prompt": or_null({"type": "string", "description": _NOTHING_ASKED}),
        "system": or_null({"type": "string"}),
        "raw": flag("Whether the prompt is a text to go on with, not a question; then without system."),
        **_OLLAMA,
    }
    return {
        "OllamaChatRequest": _object(["model"], {"messages": or_null(messages), **_OLLAMA, "tools": _TOOLS}),
        "OllamaGenerateRequest": _object(["model"], generate),
        "OllamaShowRequest": _object(["model"], {"model": _OLLAMA["model"]}),
    }


def request_schemas() -> Schema:
    """Every schema of a body that may be sent, by name."""
    return {
        "Message": _conversation({"type": "string", "contentMediaType": "application/json"}),
        "OllamaMessage": _conversation({"type": "object"}),
        "Tool": _TOOL,
        "ResponseFormat": _RESPONSE_FORMAT,
        "ToolChoice": _TOOL_CHOICE,
        **_openai_bodies(),
        **_ollama_bodies(),
    }
