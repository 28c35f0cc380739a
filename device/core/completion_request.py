"""A body of /v1/completions: a text to go on with, no conversation.

Source: OpenAI's API reference, completions/create.  The same rules as for conversations: unknown fields are ignored,
what would change the answer is refused.
"""

from collections.abc import Mapping
from typing import Any, Final

from device.core.chat_request import ChatRequest, naming_fields, openai_request, sampling_in
from device.core.json_fields import optional, parse_object, refuse_unsupported
from device.errors import BadRequestError, NotSupportedError
from models.core.request import GenerationRequest

HARMLESS: Final[Mapping[str, tuple[object, ...]]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logit_bias": ({},),
}


def parse_completion_request(body: bytes) -> ChatRequest:
    """Read a body.  Raises BadRequestError (NotSupportedError) naming the field at fault."""
    fields = parse_object(body)
    refuse_unsupported(fields, HARMLESS)
    with naming_fields():
        generation = GenerationRequest(
            (), sampling_in(fields), prompt=_prompt(fields), logprobs=optional(fields, "logprobs", int, default=None)
        )
    return openai_request(fields, generation)


def _prompt(fields: Mapping[str, Any]) -> str:
    """Read one text.  Ids of tokens are refused: they mean something to one model only."""
    match fields.get("prompt"):
        case str(text) | [str(text)] if text:
            return text
        case [_, _, *_]:
            raise NotSupportedError("prompt: one text; several, or ids of tokens, are not supported", param="prompt")
    raise BadRequestError("prompt: a text that is not empty, or a list of one", param="prompt")
