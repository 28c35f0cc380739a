"""One line that says how far a pull is: redrawn in place on a terminal, a line now and then elsewhere."""

from typing import TYPE_CHECKING, TextIO

from device.cli.printing import clip, columns
from device.wording import Pace, pull_figures, share

if TYPE_CHECKING:
    from device.api_of_models import PullProgress

_BAR_CELLS = 20
_TERMINAL_STEP = 0.001  # of the whole: no terminal is busy for what nobody can see
_PLAIN_STEP = 0.25  # where nothing can be redrawn


class PullLine:
    """Shows the progress of one pull on `stream`."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream = stream
        self._terminal = stream.isatty()
        self._stage = ""
        self._pace = Pace()
        self._told = 0.0
        self._open = False

    def show(self, progress: "PullProgress", *, now: float) -> None:
        """Draw, unless nothing worth it has changed; `now` is monotonic."""
        rate = self._pace.rate(progress, now=now)
        step = _TERMINAL_STEP if self._terminal else _PLAIN_STEP
        if progress.stage == self._stage and share(progress) < self._told + step:
            return
        self._stage, self._told = progress.stage, share(progress)
        if self._terminal:
            self._draw(describe(self._name, progress, rate=rate))
        else:
            self._stream.write(describe(self._name, progress, rate=None) + "\n")
            self._stream.flush()

    def end(self) -> None:
        """Leave the line that was drawn."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

    def _draw(self, text: str) -> None:
        room = columns() - 1  # the last column would wrap on some terminals
        self._stream.write("\r" + clip(text, room).ljust(room))
        self._stream.flush()
        self._open = True


def describe(name: str, progress: "PullProgress", *, rate: float | None) -> str:
    """One line: name, stage, bar, share, bytes, rate (bytes/s) and time left."""
    if progress.total <= 0:
        return f"{name}  {progress.stage}"
    full = int(share(progress) * _BAR_CELLS)
    bar = f"[{'#' * full}{'.' * (_BAR_CELLS - full)}]"
    return f"{name}  {progress.stage:8}  {bar}  {pull_figures(progress, rate)}"
