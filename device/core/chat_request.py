"""A body of /v1/chat/completions, parsed once into a frozen value; nothing behind it sees raw JSON.

Source: OpenAI's API reference, chat/create.  Unknown fields are ignored as OpenAI's server does; known ones that this
version does not do and that would change the answer are refused.  Without `temperature` the answer is greedy (0), so
that the same question gives the same answer on every node that holds the model.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from device.core.routing import AUTO, DEFAULT_MODEL
from device.errors import BadRequestError, NotSupportedError
from models.core.request import MAX_MESSAGES, MAX_SEED, GenerationRequest, Message, SamplingParams
from models.errors import InvalidRequestError

MAX_STOPS: Final = 4
MAX_NAME_CHARACTERS: Final = 256
ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}

# Fields that would change the answer, with the values that ask for nothing.
HARMLESS: Final[Mapping[str, tuple[object, ...]]] = {
    "n": (1,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "min_p": (0, 0.0),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """A conversation to continue, by which model, where, and how the answer travels."""

    model: str
    node: str
    generation: GenerationRequest
    stream: bool
    include_usage: bool


def parse_chat_request(body: bytes) -> ChatRequest:
    """Read a body.  Raises BadRequestError (NotSupportedError) naming the field at fault."""
    fields = parse_object(body)
    for name, harmless in HARMLESS.items():
        value = fields.get(name)
        if value is not None and not any(type(value) is type(known) and value == known for known in harmless):
            raise NotSupportedError(f"{name} is not supported", param=name)
    stream = _optional(fields, "stream", bool, default=False)
    options = _optional(fields, "stream_options", dict, default={})
    if options and not stream:
        raise BadRequestError("stream_options: only with stream = true", param="stream_options")
    try:
        generation = GenerationRequest(_messages(fields.get("messages")), _sampling(fields))
    except InvalidRequestError as error:
        raise BadRequestError(str(error), param=str(error).partition(":")[0]) from error
    extension = _optional(fields, "hearthmesh", dict, default={})
    return ChatRequest(
        model=_name(fields, "model", DEFAULT_MODEL),
        node=_name(extension, "node", AUTO, where="hearthmesh.node"),
        generation=generation,
        stream=stream,
        include_usage=_optional(options, "include_usage", bool, default=False, where="stream_options.include_usage"),
    )


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object as it comes over HTTP.  Raises BadRequestError."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "not UTF-8, too deep, or a number too long"
        raise BadRequestError(f"the body is no JSON: {reason}") from error
    if not isinstance(value, dict):
        raise BadRequestError("the body is no JSON object")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _messages(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
        raise BadRequestError(f"messages: a list of 1 to {MAX_MESSAGES} messages", param="messages")
    return tuple(_message(item, f"messages.{index}") for index, item in enumerate(value))


def _message(item: object, where: str) -> Message:
    if not isinstance(item, dict):
        raise BadRequestError(f"{where}: an object with role and content", param=where)
    role = item.get("role")
    if role in ("tool", "function") or item.get("tool_calls"):
        raise NotSupportedError(f"{where}: tools are not supported", param=where)
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequestError(f"{where}.role: one of {', '.join(ROLES)}", param=f"{where}.role")
    try:
        return Message(ROLES[role], _content(item.get("content"), f"{where}.content"))
    except InvalidRequestError as error:
        raise BadRequestError(f"{where}.{error}", param=f"{where}.content") from error


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


def _sampling(fields: Mapping[str, Any]) -> SamplingParams:
    limit = _optional(fields, "max_completion_tokens", int, default=None)
    if limit is None:
        limit = _optional(fields, "max_tokens", int, default=SamplingParams.max_tokens)
    return SamplingParams(
        temperature=_optional(fields, "temperature", float, default=SamplingParams.temperature),
        top_k=_optional(fields, "top_k", int, default=SamplingParams.top_k),
        top_p=_optional(fields, "top_p", float, default=SamplingParams.top_p),
        repetition_penalty=_optional(fields, "repetition_penalty", float, default=SamplingParams.repetition_penalty),
        # OpenAI's seeds may be negative: the sign is dropped, which still gives equal seeds equal answers.
        seed=_optional(fields, "seed", int, default=SamplingParams.seed) & MAX_SEED,
        max_tokens=limit,
        stop=_stop(fields.get("stop")),
    )


def _stop(value: object) -> tuple[str, ...]:
    texts = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or len(texts) > MAX_STOPS or not all(isinstance(text, str) for text in texts):
        raise BadRequestError(f"stop: a text or a list of up to {MAX_STOPS} texts", param="stop")
    return tuple(texts)


def _name(fields: Mapping[str, Any], key: str, default: str, *, where: str = "") -> str:
    name: str = _optional(fields, key, str, default=default, where=where)
    if not (1 <= len(name) <= MAX_NAME_CHARACTERS and name.isprintable()):
        raise BadRequestError(f"{where or key}: 1 to {MAX_NAME_CHARACTERS} printable characters", param=where or key)
    return name


def _optional(fields: Mapping[str, Any], key: str, kind: type[T], *, default: Any, where: str = "") -> Any:  # noqa: ANN401  mypy cannot say "T or the default's type"
    """Read a field that may be absent or null; a whole number also counts as a number."""
    value = fields.get(key)
    if value is None:
        return default
    if type(value) is kind:
        return value
    if kind is float and type(value) is int and abs(value) <= MAX_SEED:
        return float(value)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "an object"}
    raise BadRequestError(f"{where or key}: {names[kind]}", param=where or key)
