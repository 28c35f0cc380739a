"""The newest entries of the community's record, kept while they come one by one."""

from collections import deque

from device.client import LogLine

RECORD_LINES = 100


class RecordWindow:
    """No more than the newest lines, as the record numbers them."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=RECORD_LINES)

    def take(self, line: LogLine) -> bool:
        """Add a line that comes next; False where it does not: those after it have other numbers now."""
        if self._lines and line.number != self._lines[-1].number + 1:
            return False
        self._lines.append(line)
        return True

    def clear(self) -> None:
        """Forget all lines: they are to be fetched anew."""
        self._lines.clear()

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """All that are kept, the newest last."""
        return tuple(self._lines)
