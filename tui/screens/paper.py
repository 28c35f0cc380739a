"""The twelve words of a recovery key, once."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.screens.confirm import ConfirmScreen

COLUMNS = 3
SURE = "Have you written them down, all twelve? They are not shown again."
AFTER = (
    "Write them down now: they are kept nowhere, and whoever has them can vote for you. If this board is lost, type"
    " them at another member's: hearth community recover WORDS."
)


class PaperScreen(ModalScreen[None]):
    """The words, numbered, until the person says that they are written down."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "close", "they are written down")]

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words.split()

    def compose(self) -> ComposeResult:
        """Lay out the words in rows."""
        numbered = [f"{number:2} {word:<10}" for number, word in enumerate(self._words, 1)]
        rows = ["".join(numbered[start : start + COLUMNS]) for start in range(0, len(numbered), COLUMNS)]
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Your paper"
            dialog.border_subtitle = "Esc when they are written down"
            yield Static("\n".join(rows), markup=False)
            yield Static(AFTER, classes="after", markup=False)

    def action_close(self) -> None:
        """Go away if they are written down; else the words are still there."""

        def decided(sure: bool | None) -> None:  # noqa: FBT001  the screen's result
            if sure:
                self.dismiss()

        self.app.push_screen(ConfirmScreen(SURE, yes="Written down"), decided)
