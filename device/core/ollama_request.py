"""Bodies of Ollama's /api/chat, /api/generate and /api/show, parsed once into frozen values.

Source: Ollama's API reference.  Its options become the sampling parameters that OpenAI's fields become, with the same
defaults: without a temperature the answer is greedy.  Options of memory and threads are the owner's business here and
ignored; what would change the answer and is not done is refused.  A name that ends in ":latest" means the name before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from device.core.chat_messages import ANY_OBJECT, messages_in, tools_in
from device.core.chat_request import ChatRequest, logprobs_in, naming_fields, stops_in
from device.core.json_fields import json_text, name_in, optional, parse_object, refuse_unsupported
from device.core.routing import AUTO
from device.errors import BadRequestError
from models.core.request import MAX_NEW_TOKENS, MAX_SEED, GenerationRequest, Message, SamplingParams

LATEST: Final = ":latest"
ENDLESS: Final = (-1, -2)  # Ollama's words for "until the model ends it" and "until the context is full"

HARMLESS: Final[Mapping[str, tuple[object, ...]]] = {
    "think": (False,),
    "images": ([],),
    "suffix": ("",),
    "template": ("",),
    "context": ([],),
}
HARMLESS_OPTIONS: Final[Mapping[str, tuple[object, ...]]] = {
    "mirostat": (0,),
    "tfs_z": (1, 1.0),
    "typical_p": (1, 1.0),
    "repeat_last_n": (64,),  # models/core/sampling.py
    "penalize_newline": (True,),
}


@dataclass(frozen=True, kw_only=True)
class OllamaRequest:
    """A question in Ollama's words.  only_load: it asks for nothing but that the model be there."""

    question: ChatRequest
    only_load: bool = False


def parse_ollama_chat(body: bytes) -> OllamaRequest:
    """Read a body of /api/chat.  Raises BadRequestError naming the field at fault."""
    fields = parse_object(body)
    if fields.get("messages") in (None, []):
        return _request(fields, messages=(Message("user", ""),), only_load=True)
    return _request(fields, messages=messages_in(fields, arguments=dict), tools=tools_in(fields))


def parse_ollama_generate(body: bytes) -> OllamaRequest:
    """Read a body of /api/generate: a question, or with `raw` a text to go on with.  Raises BadRequestError."""
    fields = parse_object(body)
    prompt: str = optional(fields, "prompt", str, default="")
    raw = optional(fields, "raw", bool, default=False)
    system: str = optional(fields, "system", str, default="")
    if raw and system:
        raise BadRequestError("system: not with raw = true, where the prompt says all", param="system")
    if raw and prompt:
        return _request(fields, messages=(), prompt=prompt)
    with naming_fields(content="prompt"):
        messages = (*((Message("system", system),) if system else ()), Message("user", prompt))
    return _request(fields, messages=messages, only_load=not prompt)


def parse_ollama_show(body: bytes) -> str:
    """Read a body of /api/show: the model's name.  Raises BadRequestError."""
    return _model(parse_object(body))


def without_latest(name: str) -> str:
    """A model's name as this node writes it."""
    return name.removesuffix(LATEST) or name


def _request(
    fields: Mapping[str, Any],
    *,
    messages: tuple[Message, ...],
    prompt: str | None = None,
    tools: tuple[str, ...] = (),
    only_load: bool = False,
) -> OllamaRequest:
    refuse_unsupported(fields, HARMLESS)
    _check_keep_alive(fields)
    options: dict[str, Any] = optional(fields, "options", dict, default={})
    refuse_unsupported(options, HARMLESS_OPTIONS, where="options.")
    with naming_fields(schema="format", logprobs="top_logprobs"):
        sampling = _sampling(options)
        generation = GenerationRequest(
            messages, sampling, prompt=prompt, tools=tools, schema=_format(fields), logprobs=logprobs_in(fields)
        )
    extension = optional(fields, "hearthmesh", dict, default={})
    question = ChatRequest(
        model=_model(fields),
        node=name_in(extension, "node", AUTO, where="hearthmesh.node"),
        generation=generation,
        stream=optional(fields, "stream", bool, default=True),
        include_usage=True,
    )
    return OllamaRequest(question=question, only_load=only_load)


def _model(fields: Mapping[str, Any]) -> str:
    """The model's name, which older clients of /api/show call `name`."""
    key = "name" if fields.get("model") is None and fields.get("name") is not None else "model"
    if fields.get(key) is None:
        raise BadRequestError("model: the name of a model", param="model")
    return without_latest(name_in(fields, key, ""))


def _sampling(options: Mapping[str, Any]) -> SamplingParams:
    """Read the options.  Raises BadRequestError, InvalidRequestError."""
    limit: int = _option(options, "num_predict", int, SamplingParams.max_tokens)
    with naming_fields(**{own: f"options.{their}" for own, their in _OPTIONS.items()}):
        return SamplingParams(
            temperature=_option(options, "temperature", float, SamplingParams.temperature),
            top_k=_option(options, "top_k", int, SamplingParams.top_k),
            top_p=_option(options, "top_p", float, SamplingParams.top_p),
            min_p=_option(options, "min_p", float, SamplingParams.min_p),
            repetition_penalty=_option(options, "repeat_penalty", float, SamplingParams.repetition_penalty),
            presence_penalty=_option(options, "presence_penalty", float, SamplingParams.presence_penalty),
            frequency_penalty=_option(options, "frequency_penalty", float, SamplingParams.frequency_penalty),
            seed=_option(options, "seed", int, SamplingParams.seed) & MAX_SEED,
            max_tokens=MAX_NEW_TOKENS if limit in ENDLESS else limit,
            stop=stops_in(options, where="options.stop"),
        )


_OPTIONS: Final = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_tokens": "num_predict",
    "stop": "stop",
}


def _option(options: Mapping[str, Any], key: str, kind: type, default: object) -> Any:  # noqa: ANN401  as `optional`
    return optional(options, key, kind, default=default, where=f"options.{key}")


def _format(fields: Mapping[str, Any]) -> str | None:
    """Read `format`: "json", or a JSON Schema."""
    match fields.get("format"):
        case None | "":
            return None
        case "json":
            return ANY_OBJECT
        case dict(schema):
            return json_text(schema, "format")
    raise BadRequestError('format: "json", or a JSON Schema', param="format")


def _check_keep_alive(fields: Mapping[str, Any]) -> None:
    """How long a model stays loaded is the owner's business; but what is no duration is a mistake."""
    value = fields.get("keep_alive")
    if value is not None and (type(value) is bool or not isinstance(value, str | int | float)):
        raise BadRequestError("keep_alive: a duration, or a number of seconds", param="keep_alive")
