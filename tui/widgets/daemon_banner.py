"""What stands across the screen while the daemon does not answer."""

from textual.content import Content
from textual.widgets import Static


class DaemonBanner(Static):
    """Hidden while all is well."""

    def show(self, reason: str, hint: str) -> None:
        """Say what is wrong and what to do; the interface itself goes on looking."""
        self.update(Content.assemble((reason, "bold"), "\n", Content(hint), "\nLooking again every second."))
        self.display = True

    def hide(self) -> None:
        """The daemon answers."""
        self.display = False
