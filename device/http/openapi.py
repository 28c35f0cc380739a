"""The OpenAPI 3.1 document of everything public, written by hand; tests hold it to the routes and the parsers."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

from device.http.openapi_answers import answer_schemas
from device.http.openapi_requests import ref, request_schemas

Schema = dict[str, Any]

JSON: Final = "application/json"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
PAGE: Final = "text/html; charset=utf-8"
ABOUT: Final = """\
A hearth answers questions with a language model that it holds itself, or passes them to a neighbour that holds it.
Programs for OpenAI's API find theirs under /v1, programs for Ollama's under /api; every answer says which node gave it
(X-Hearthmesh-Node) and with which model (X-Hearthmesh-Model-Digest). On the machine itself no key is needed; over the
network, where the owner has opened it, each request has one of the node's keys in Authorization: Bearer KEY."""
SKY: Final = "Why is the sky blue?"
WEATHER: Final = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
COLOUR: Final = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing to ask.  answers: media type -> schema; refusals: statuses that are usual beside success."""

    method: str
    path: str
    tag: str
    summary: str
    answers: dict[str, Schema]
    body: str = ""
    examples: dict[str, Schema] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    names_answerer: bool = False
    parameters: tuple[Schema, ...] = ()


ASKED: Final = {
    "401": "Over the network: there is no key, or it is wrong, forgotten or revoked.",
    "429": "The key has had what it may: too many questions in this minute, or the day's tokens are used up.",
    "400": "The question is malformed, asks for what is not supported, or does not fit into the context.",
    "404": "No such model, or no such node, here or in reach.",
    "413": "The body is larger than 1 MiB.",
    "503": "The queue is full, the node stops, or the model's node is out of reach now.",
}


def _hello(**more: object) -> Schema:
    return {"model": "default", "messages": [{"role": "user", "content": SKY}], "max_tokens": 16, **more}


def _ollama(**fields: object) -> Schema:
    return {"model": "default", **fields, "options": {"num_predict": 16}}


def _look(path: str, tag: str, summary: str, answer: Schema, media_type: str = JSON) -> Operation:
    """What is only looked at: it takes nothing, and has one kind of answer."""
    return Operation(method="get", path=path, tag=tag, summary=summary, answers={media_type: answer})


def _event(name: str) -> Schema:
    """One event of a stream."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": {"anyOf": [ref(name), ref("Error")]}}
    return {
        "type": "object",
        "description": "Each event; the last has the data [DONE], and what goes wrong is an Error before it.",
        "required": ["data"],
        "properties": {"data": {"anyOf": [{"const": "[DONE]"}, data]}},
    }


