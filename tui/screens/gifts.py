"""Who gave what to whom, by the record: shown, never spent."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from device.client import Contributions, Giver, amount


class GiftsScreen(ModalScreen[None]):
    """Each giver with its receivers."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,c,q", "dismiss(None)", "close")]

    def __init__(self, gifts: Contributions) -> None:
        super().__init__()
        self._gifts = gifts

    def compose(self) -> ComposeResult:
        """Lay out the givers, whoever gave to most first."""
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Contributions"
            dialog.border_subtitle = "Esc closes"
            for giver in self._gifts.givers:
                yield Static(_lines(giver))
            if not self._gifts.givers:
                yield Static("The record has none yet: they are signed after a day or more of giving.", markup=False)


def _lines(giver: Giver) -> Content:
    gone = "" if giver.member else ", no member any more"
    given = amount(giver.answers, giver.tokens, giver.model_bytes)
    lines = [Content.assemble((f"{giver.name}{gone}", "$primary"), f"  {given}")]
    lines += [
        Content.styled(f"  to {one.name}: {amount(one.answers, one.tokens, one.model_bytes)}", "$quiet")
        for one in giver.receivers
    ]
    return Content("\n").join(lines)
