"""The question before a proposal is made, with room for a reason."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Paste
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from device.client import MAX_REASON


class ReasonInput(Input):
    """A line of printable characters, no more than a reason may have; what is pasted is cut to that."""

    def __init__(self) -> None:
        super().__init__(
            placeholder="Why? Everybody can read it in the record",
            max_length=MAX_REASON,
            id="reason",
            classes="box",
        )

    def on_mount(self) -> None:
        """Say how much there is room for."""
        self.border_title = "Reason, if you like"
        self._count()

    def on_input_changed(self) -> None:
        """Something was typed."""
        self._count()

    def _on_paste(self, event: Paste) -> None:
        """Take what there is room for, without what does not belong on a terminal."""
        event.prevent_default()
        event.stop()
        text = "".join(one if one.isprintable() else " " for one in event.text.strip())
        room = MAX_REASON - len(self.value) + len(self.selected_text)
        self.replace(text[:room], *self.selection)

    def _count(self) -> None:
        self.border_subtitle = f"{len(self.value)} of {MAX_REASON}"


class ProposeScreen(ModalScreen[str | None]):
    """The reason, "" for none; None if the person would rather not propose."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "decide(True)", "yes"),
        Binding("n,escape", "decide(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Lay out question, reason and answers."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "Enter goes on, Esc leaves it"
            yield Static(self._question, markup=False)
            yield ReasonInput()
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no", compact=True)
                yield Button("Propose (y)", id="yes", variant="error", compact=True)

    def on_input_submitted(self) -> None:
        """The reason is complete: the answers get the keys, No first."""
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button was pressed."""
        self.action_decide(event.button.id == "yes")

    def action_decide(self, sure: bool) -> None:  # noqa: FBT001  an action's argument
        """A key was pressed."""
        self.dismiss(self.query_one(ReasonInput).value.strip() if sure else None)
