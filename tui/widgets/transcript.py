"""The conversation, newest at the bottom."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from tui.glyphs import Glyphs
from tui.widgets.turn import Turn

MAX_TURNS = 100  # of a session that goes on for weeks


class Transcript(VerticalScroll):
    """The turns of this session; follows the newest unless the person scrolled up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "scroll down", show=False),
        Binding("k,up", "scroll_up", "scroll up", show=False),
        Binding("g,home", "scroll_home", "to the beginning", show=False),
        Binding("G,end", "scroll_end", "to the end", show=False),
    ]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(id="transcript")
        self._glyphs = glyphs
        self.turns: list[Turn] = []

    def begin(self, question: str) -> Turn:
        """Add a turn."""
        turn = Turn(question, self._glyphs)
        self.turns.append(turn)
        for old in self.turns[:-MAX_TURNS]:
            old.remove()
        del self.turns[:-MAX_TURNS]
        self.mount(turn)
        self.anchor()
        return turn

    def clear(self) -> None:
        """Forget all turns."""
        self.turns.clear()
        self.remove_children()
