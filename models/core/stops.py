"""Stop strings in a stream of text pieces that may cut them anywhere."""


class StopScanner:
    """Passes text through until a stop string is complete; no part of that string ever gets out.

    Where several match, the one completed first counts, and of those the longest: so the result does not depend on how
    the text was cut into pieces.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""  # the end of the text so far that may yet become a stop string
        self.stopped = False

    def feed(self, text: str) -> str:
        """Take the next piece; return what is certain to belong to the answer."""
        if self.stopped:
            return ""
        pending = self._held + text
        matches = [(start + len(stop), start) for stop in self._stops if (start := pending.find(stop)) >= 0]
        if matches:
            _, start = min(matches)
            self.stopped, self._held = True, ""
            return pending[:start]
        held = max((_overlap(pending, stop) for stop in self._stops), default=0)
        self._held = pending[len(pending) - held :]
        return pending[: len(pending) - held]

    def finish(self) -> str:
        """Return what was held back, now that no more text comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)
