"""An answer as it streams over HTTP, read by our own client: comments with why it waits, chunks, the end."""

from typing import Any, Final

from device.api import AnswerDelayed, Answerer, AnswerFinished, AnswerLoading, AnswerPiece, AnswerQueued
from device.errors import AnswerBrokenOffError, UnexpectedReplyError
from device.parsing import MalformedReplyError, parse, prose

MAX_PLACE_DIGITS: Final = 9
ALL: Final = 100  # per cent


def delayed(line: bytes) -> AnswerDelayed | None:
    """Read why an answer has not begun, which comments in its stream say; None for other lines.

    Raises UnexpectedReplyError.
    """
    match line.split():
        case [b":", b"loading"]:
            return AnswerLoading(converted_percent=0)
        case [b":", b"queue", place] if place.isdigit() and len(place) <= MAX_PLACE_DIGITS:
            return AnswerQueued(place=int(place))
        case [b":", b"converting", percent] if percent.isdigit() and int(percent[:MAX_PLACE_DIGITS]) <= ALL:
            return AnswerLoading(converted_percent=int(percent))
        case [b":", b"queue" | b"converting", *_]:
            raise UnexpectedReplyError("what is said of the waiting does not fit")
    return None


class AnswerStream:
    """What the chunks of one streamed answer add up to."""

    def __init__(self) -> None:
        self._about: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._reason = ""

    def feed(self, fields: dict[str, Any]) -> AnswerPiece | None:
        """Take one chunk; the words in it, if any."""
        text = ""
        try:
            self._about |= fields.get("hearthmesh") or {}
            usage = fields.get("usage") or {}
            self._usage |= usage | usage.get("prompt_tokens_details", {})
            for choice in fields.get("choices", []):
                self._reason = choice.get("finish_reason") or self._reason
                text += choice.get("delta", choice).get("content") or choice.get("text") or ""
        except (AttributeError, TypeError, ValueError) as error:
            raise UnexpectedReplyError("a piece of the answer does not fit") from error
        text = prose(text)
        return AnswerPiece(text=text, answerer=self._answerer()) if text else None

    def finish(self) -> AnswerFinished:
        """Sum up; AnswerBrokenOffError if the last chunk never came."""
        if not self._reason:
            raise AnswerBrokenOffError("the answer broke off")
        try:
            return parse(
                AnswerFinished,
                {**self._usage, **self._about, "answerer": self._about, "finish_reason": self._reason},
                "answer",
            )
        except MalformedReplyError as error:
            raise UnexpectedReplyError(f"the end of the answer does not fit: {error}") from error

    def _answerer(self) -> Answerer:
        try:
            return parse(Answerer, self._about, "answer.hearthmesh")
        except MalformedReplyError as error:
            raise UnexpectedReplyError(f"the answer does not say who gives it: {error}") from error
