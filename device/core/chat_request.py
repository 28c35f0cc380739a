"""A body of /v1/chat/completions, parsed once into a frozen value; nothing behind it sees raw JSON.

Source: OpenAI's API reference, chat/create.  Unknown fields are ignored as OpenAI's server does; known ones that this
version does not do and that would change the answer are refused.  Without `temperature` the answer is greedy (0), so
that the same question gives the same answer on every node that holds the model.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from device.core.chat_messages import messages_in, response_format_in, tool_choice_in, tools_in
from device.core.json_fields import name_in, optional, parse_object, refuse_unsupported
from device.core.routing import AUTO, DEFAULT_MODEL
from device.errors import BadRequestError
from models.core.request import MAX_LOGPROBS, MAX_NEW_TOKENS, MAX_SEED, GenerationRequest, SamplingParams
from models.errors import InvalidRequestError

MAX_STOPS: Final = 4

# Fields that would change the answer, with the values that ask for nothing.
HARMLESS: Final[Mapping[str, tuple[object, ...]]] = {
    "n": (1,),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """A conversation to continue or a text to complete, by which model, where, and how the answer travels.

    parallel_tool_calls: whether the answer may call more than one tool.
    """

    model: str
    node: str
    generation: GenerationRequest
    stream: bool
    include_usage: bool
    parallel_tool_calls: bool = True


def parse_chat_request(body: bytes) -> ChatRequest:
    """Read a body.  Raises BadRequestError (NotSupportedError) naming the field at fault."""
    fields = parse_object(body)
    refuse_unsupported(fields, HARMLESS)
    with naming_fields(schema="response_format", logprobs="top_logprobs"):
        generation = GenerationRequest(
            messages_in(fields),
            sampling_in(fields),
            tools=tools_in(fields),
            tool_choice=tool_choice_in(fields),
            schema=response_format_in(fields),
            logprobs=logprobs_in(fields),
        )
    parallel = optional(fields, "parallel_tool_calls", bool, default=True)
    return openai_request(fields, generation, parallel_tool_calls=parallel)


def openai_request(
    fields: Mapping[str, Any], generation: GenerationRequest, *, parallel_tool_calls: bool = True
) -> ChatRequest:
    """Read what OpenAI's two ways of asking have in common.  Raises BadRequestError."""
    options = optional(fields, "stream_options", dict, default={})
    extension = optional(fields, "hearthmesh", dict, default={})
    return ChatRequest(
        model=name_in(fields, "model", DEFAULT_MODEL),
        node=name_in(extension, "node", AUTO, where="hearthmesh.node"),
        generation=generation,
        stream=optional(fields, "stream", bool, default=False),
        include_usage=optional(options, "include_usage", bool, default=False, where="stream_options.include_usage"),
        parallel_tool_calls=parallel_tool_calls,
    )


@contextmanager
def naming_fields(**renamed: str) -> Iterator[None]:
    """Turn InvalidRequestError into a BadRequestError with the field's name.

    renamed: what the body calls a field that a GenerationRequest calls differently.
    """
    try:
        yield
    except InvalidRequestError as error:
        own, _, rest = str(error).partition(":")
        name = renamed.get(own, own)
        raise BadRequestError(f"{name}:{rest}", param=name) from error


def sampling_in(fields: Mapping[str, Any]) -> SamplingParams:
    """Read how tokens are chosen.  Raises BadRequestError, InvalidRequestError."""
    older = _limit(fields, "max_tokens", SamplingParams.max_tokens)
    return SamplingParams(
        temperature=optional(fields, "temperature", float, default=SamplingParams.temperature),
        top_k=optional(fields, "top_k", int, default=SamplingParams.top_k),
        top_p=optional(fields, "top_p", float, default=SamplingParams.top_p),
        min_p=optional(fields, "min_p", float, default=SamplingParams.min_p),
        repetition_penalty=optional(fields, "repetition_penalty", float, default=SamplingParams.repetition_penalty),
        presence_penalty=optional(fields, "presence_penalty", float, default=SamplingParams.presence_penalty),
        frequency_penalty=optional(fields, "frequency_penalty", float, default=SamplingParams.frequency_penalty),
        # OpenAI's seeds may be negative: the sign is dropped, which still gives equal seeds equal answers.
        seed=optional(fields, "seed", int, default=SamplingParams.seed) & MAX_SEED,
        max_tokens=_limit(fields, "max_completion_tokens", older),
        stop=stops_in(fields),
    )


def stops_in(fields: Mapping[str, Any], *, where: str = "stop") -> tuple[str, ...]:
    """Read `stop`: a text or a list of texts.  Raises BadRequestError."""
    value = fields.get("stop")
    texts = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or len(texts) > MAX_STOPS or not all(isinstance(text, str) for text in texts):
        raise BadRequestError(f"{where}: a text or a list of up to {MAX_STOPS} texts", param=where)
    return tuple(texts)


def logprobs_in(fields: Mapping[str, Any]) -> int | None:
    """Read `logprobs` and `top_logprobs`: how many alternatives of each token; None for no logprobs."""
    count: int = optional(fields, "top_logprobs", int, default=0)
    wanted = optional(fields, "logprobs", bool, default=count > 0)
    if not 0 <= count <= MAX_LOGPROBS:
        raise BadRequestError(f"top_logprobs: 0 to {MAX_LOGPROBS}", param="top_logprobs")
    return count if wanted else None


def _limit(fields: Mapping[str, Any], key: str, default: int) -> int:
    limit: int = optional(fields, key, int, default=default)
    if not 1 <= limit <= MAX_NEW_TOKENS:
        raise BadRequestError(f"{key}: 1 to {MAX_NEW_TOKENS}", param=key)
    return limit
