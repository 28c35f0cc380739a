"""Tab 3: ask, and see who answers."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Static, TabPane

from device.client import Answerer, AnswerFinished, ChatMessage, Status, short_id
from tui.glyphs import Glyphs
from tui.messages import (
    AnswerEnded,
    AnswerFailed,
    AnswerMoved,
    AnswerNews,
    AnswerWaits,
    AskRequested,
    StopRequested,
)
from tui.screens.choice import ChoiceScreen
from tui.widgets.transcript import Transcript
from tui.widgets.turn import Turn

MAX_QUESTION_CHARACTERS = 100_000  # far beyond any context


class AskTab(TabPane):
    """The conversation of this session, and the line to ask with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "edit", "ask", show=False, tooltip="send the question; back to the line"),
        Binding("escape", "stop", "stop", tooltip="stop the answer"),
        Binding("escape", "leave_line", "leave", tooltip="leave the line, so that the other keys work"),
        Binding("ctrl+o", "choose_model", "model", tooltip="choose the model"),
        Binding("ctrl+n", "choose_node", "node", tooltip="choose who answers"),
        Binding("ctrl+l", "start_anew", "anew", tooltip="forget the conversation"),
    ]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("3 Ask", id="ask")
        self._glyphs = glyphs
        self._status: Status | None = None
        self._conversation: list[ChatMessage] = []
        self._turn: Turn | None = None  # the one that is being answered
        self.model = "default"
        self.node = "auto"

    def compose(self) -> ComposeResult:
        """Lay out the conversation over the line."""
        yield Transcript(self._glyphs)
        yield Static(id="asking")
        question = Input(
            placeholder="Ask something. Enter sends it.", id="question", max_length=MAX_QUESTION_CHARACTERS
        )
        question.cursor_blink = False  # over SSH each blink is traffic
        question.add_class("box")
        yield question

    def on_mount(self) -> None:
        """Show whom a question goes to."""
        self._show_target()

    def show(self, status: Status) -> None:
        """Know which nodes and models there are to choose from."""
        self._status = status

    def focus_main(self) -> None:
        """Put the keys where they are most wanted."""
        self.query_one("#question").focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Esc stops while an answer runs and leaves the line while none does."""
        if action == "stop":
            return self._turn is not None
        if action == "leave_line":
            return self._turn is None and self.query_one("#question").has_focus
        return super().check_action(action, parameters)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: ask."""
        question = event.value.strip()
        if not question:
            return
        if self._turn is not None:
            self.notify("One at a time: Esc stops the answer.", severity="warning")
            return
        event.input.clear()
        self._turn = self.query_one(Transcript).begin(question)
        self.refresh_bindings()
        conversation = (*self._conversation, ChatMessage(role="user", content=question))
        self.post_message(AskRequested(conversation, self.model, self.node))

    def hear(self, news: AnswerNews) -> None:
        """Show what became of the question."""
        match news:
            case AnswerWaits(why):
                self.wait(why)
            case AnswerMoved(text, answerer):
                self.grow(text, answerer)
            case AnswerEnded(finished):
                self.finish(finished)
            case AnswerFailed(problem, hint):
                self.fail(problem, hint)

    def wait(self, why: str) -> None:
        """The question is not being answered yet."""
        if self._turn is not None:
            self._turn.wait(why)

    def grow(self, text: str, answerer: Answerer) -> None:
        """More of the answer arrived."""
        if self._turn is not None:
            self._turn.grow(text, answerer)

    def finish(self, finished: AnswerFinished) -> None:
        """The answer is complete, and part of the conversation from now on."""
        if (turn := self._take_turn()) is not None:
            turn.finish(finished)
            self._conversation += [
                ChatMessage(role="user", content=turn.question),
                ChatMessage(role="assistant", content=turn.answer),
            ]

    def fail(self, problem: str, hint: str) -> None:
        """The answer went wrong; the conversation stays as it was before the question."""
        if (turn := self._take_turn()) is not None:
            turn.fail(problem, hint)

    def action_stop(self) -> None:
        """Stop the answer."""
        if (turn := self._take_turn()) is not None:
            self.post_message(StopRequested())
            turn.stop()

    def action_leave_line(self) -> None:
        """Leave the line, so that the other keys work."""
        self.query_one(Transcript).focus()

    def action_edit(self) -> None:
        """Go back to the line."""
        self.focus_main()

    def action_start_anew(self) -> None:
        """Forget the conversation."""
        if self._take_turn() is not None:
            self.post_message(StopRequested())
        self._conversation.clear()
        self.query_one(Transcript).clear()

    def action_choose_model(self) -> None:
        """Choose which model answers."""
        names: dict[str, str] = {"default": "default: what this node's settings say"}
        if self._status:
            names |= {model.name: f"{model.name}, here" for model in self._status.models}
            for node in self._status.neighbours:
                names |= {m.name: f"{m.name}, at {node.name}" for m in node.models if m.name not in names}

        def chosen(model: str | None) -> None:
            self.model = model or self.model
            self._show_target()

        self.app.push_screen(ChoiceScreen("Which model", list(names.items()), chosen=self.model), chosen)

    def action_choose_node(self) -> None:
        """Choose who answers."""
        options = [("auto", "auto: whoever can, this node first"), ("local", "local: this node alone")]
        if self._status:
            options += [
                (node.node_id, f"{node.name} {short_id(node.node_id)}, {node.state}")
                for node in self._status.neighbours
            ]

        def chosen(node: str | None) -> None:
            self.node = node or self.node
            self._show_target()

        self.app.push_screen(ChoiceScreen("Who answers", options, chosen=self.node), chosen)

    def _take_turn(self) -> Turn | None:
        turn, self._turn = self._turn, None
        self.refresh_bindings()
        return turn

    def _show_target(self) -> None:
        names = {node.node_id: node.name for node in self._status.neighbours} if self._status else {}
        self.query_one("#asking", Static).update(
            Content.assemble(
                ("model ", "$quiet"),
                Content(self.model),
                ("   node ", "$quiet"),
                names.get(self.node, self.node),
            )
        )
