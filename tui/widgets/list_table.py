"""A table of rows to move through with arrows or j k g G."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable


class ListTable(DataTable[Content]):
    """Rows by key; the cursor stays on its row when the rows around it change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "cursor_down", "down a row", show=False),
        Binding("k,up", "cursor_up", "up a row", show=False),
        Binding("g,home", "scroll_top", "first row", show=False),
        Binding("G,end", "scroll_bottom", "last row", show=False),
    ]

    def __init__(self, columns: Sequence[str], *, id: str) -> None:  # noqa: A002  Textual's own name for it
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, show_header=any(columns))
        self._columns = columns
        self._rows: tuple[tuple[str, tuple[Content, ...]], ...] = ()

    def on_mount(self) -> None:
        """Draw the header."""
        self.add_columns(*self._columns)

    @property
    def selected(self) -> str | None:
        """Key of the row under the cursor."""
        return self._rows[self.cursor_row][0] if 0 <= self.cursor_row < len(self._rows) else None

    def show(self, rows: Sequence[tuple[str, tuple[Content, ...]]]) -> None:
        """Draw (key, cells) rows; nothing happens if they are those already there."""
        if self._rows == (rows := tuple(rows)):
            return
        selected = self.selected
        self._rows = rows
        self.clear(columns=True)
        for index, label in enumerate(self._columns):
            self.add_column(label, width=max([len(label), *(cells[index].cell_length for _, cells in rows)]))
        for key, cells in rows:
            self.add_row(*cells, key=key)
        keys = [key for key, _ in rows]
        if selected in keys:
            self.move_cursor(row=keys.index(selected), animate=False)
