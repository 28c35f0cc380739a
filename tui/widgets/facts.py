"""`name  value` lines, names dim and aligned."""

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static


class Facts(Static):
    """A column of facts; a value too long for its line is cut at the edge."""

    def show(self, facts: Sequence[tuple[str, str]]) -> None:
        """Draw these facts instead of those before."""
        width = max(len(name) for name, _ in facts)
        self.update(
            Content("\n").join(
                Content.assemble((name.ljust(width), "$quiet"), "  ", Content(value)) for name, value in facts
            )
        )
