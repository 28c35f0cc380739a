"""What widgets want, and what the daemon said: the only things that pass between widgets, the app and the talks."""

from dataclasses import dataclass

from textual.message import Message

from device.client import Answerer, AnswerFinished, ChatMessage, Models, PullProgress, Status


@dataclass
class StatusArrived(Message):
    """The daemon told how it is."""

    status: Status
    models: Models


@dataclass
class DaemonLost(Message):
    """The daemon did not answer."""

    reason: str
    hint: str


@dataclass
class PullRequested(Message):
    """The person wants a model."""

    name: str


@dataclass
class PullMoved(Message):
    """A pull went on; rate in bytes/s, None while unknown."""

    name: str
    progress: PullProgress
    rate: float | None


@dataclass
class PullEnded(Message):
    """A pull is over; `problem` and `hint` are empty when the model is here."""

    name: str
    problem: str = ""
    hint: str = ""


@dataclass
class RemoveRequested(Message):
    """The person wants a model gone, and has confirmed it."""

    name: str


@dataclass
class RemoveEnded(Message):
    """A removal is over; `problem` and `hint` are empty when the model is gone."""

    name: str
    problem: str = ""
    hint: str = ""


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
class AnswerMoved(Message):
    """More of the answer; `answerer` gives it."""

    text: str
    answerer: Answerer


@dataclass
class AnswerEnded(Message):
    """The answer is complete."""

    finished: AnswerFinished


@dataclass
class AnswerFailed(Message):
    """The answer ended before its end, or never began."""

    problem: str
    hint: str
