"""One line that says how far a pull is: redrawn in place on a terminal, a line now and then elsewhere."""

from typing import TYPE_CHECKING, TextIO

from device.cli.printing import clip, columns
from device.wording import duration, size

if TYPE_CHECKING:
    from device.api import PullProgress

_BAR_CELLS = 20
_REDRAW_S = 0.1
_PLAIN_STEP = 0.25  # of the whole, where nothing can be redrawn
_RATE_WINDOW_S = 0.5  # before that a rate is noise
_IN_BYTES = ("download", "verify", "install")


class PullLine:
    """Shows the progress of one pull on `stream`."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream = stream
        self._terminal = stream.isatty()
        self._stage = ""
        self._began_at = self._drawn_at = 0.0
        self._began_done = 0
        self._told = 0.0
        self._open = False

    def show(self, progress: "PullProgress", *, now: float) -> None:
        """Draw, unless nothing worth it has changed; `now` is monotonic."""
        new_stage = progress.stage != self._stage
        if new_stage:
            self._stage, self._began_at, self._began_done, self._told = progress.stage, now, progress.done, 0.0
        if self._terminal:
            if new_stage or now - self._drawn_at >= _REDRAW_S or progress.done == progress.total:
                self._drawn_at = now
                self._draw(describe(self._name, progress, rate=self._rate(progress, now)))
        elif new_stage or _share(progress) >= self._told + _PLAIN_STEP:
            self._told = _share(progress)
            self._stream.write(describe(self._name, progress, rate=None) + "\n")
            self._stream.flush()

    def end(self) -> None:
        """Leave the line that was drawn."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

    def _rate(self, progress: "PullProgress", now: float) -> float | None:
        """Bytes a second since the stage began; None while that says nothing."""
        elapsed = now - self._began_at
        if progress.stage != "download" or elapsed < _RATE_WINDOW_S:
            return None
        return (progress.done - self._began_done) / elapsed

    def _draw(self, text: str) -> None:
        room = columns() - 1  # the last column would wrap on some terminals
        self._stream.write("\r" + clip(text, room).ljust(room))
        self._stream.flush()
        self._open = True


def describe(name: str, progress: "PullProgress", *, rate: float | None) -> str:
    """One line: name, stage, bar, share, bytes, rate (bytes/s) and time left."""
    if progress.total <= 0:
        return f"{name}  {progress.stage}"
    share = _share(progress)
    full = int(share * _BAR_CELLS)
    parts = [name, f"{progress.stage:8}", f"[{'#' * full}{'.' * (_BAR_CELLS - full)}]", f"{share:4.0%}"]
    if progress.stage in _IN_BYTES:
        parts.append(f"{size(progress.done)} of {size(progress.total)}")
    if rate:
        left = (progress.total - progress.done) / rate
        parts.append(f"{size(rate)}/s, {duration(left)} left")
    return "  ".join(parts)


def _share(progress: "PullProgress") -> float:
    return min(1.0, max(0.0, progress.done / progress.total)) if progress.total > 0 else 0.0
