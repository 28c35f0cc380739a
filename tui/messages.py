"""What passes between widgets, the app and the talks: what a person wants, and what the daemon said.

Wants are Textual messages, posted by widgets.  News are plain values that the app shows at once: put into a queue,
they could come out when the widgets they are for are gone.
"""

from dataclasses import dataclass

from textual.message import Message

from device.client import (
    Answerer,
    AnswerFinished,
    ChatMessage,
    Contributions,
    Council,
    LogLine,
    Models,
    PullProgress,
    Status,
)


@dataclass
class PullRequested(Message):
    """The person wants a model."""

    name: str


@dataclass
class RemoveRequested(Message):
    """The person wants a model gone, and has confirmed it."""

    name: str


@dataclass
class AskRequested(Message):
    """The person asks; `conversation` ends with the question."""

    conversation: tuple[ChatMessage, ...]
    model: str
    node: str


@dataclass
class StopRequested(Message):
    """The person has heard enough."""


@dataclass
class VoteRequested(Message):
    """The person says yes or no to a proposal."""

    proposal: str
    agrees: bool


@dataclass
class ProposalRequested(Message):
    """The person proposes to make a member a "voter" or an "observer", or to "remove" it; `reason` may be empty."""

    what: str
    node_id: str
    reason: str


@dataclass
class GoAlongRequested(Message):
    """The person leaves the community for one that was begun anew, by its whole id, and has confirmed it."""

    begun: str


@dataclass
class GiftsRequested(Message):
    """The person wants to see who gave what to whom."""


@dataclass
class PaperRequested(Message):
    """The person wants the twelve words of a recovery key, and knows that they come once."""


@dataclass(frozen=True)
class StatusArrived:
    """The daemon told how it is."""

    status: Status
    models: Models


@dataclass(frozen=True)
class DaemonLost:
    """The daemon did not answer."""

    reason: str
    hint: str


@dataclass(frozen=True)
class PullMoved:
    """A pull went on; rate in bytes/s, None while unknown."""

    name: str
    progress: PullProgress
    rate: float | None


@dataclass(frozen=True)
class PullEnded:
    """A pull is over; `problem` and `hint` are empty when the model is here."""

    name: str
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True)
class RemoveEnded:
    """A removal is over; `problem` and `hint` are empty when the model is gone."""

    name: str
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True)
class AnswerWaits:
    """The question waits for its turn, or for its model: `why` says it."""

    why: str


@dataclass(frozen=True)
class AnswerMoved:
    """More of the answer; `answerer` gives it."""

    text: str
    answerer: Answerer


@dataclass(frozen=True)
class AnswerEnded:
    """The answer is complete."""

    finished: AnswerFinished


@dataclass(frozen=True)
class AnswerFailed:
    """The answer ended before its end, or never began."""

    problem: str
    hint: str


@dataclass(frozen=True)
class CouncilArrived:
    """The daemon told who decides on what."""

    council: Council


@dataclass(frozen=True)
class CouncilMissing:
    """There is nothing to decide on: the node belongs to no community, for instance."""

    reason: str
    hint: str


@dataclass(frozen=True)
class RecordArrived:
    """The record has grown: its newest entries, the newest last."""

    lines: tuple[LogLine, ...]


@dataclass(frozen=True)
class RecordMissing:
    """The record cannot be followed now; what was told of it may be old."""

    reason: str


@dataclass(frozen=True)
class GiftsArrived:
    """The daemon told who gave what to whom."""

    contributions: Contributions


@dataclass(frozen=True)
class Decided:
    """What was said or proposed has been heard: `done` says so; else `problem` and `hint` say why not."""

    done: str = ""
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True)
class PaperMade:
    """The twelve words, which are kept nowhere."""

    words: str


CommunityNews = CouncilArrived | CouncilMissing | RecordArrived | RecordMissing
CouncilNews = CommunityNews | GiftsArrived | Decided | PaperMade
AnswerNews = AnswerWaits | AnswerMoved | AnswerEnded | AnswerFailed
News = StatusArrived | DaemonLost | PullMoved | PullEnded | RemoveEnded | AnswerNews | CouncilNews
