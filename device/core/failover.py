"""One answer that several nodes may give in turn: what the asker has of it, and when another node may go on.

The asker holds token ids, not only text: whoever holds the same model goes on from them as if it had begun.
"""

from dataclasses import replace
from typing import Final

from device.api import Answerer, AnswerPart
from device.errors import AnswerLostError, BusyError, EnginesEndedError, NeighbourFailedError
from device.wording import named
from mesh.errors import LinkDownError, QueueFullError
from models.core.request import GenerationRequest, TokensGenerated
from models.errors import (
    EngineError,
    InvalidRequestError,
    InvalidTemplateError,
    ModelsError,
    OutOfMemoryError,
    PromptTooLongError,
    UnforeseenError,
    WorkerDiedError,
    WorkerProtocolError,
)

# What a neighbour says of itself; the other codes speak of the question, which is the same everywhere.
OF_THE_NODE: Final = frozenset({"no_such_model", "busy", "stopping", "engine_failed"})
# An engine that came to an end, a neighbour's and the own one.
ENDED_THERE: Final = frozenset({"engine_failed", "unforeseen"})
ENDED_HERE: Final = (EngineError, OutOfMemoryError, WorkerDiedError, WorkerProtocolError)
MOST_ENDED: Final = 2  # on one question: one engine may have a trouble of its own, two have the question in common
TOO_LONG: Final = "prompt_too_long"


class AnswerSoFar:
    """What has arrived of an answer, from whom, and who could not go on.

    by: whose turn it is; begun: as far as is known somebody computes it, or did, so that its prompt counts as read.
    """

    def __init__(self, question: GenerationRequest, by: Answerer) -> None:
        self.by = by
        self.begun = False
        self.failed: set[str] = set()
        self._ended: list[Answerer] = []  # whose engines did, in this answer
        self._question = question
        self._ids: list[int] = []
        self._characters = 0
        self._turns = [(by, 0)]  # with the number of the token each began at

    @property
    def tokens(self) -> int:
        """How many tokens are there."""
        return len(self._ids)

    def rest(self) -> GenerationRequest:
        """The question as whoever's turn it is gets it: with what the asker has already."""
        return replace(self._question, answered=tuple(self._ids), characters=self._characters)

    def add(self, part: TokensGenerated) -> None:
        """Keep what arrived."""
        self.begun = True
        self._ids += part.ids
        self._characters += len(part.text)

    def pass_on(self, by: Answerer) -> None:
        """The node whose turn it was cannot go on; `by` does."""
        self.failed.add(self.by.node_id)
        self.by = by
        self._turns.append((by, self.tokens))

    @property
    def first(self) -> Answerer:
        """Who gave the first token; until there is one, whose turn it is."""
        return next((by for by, _, tokens in self._runs() if tokens), self.by)

    def parts(self) -> tuple[AnswerPart, ...]:
        """Who gave which tokens; nothing where it was one node alone."""
        given = tuple(
            AnswerPart(node_id=by.node_id, node_name=by.node_name, from_token=start, tokens=tokens)
            for by, start, tokens in self._runs()
            if tokens
        )
        return given if len(given) > 1 else ()

    def _runs(self) -> list[tuple[Answerer, int, int]]:
        ends = [start for _, start in self._turns[1:]] + [self.tokens]
        return [(by, start, end - start) for (by, start), end in zip(self._turns, ends, strict=True)]

    def turn_ended(self, error: Exception) -> None:
        """Keep what ended the turn, before anything is made of it."""
        there = isinstance(error, NeighbourFailedError) and error.code in ENDED_THERE
        if there or isinstance(error, ENDED_HERE):
            self._ended.append(self.by)

    @property
    def ends_engines(self) -> bool:
        """Whether so many ended on this question that it is not let loose on those of all who hold the model."""
        return len(self._ended) >= MOST_ENDED

    def may_pass_on(self, error: Exception) -> bool:
        """Whether another node could do better than the one whose turn ended with `error`.

        A neighbour that breaks the protocol ends the answer: what it sent before may be as wrong.
        """
        match error:
            case NeighbourFailedError(code=code):
                # A beginning that is too long for one node's context may fit another's.
                return code in OF_THE_NODE or (code == TOO_LONG and self.tokens > 0)
            case PromptTooLongError():
                return self.tokens > 0
            case InvalidRequestError() | InvalidTemplateError() | UnforeseenError():
                return False  # what fails so at one engine would take those of all others, one after the other
        return isinstance(error, AnswerLostError | BusyError | LinkDownError | QueueFullError | ModelsError)

    def given_up(self, error: Exception) -> EnginesEndedError:
        """What the asker is told when `error` ended the last engine that may end on this question."""
        where = " and ".join(named(one.node_name, one.node_id) for one in self._ended)
        return EnginesEndedError(f"{len(self._ended)} engines ended on this question, at {where}: {error}")

    def broken_off(self, error: Exception, *, pinned: bool) -> Exception:
        """What the asker is told when `error` ended the answer and nobody goes on; pinned: nobody else was to."""
        if not self.tokens or (self.by.local and not self.failed):
            return error  # there is no more to say
        by = named(self.by.node_name, self.by.node_id)
        why = f"only {by} was to give it" if pinned else f"nobody else in reach holds {self.by.model}"
        lost = AnswerLostError(f"the answer broke off after {self.tokens} tokens at {by}: {error}; {why}")
        lost.hint = "ask again, without a node of your choice" if pinned else "ask again"
        return lost
