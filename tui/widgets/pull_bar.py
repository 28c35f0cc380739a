"""One pull: name, stage, bar and figures on a line."""

from textual.content import Content
from textual.widgets import Static

from device.client import PullProgress, pull_figures, share
from tui.glyphs import Glyphs

_CELLS = 20


class PullBar(Static):
    """How far one pull is."""

    def __init__(self, name: str, glyphs: Glyphs) -> None:
        super().__init__(Content(f"{name}  asking the daemon"))
        self._model = name
        self._glyphs = glyphs

    def show(self, progress: PullProgress, rate: float | None) -> None:
        """Draw the progress; rate in bytes/s."""
        full = int(share(progress) * _CELLS)
        bar = ((self._glyphs.full * full, "$primary"), (self._glyphs.empty * (_CELLS - full), "$quiet"))
        known = bar if progress.total > 0 else ()
        self.update(
            Content.assemble(
                Content(self._model), f"  {progress.stage:8}  ", *known, f"  {pull_figures(progress, rate)}"
            )
        )
