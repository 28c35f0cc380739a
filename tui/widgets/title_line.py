"""The first line: which node this is."""

from textual.content import Content
from textual.widgets import Static

from device.client import Status, short_id
from tui.glyphs import Glyphs


class TitleLine(Static):
    """The node's name and id on the left, whether it answers on the right."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._left = Content.styled("hearthmesh", "bold $primary")
        self._right = Content()

    def show(self, status: Status) -> None:
        """The daemon answers."""
        self._left = Content.assemble(
            ("hearthmesh", "bold $primary"),
            "  ",
            (status.name, "bold"),
            "  ",
            (short_id(status.node_id), "$quiet"),
        )
        self._right = Content.styled(f"{self._glyphs.linked} running", "$success")
        self.on_resize()

    def show_lost(self) -> None:
        """The daemon does not answer."""
        self._right = Content.styled(f"{self._glyphs.absent} not running", "$error")
        self.on_resize()

    def on_resize(self) -> None:
        """Draw both ends of the line at its width."""
        gap = max(2, self.content_size.width - self._left.cell_length - self._right.cell_length)
        self.update(Content.assemble(self._left, " " * gap, self._right))
