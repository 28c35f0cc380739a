"""What OpenAI's two ways of asking have in common: events of a stream, and usage.

Beyond OpenAI, every answer says who gave it and with which model, in `hearthmesh` and in two headers; the end adds how
fast it was.  Where several nodes gave it in turn, the headers and the end name the first, each chunk names its own, and
the end lists the parts.
"""

import json
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from device.api import AnswerFinished
from device.http.errors import error_fields
from device.http.turns import OWN_ERRORS

DONE: Final = b"data: [DONE]\n\n"


def head_of(prefix: str, model: str) -> dict[str, Any]:
    """What every object of one answer begins with."""
    return {"id": f"{prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}


async def events_of(objects: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    """Write objects as server-sent events, [DONE] at the end; what goes wrong becomes an error event before it."""
    try:
        async with aclosing(objects):
            async for fields in objects:
                yield _event(fields)
    except OWN_ERRORS as error:
        yield _event({"error": error_fields(error)})
    yield DONE


def usage_of(end: AnswerFinished) -> dict[str, Any]:
    """How many tokens were read and written, and how many of the prompt's had been read before."""
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.completion_tokens,
        "total_tokens": end.prompt_tokens + end.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": end.cached_tokens},
    }


def _event(fields: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"
