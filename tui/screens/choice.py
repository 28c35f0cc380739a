"""A list to choose one thing from."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option


class ChoiceScreen(ModalScreen[str]):
    """The chosen key; Esc leaves things as they are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "leave it"),
        Binding("j", "move('down')", "down", show=False),
        Binding("k", "move('up')", "up", show=False),
    ]

    def __init__(self, title: str, options: Sequence[tuple[str, str]], *, chosen: str) -> None:
        super().__init__()
        self._title = title
        self._options = options
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """Lay out the list of (key, text)."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._title)  # it may hold a name from elsewhere: no markup
            yield OptionList(*(Option(Content(text), id=key) for key, text in self._options), compact=True)

    def on_mount(self) -> None:
        """Begin at what is chosen now."""
        keys = [key for key, _ in self._options]
        self.query_one(OptionList).highlighted = keys.index(self._chosen) if self._chosen in keys else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click."""
        self.dismiss(event.option_id or "")

    def action_move(self, way: str) -> None:
        """Move as the arrows do."""
        options = self.query_one(OptionList)
        if way == "down":
            options.action_cursor_down()
        else:
            options.action_cursor_up()
