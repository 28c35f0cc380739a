"""One question and its answer as it grows, with who gives it."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from device.client import Answerer, AnswerFinished, answered_by, short_id, speed
from tui.glyphs import Glyphs


class Turn(Vertical):
    """Question, answer, note; foreign text is drawn as it is, never read as markup."""

    def __init__(self, question: str, glyphs: Glyphs) -> None:
        super().__init__()
        self.question = question
        self.answer = ""
        self._by: Answerer | None = None
        self._glyphs = glyphs
        self._answer = Static(classes="answer", markup=False)
        self._note = Static(f"asking{glyphs.ellipsis}", classes="note", markup=False)

    def compose(self) -> ComposeResult:
        """Lay the three parts out."""
        yield Static(Content(self.question), classes="question")
        yield self._answer
        yield self._note

    def wait(self, why: str) -> None:
        """It is not being answered yet."""
        self._note.update(f"{why}{self._glyphs.ellipsis}  Esc stops it")

    def grow(self, text: str, by: Answerer) -> None:
        """More of the answer arrived."""
        if by != self._by:
            self._by = by
            self._note.update(f"{self._who(by)} answers with {by.model}{self._glyphs.ellipsis}  Esc stops it")
        self.answer += text
        self._answer.update(Content(self.answer.strip()))

    def finish(self, finished: AnswerFinished) -> None:
        """The answer is complete."""
        one = "this node" if finished.answerer.local else ""
        cut = ", cut at the length allowed" if finished.finish_reason == "length" else ""
        pace = speed(finished.tokens_per_s)
        self._note.update(f"{self._glyphs.dash} answered by {answered_by(finished, one=one)}, {pace}{cut}")

    def stop(self) -> None:
        """The person stopped it."""
        self._note.update(f"{self._glyphs.dash} stopped")

    def fail(self, problem: str, hint: str) -> None:
        """It went wrong."""
        self._note.update(f"{problem}\n{hint}")
        self._note.add_class("problem")

    @staticmethod
    def _who(by: Answerer) -> str:
        return "this node" if by.local else f"{by.node_name} ({short_id(by.node_id)})"
