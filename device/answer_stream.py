"""An answer as it streams over HTTP, read by our own client: comments with the place in the queue, chunks, the end."""

from typing import Any, Final

from device.api import Answerer, AnswerFinished, AnswerPiece, AnswerQueued
from device.errors import AnswerBrokenOffError, UnexpectedReplyError
from device.parsing import MalformedReplyError, parse, prose

MAX_PLACE_DIGITS: Final = 9
QUEUE: Final = b": queue "  # a comment in the stream


def queued(line: bytes) -> AnswerQueued:
    """Read the place in the queue.  Raises UnexpectedReplyError."""
    place = line.removeprefix(QUEUE).strip()
    if not place.isdigit() or len(place) > MAX_PLACE_DIGITS:
        raise UnexpectedReplyError("the place in the queue does not fit")
    return AnswerQueued(place=int(place))


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
                text += choice.get("delta", {}).get("content") or ""
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
