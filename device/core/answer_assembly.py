"""A neighbour's answer as it arrives: every part in its place, no more of it than was asked for."""

from collections.abc import Iterator

from device.core.query_messages import Done, Failed, QueryMessage, Tokens
from device.errors import AnswerLostError, NeighbourFailedError, NeighbourMisbehavedError
from models.core.worker_protocol import GenerationEvent


class AnswerAssembly:
    """Messages in, events out; over once it has given the end or raised.  max_tokens: what the question allows."""

    def __init__(self, *, max_tokens: int) -> None:
        self.over = False
        self._tokens_left = max_tokens
        self._next_n = 0

    def receive(self, message: QueryMessage) -> Iterator[GenerationEvent]:
        """Take one message; yield what it adds to the answer.

        Raises AnswerLostError when a part is missing, NeighbourFailedError when the neighbour gave up,
        NeighbourMisbehavedError for anything that does not belong into an answer.
        """
        try:
            match message:
                case Tokens(n, tokens):
                    self._check_place(n)
                    self._tokens_left -= len(tokens.ids)
                    if self._tokens_left < 0:
                        raise NeighbourMisbehavedError("the neighbour sent more tokens than were asked for")
                    if tokens.ids or tokens.text:
                        yield tokens
                case Done(finished) if finished.reason != "cancelled":
                    self.over = True
                    yield finished
                case Done():
                    raise AnswerLostError("the neighbour stopped in the middle of its answer")
                case Failed(code, text):
                    raise NeighbourFailedError(code, text)
                case _:
                    raise NeighbourMisbehavedError("the neighbour sent something that belongs into no answer")
        except (AnswerLostError, NeighbourFailedError, NeighbourMisbehavedError):
            self.over = True
            raise

    def _check_place(self, n: int) -> None:
        if n != self._next_n:
            raise AnswerLostError(f"part {self._next_n} of the neighbour's answer was lost on the way")
        self._next_n += 1
