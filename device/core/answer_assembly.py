"""A neighbour's answer as it arrives: every part in its place, no more of it than was asked for."""

from device.api import AnswerQueued
from device.core.query_messages import Done, Failed, QueryMessage, Queued, Tokens
from device.errors import AnswerLostError, NeighbourFailedError, NeighbourMisbehavedError
from models.core.request import GenerationEvent, GenerationRequest, TokensGenerated

# A token is rarely more than a word; a part without tokens may finish a character of the one before.
CHARACTERS_A_TOKEN = 64
CHARACTERS_BESIDES = 4096


class AnswerAssembly:
    """Messages in, events out.  request: what was asked, and how much of the answer was there before.

    over: the neighbour has said its last word.
    """

    def __init__(self, request: GenerationRequest) -> None:
        self.over = False
        most = request.sampling.max_tokens
        self._most = most
        self._tokens = len(request.answered)
        self._characters_left = most * CHARACTERS_A_TOKEN + CHARACTERS_BESIDES - request.characters
        self._next_n = 0
        self._logprobs = request.logprobs

    def receive(self, message: QueryMessage) -> GenerationEvent | AnswerQueued | None:
        """Take one message; return what it adds to the answer, None when that is nothing.

        Raises AnswerLostError when a part is missing, NeighbourFailedError when the neighbour gave up,
        NeighbourMisbehavedError for what does not belong into an answer.
        """
        self.over = isinstance(message, Done | Failed)
        match message:
            case Tokens(n, tokens):
                if n != self._next_n:
                    raise AnswerLostError(f"part {self._next_n} of the neighbour's answer was lost on the way")
                self._next_n += 1
                self._tokens += len(tokens.ids)
                self._characters_left -= len(tokens.text)
                if self._tokens > self._most or self._characters_left < 0:
                    raise NeighbourMisbehavedError("the neighbour sent more than was asked for")
                self._check_logprobs(tokens)
                return tokens if tokens.ids or tokens.text else None
            case Done(finished):
                if finished.reason == "cancelled":
                    raise AnswerLostError("the neighbour stopped in the middle of its answer")
                if finished.completion_tokens != self._tokens:
                    raise AnswerLostError("the last part of the neighbour's answer was lost on the way")
                return finished
            case Queued(place):
                return AnswerQueued(place=place)
            case Failed(code, text):
                raise NeighbourFailedError(code, text)
        raise NeighbourMisbehavedError("the neighbour sent something that belongs into no answer")

    def _check_logprobs(self, tokens: TokensGenerated) -> None:
        most = -1 if self._logprobs is None else self._logprobs
        expected = 0 if self._logprobs is None else len(tokens.ids)
        if len(tokens.logprobs) != expected or any(len(one.top) > most for one in tokens.logprobs):
            raise NeighbourMisbehavedError("the neighbour sent other log-probabilities than were asked for")
