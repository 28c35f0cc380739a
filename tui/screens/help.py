"""The keys, read from the bindings themselves."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

_KEYS = {
    "question_mark": "?",
    "f1": "F1",
    "escape": "Esc",
    "enter": "Enter",
    "home": "Home",
    "end": "End",
    "up": "Up",
    "down": "Down",
}


class HelpScreen(ModalScreen[None]):
    """Every key with what it does, by where it does it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q", "dismiss(None)", "close")]

    def __init__(self, sections: Sequence[tuple[str, Sequence[BindingType]]]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> ComposeResult:
        """Lay out the sections."""
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Keys"
            dialog.border_subtitle = "Esc closes"
            for title, bindings in self._sections:
                yield Static(title, classes="section", markup=False)
                yield Static(Content("\n").join(_line(binding) for binding in bindings if isinstance(binding, Binding)))


def _line(binding: Binding) -> Content:
    keys = " ".join(_name(key) for key in binding.key.split(","))
    return Content.assemble((f"  {keys:14}", "bold"), Content(binding.tooltip or binding.description))


def _name(key: str) -> str:
    return _KEYS.get(key) or (f"^{key[-1]}" if key.startswith("ctrl+") else key)
