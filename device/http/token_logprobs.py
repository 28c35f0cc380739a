"""How likely the tokens of an answer were, as OpenAI's two APIs and Ollama's write it.

Source: OpenAI's API reference, chat/object and completions/object; Ollama's API reference, logprobs.
"""

from collections.abc import Sequence
from typing import Any

from models.core.request import TokenLogprob


def token_fields(one: TokenLogprob) -> dict[str, Any]:
    """A token and its alternatives, with their bytes: a token may be a part of a character."""
    return _spelled(one.token, one.logprob) | {"top_logprobs": [_spelled(token, value) for token, value in one.top]}


class TextLogprobs:
    """The lists of /v1/completions; offsets are counted over all chunks of one answer."""

    def __init__(self) -> None:
        self._offset = 0

    def fields(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        """Write the next tokens."""
        offsets = []
        for one in tokens:
            offsets.append(self._offset)
            self._offset += len(_text(one.token))
        return {
            "tokens": [_name(one.token) for one in tokens],
            "token_logprobs": [one.logprob for one in tokens],
            # The token itself is always one of them.
            "top_logprobs": [
                {_name(token): value for token, value in (*one.top, (one.token, one.logprob))} for one in tokens
            ],
            "text_offset": offsets,
        }


def _spelled(token: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _text(token), "logprob": logprob, "bytes": list(token)}


def _text(token: bytes) -> str:
    """A token as text; what is no whole character shows as one that is missing."""
    return token.decode(errors="replace")


def _name(token: bytes) -> str:
    """A token as a key: parts of characters are told apart, in OpenAI's way."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)
