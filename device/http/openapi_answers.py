"""What comes back, as JSON Schemas of the OpenAPI document."""

from typing import Any, Final

from device.http.openapi_requests import or_null, ref

Schema = dict[str, Any]

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_FLAG: Final = {"type": "boolean"}


def _all_of(properties: Schema, optional: Schema | None = None, about: str = "") -> Schema:
    """An object with all of `properties`, and perhaps with `optional` ones."""
    described = {"description": about} if about else {}
    fields = {**properties, **(optional or {})}
    return {"type": "object", **described, "required": list(properties), "properties": fields}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TOKEN: Final = {"token": _TEXT, "logprob": _NUMBER, "bytes": _list({"type": "integer", "minimum": 0, "maximum": 255})}
_CALL: Final = {
    "id": _TEXT,
    "type": {"const": "function"},
    "function": _all_of({"name": _TEXT, "arguments": {"type": "string", "contentMediaType": "application/json"}}),
}
_USAGE: Final = _all_of(
    {
        "prompt_tokens": _COUNT,
        "completion_tokens": _COUNT,
        "total_tokens": _COUNT,
        "prompt_tokens_details": _all_of({"cached_tokens": _COUNT}),
    }
)
_REASON: Final = {"enum": ["stop", "length", "tool_calls"]}
_HEAD: Final = {"id": _TEXT, "created": _COUNT, "model": _TEXT}
_CARD: Final = _all_of({"licence": _TEXT, "description": _TEXT, "trained_on": _TEXT, "bad_at": _TEXT})
_HELD: Final = _all_of({"model_digest": _TEXT, "nodes": _list(_TEXT), "local": _FLAG, "card": _CARD})
_DETAILS: Final = _all_of({"format": _TEXT})


def _chat_choice(words: str, message: Schema, reason: Schema) -> Schema:
    logprobs = _all_of({"content": _list(ref("TokenLogprob")), "refusal": {"type": "null"}})
    return _all_of({"index": _COUNT, words: message, "logprobs": or_null(logprobs), "finish_reason": reason})


def _ollama_reply(words: Schema) -> Schema:
    """An answer, or a line of one; counts and durations (nanoseconds) stand in the last."""
    return _all_of(
        {"model": _TEXT, "created_at": {"type": "string", "format": "date-time"}, "done": _FLAG, **words},
        {
            "done_reason": {"enum": ["stop", "length", "load"]},
            "total_duration": _COUNT,
            "prompt_eval_count": _COUNT,
            "prompt_eval_duration": _COUNT,
            "eval_count": _COUNT,
            "eval_duration": _COUNT,
            "logprobs": _list(ref("TokenLogprob")),
            "hearthmesh": ref("Answerer"),
        },
    )


def _openai_answers() -> Schema:
    """What OpenAI's two ways of asking answer, whole or in pieces."""
    message = _all_of(
        {"role": {"const": "assistant"}, "content": or_null(_TEXT), "refusal": {"type": "null"}},
        {"tool_calls": _list(_all_of(_CALL))},
    )
    delta = _all_of({}, {"role": _TEXT, "content": _TEXT, "tool_calls": _list(_all_of({"index": _COUNT, **_CALL}))})
    lists = {
        "tokens": _list(_TEXT),
        "token_logprobs": _list(_NUMBER),
        "top_logprobs": _list({"type": "object", "additionalProperties": _NUMBER}),
        "text_offset": _list(_COUNT),
    }
    text_choice = _all_of(
        {"index": _COUNT, "text": _TEXT, "logprobs": or_null(_all_of(lists)), "finish_reason": or_null(_REASON)}
    )
    late_usage = {"usage": or_null(_USAGE)}
    whole = _openai_answer("chat.completion", _chat_choice("message", message, _REASON))
    chunk = _openai_answer("chat.completion.chunk", _chat_choice("delta", delta, or_null(_REASON)))
    return {
        "ChatCompletion": _all_of({**whole, "usage": _USAGE}),
        "ChatCompletionChunk": _all_of(chunk, late_usage),
        "TextCompletion": _all_of(_openai_answer("text_completion", text_choice), late_usage),
    }


def _openai_answer(kind: str, choice: Schema) -> Schema:
    return {**_HEAD, "object": {"const": kind}, "choices": _list(choice), "hearthmesh": ref("Answerer")}


def _ollama_answers() -> Schema:
    """What Ollama's ways of asking answer, and what it tells of models."""
    call = _all_of({"id": _TEXT, "function": _all_of({"name": _TEXT, "arguments": {"type": "object"}})})
    message = _all_of({"role": {"const": "assistant"}, "content": _TEXT}, {"tool_calls": _list(call)})
    model = _all_of(
        {"name": _TEXT, "model": _TEXT, "size": _COUNT, "digest": _TEXT, "details": _DETAILS}, {"size_vram": _COUNT}
    )
    shown = {
        "license": _TEXT,
        "details": _DETAILS,
        "model_info": {"type": "object"},
        "capabilities": _list(_TEXT),
        "hearthmesh": _HELD,
    }
    return {
        "OllamaChatReply": _ollama_reply({"message": message}),
        "OllamaGenerateReply": _ollama_reply({"response": _TEXT}),
        "OllamaModels": _all_of({"models": _list(model)}),
        "OllamaShow": _all_of(shown),
        "OllamaVersion": _all_of({"version": _TEXT}),
    }


def _errors() -> Schema:
    """How each API says what went wrong."""
    error = {
        "message": _TEXT,
        "type": {"enum": ["invalid_request_error", "server_error"]},
        "param": or_null(_TEXT),
        "code": _TEXT,
        "hint": _TEXT,
    }
    about = "What happened, which field is at fault (param), and what to do next (hint)."
    return {
        "Error": _all_of({"error": _all_of(error)}, about=about),
        "OllamaError": _all_of({"error": _TEXT, "code": _TEXT, "hint": _TEXT}),
    }


def answer_schemas() -> Schema:
    """Every schema of a body that may come back, by name."""
    part = _all_of({"node_id": _TEXT, "node_name": _TEXT, "from_token": _COUNT, "tokens": _COUNT})
    return {
        "Answerer": _all_of(
            {"node_id": _TEXT, "node_name": _TEXT, "model": _TEXT, "model_digest": _TEXT, "local": _FLAG},
            {"ttft_ms": _NUMBER, "tokens_per_s": _NUMBER, "parts": _list(part)},
            "Who answers and with which model; at the end how fast, and who gave which tokens if several nodes did.",
        ),
        "TokenLogprob": _all_of({**_TOKEN, "top_logprobs": _list(_all_of(_TOKEN))}),
        **_openai_answers(),
        "Model": _all_of(
            {"id": _TEXT, "object": {"const": "model"}, "created": _COUNT, "owned_by": _TEXT, "hearthmesh": _HELD}
        ),
        "ModelList": _all_of({"object": {"const": "list"}, "data": _list(ref("Model"))}),
        **_ollama_answers(),
        "Health": _all_of({"status": {"const": "ok"}, "node_id": _TEXT}),
        "Readiness": _all_of({"ready": _FLAG, "missing": _list(_TEXT)}),
        **_errors(),
    }