_CALLED: Final = [
    {"role": "user", "content": "How is the weather in Bergen?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Bergen"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/v1/chat/completions",
        tag="OpenAI",
        summary="Go on with a conversation.",
        body="ChatRequest",
        examples={
            "question": _hello(),
            "streamed": _hello(stream=True, stream_options={"include_usage": True}),
            "sampled": _hello(temperature=0.7, top_p=0.9, seed=7, stop=["\n\n"]),
            "tool": _hello(tools=[WEATHER]),
            "tool_answered": {"model": "default", "messages": _CALLED, "tools": [WEATHER], "max_tokens": 16},
            "json": _hello(response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": COLOUR}}),
            "logprobs": _hello(logprobs=True, top_logprobs=2),
        },
        answers={JSON: ref("ChatCompletion"), "text/event-stream": _event("ChatCompletionChunk")},
        refusals=ASKED,
        names_answerer=True,
    ),
    Operation(
        method="post",
        path="/v1/completions",
        tag="OpenAI",
        summary="Go on with a text.",
        body="CompletionRequest",
        examples={
            "text": {"model": "default", "prompt": "Once upon a time", "max_tokens": 16},
            "streamed": {"model": "default", "prompt": ["Once"], "max_tokens": 16, "stream": True, "logprobs": 1},
        },
        answers={JSON: ref("TextCompletion"), "text/event-stream": _event("TextCompletion")},
        refusals=ASKED,
        names_answerer=True,
    ),
    _look("/v1/models", "OpenAI", "The models that can be asked.", ref("ModelList")),
    replace(
        _look("/v1/models/{model}", "OpenAI", "One of them.", ref("Model")),
        refusals={"404": "No such model here or in reach."},
        parameters=({"name": "model", "in": "path", "required": True, "schema": {"type": "string"}},),
    ),
    Operation(
        method="post",
        path="/api/chat",
        tag="Ollama",
        summary="Go on with a conversation.",
        body="OllamaChatRequest",
        examples={
            "streamed": _ollama(messages=[{"role": "user", "content": SKY}]),
            "whole": _ollama(messages=[{"role": "user", "content": SKY}], stream=False, tools=[WEATHER]),
            "json": _ollama(messages=[{"role": "user", "content": SKY}], stream=False, format=COLOUR),
        },
        answers={JSON: ref("OllamaChatReply"), "application/x-ndjson": {"type": "string"}},
        refusals=ASKED,
    ),
    Operation(
        method="post",
        path="/api/generate",
        tag="Ollama",
        summary="Answer a question, or go on with a text.",
        body="OllamaGenerateRequest",
        examples={
            "question": _ollama(prompt=SKY, system="Be brief."),
            "text": _ollama(prompt="Once upon a time", raw=True, stream=False),
        },
        answers={JSON: ref("OllamaGenerateReply"), "application/x-ndjson": {"type": "string"}},
        refusals=ASKED,
    ),
    _look("/api/tags", "Ollama", "The models that can be asked.", ref("OllamaModels")),
    _look("/api/ps", "Ollama", "The models that are loaded on this node.", ref("OllamaModels")),
    Operation(
        method="post",
        path="/api/show",
        tag="Ollama",
        summary="What is known of a model.",
        body="OllamaShowRequest",
        examples={"model": {"model": "smollm2-135m"}},
        answers={JSON: ref("OllamaShow")},
        refusals={name: ASKED[name] for name in ("400", "404", "413")},
    ),
    _look("/api/version", "Ollama", "The version of this node's program.", ref("OllamaVersion")),
    _look("/health", "Node", "Whether the node is alive.", ref("Health")),
    _look(
        "/readyz",
        "Node",
        "Whether the node can take questions; 503, with what it lacks, when it can not.",
        ref("Readiness"),
    ),
    _look("/metrics", "Node", "The node's numbers in Prometheus' text format.", {"type": "string"}, METRICS),
    _look("/openapi.json", "Node", "This document.", {"type": "object"}),
    _look("/docs", "Node", "This document as a page.", {"type": "string"}, PAGE),
)


def openapi_document(version: str) -> Schema:
    """The document of this version."""
    paths: Schema = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _fields(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hearthmesh",
            "version": version,
            "summary": "The API of one hearth.",
            "description": ABOUT.replace("\n", " "),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": "OpenAI"}, {"name": "Ollama"}, {"name": "Node"}],
        "paths": paths,
        "components": {
            "schemas": {**request_schemas(), **answer_schemas()},
            "headers": {
                "Node": {
                    "description": "The id of the node that answers.",
                    "required": True,
                    "schema": {"type": "string"},
                },
                "Digest": {
                    "description": "The digest of the model that answers.",
                    "required": True,
                    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                },
                "RetryAfter": {
                    "description": "Seconds.",
                    "required": True,
                    "schema": {"type": "integer", "minimum": 0},
                },
            },
        },
    }


def _fields(operation: Operation) -> Schema:
    fields: Schema = {
        "tags": [operation.tag],
        "operationId": f"{operation.method}{operation.path.replace('/', '_').replace('.', '_')}".replace(
            "{model}", "id"
        ),
        "summary": operation.summary,
        "responses": {"200": _success(operation)},
    }
    if operation.path == "/readyz":
        fields["responses"]["503"] = _success(operation) | {"description": "It can not take questions."}
    for status, about in operation.refusals.items():
        fields["responses"][status] = _refusal(operation, about)
        if status in ("429", "503"):
            fields["responses"][status]["headers"] = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
    fields["responses"]["default"] = _refusal(operation, "Something else stands in the way; the message says what.")
    if operation.parameters:
        fields["parameters"] = list(operation.parameters)
    if operation.body:
        examples = {name: {"value": value} for name, value in operation.examples.items()}
        content = {JSON: {"schema": ref(operation.body), "examples": examples}}
        fields["requestBody"] = {"required": True, "content": content}
    return fields


def _success(operation: Operation) -> Schema:
    answer: Schema = {
        "description": "Done.",
        "content": {media_type: {"schema": schema} for media_type, schema in operation.answers.items()},
    }
    if operation.names_answerer:
        names = {"X-Hearthmesh-Node": "Node", "X-Hearthmesh-Model-Digest": "Digest"}
        answer["headers"] = {name: {"$ref": f"#/components/headers/{at}"} for name, at in names.items()}
    return answer


def _refusal(operation: Operation, about: str) -> Schema:
    schema = ref("OllamaError" if operation.tag == "Ollama" else "Error")
    return {"description": about, "content": {JSON: {"schema": schema}}}
