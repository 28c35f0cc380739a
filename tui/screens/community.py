"""Tab 4: who decides, on what, and what stands in the community's record."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static, TabPane

from device.client import (
    Council,
    LogLine,
    Member,
    Motion,
    Status,
    short_id,
)
from tui.council_text import (
    NAME_CELLS,
    begun_anew,
    brief,
    entry_row,
    going_along,
    heading,
    motion_row,
    seat_row,
    whole_entry,
    whole_motion,
    whole_seat,
)
from tui.glyphs import Glyphs
from tui.messages import (
    CommunityNews,
    CouncilArrived,
    CouncilMissing,
    GiftsRequested,
    GoAlongRequested,
    PaperRequested,
    ProposalRequested,
    RecordArrived,
    RecordMissing,
    VoteRequested,
)
from tui.record_window import RECORD_LINES
from tui.screens.choice import ChoiceScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.propose import ProposeScreen
from tui.screens.whole import WholeScreen
from tui.widgets.list_table import ListTable

PAPER = (
    "Make twelve words that replace this board if it is lost? They come once and are kept nowhere:"
    " have paper and pen ready. Whoever has them can vote for you."
)
TITLES = {"motions": "Proposed", "seats": "Voters", "record": "Record"}
GAPS = 6  # cells around a list's columns, and its scroll bar
MIN_ROOM = 20
OBSERVES = "This node does not vote: a voter's owner proposes and answers."


class CommunityTab(TabPane):
    """The rule in a sentence, proposals, voters, and the newest entries of the record."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n", "answer(False)", "no"),
        Binding("p", "propose", "propose"),
        Binding("w", "paper", "paper", tooltip="twelve words that replace a lost board"),
        Binding("enter", "whole", "all of what stands in a row", show=False),
        Binding("c", "gifts", "contributions"),
        Binding("a", "go_along", "go along", tooltip="go along with a community that was begun anew"),
    ]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("4 Community", id="community")
        self._glyphs = glyphs
        self._council: Council | None = None
        self._members: tuple[Member, ...] = ()
        self._lines: tuple[LogLine, ...] = ()

    def compose(self) -> ComposeResult:
        """Lay out the rule over three lists."""
        with VerticalScroll(id="rules"):
            yield Static(id="rule", markup=False)
        for name, columns in (
            ("motions", ("Proposal", "", "Your answer")),
            ("seats", ("", "", "")),
            ("record", ("", "")),
        ):
            table = ListTable(columns, id=name)
            table.add_class("box")
            table.border_title = TITLES[name]
            yield table
            if name == "motions":
                yield Static(id="motion", markup=False)

    def show(self, status: Status) -> None:
        """Take note of who belongs."""
        self._members = status.community.members if status.community else ()

    def hear(self, news: CommunityNews) -> None:
        """Draw what the daemon told."""
        match news:
            case CouncilMissing(reason, hint):
                self._council, self._lines = None, ()
                self.query_one("#rule", Static).update(f"{reason}: {hint}")
                for name in ("#motions", "#seats", "#record"):
                    self.query_one(name, ListTable).show([])
            case CouncilArrived(council):
                self._council = council
                self._draw(council)
            case RecordArrived(lines):
                self._lines = lines
                full = len(lines) == RECORD_LINES
                self.query_one("#record").border_subtitle = (
                    f"the newest {RECORD_LINES}; all: hearth log" if full else ""
                )
                self._draw_record()
            case RecordMissing(reason):
                self.query_one("#record").border_subtitle = Content(reason)
        self._describe()
        self.refresh_bindings()

    def focus_main(self) -> None:
        """Put the keys where they are most wanted."""
        self.query_one("#motions").focus()

    def on_data_table_row_highlighted(self) -> None:
        """Another row is under the cursor."""
        self._describe()

    def action_answer(self, agrees: bool) -> None:  # noqa: FBT001  an action's argument
        """Say yes or no to the chosen proposal, after a question."""
        motion = self._chosen
        if motion is None or not self._may():
            return

        def decided(sure: bool | None) -> None:  # noqa: FBT001  the screen's result
            if sure:
                self.post_message(VoteRequested(motion.id, agrees))

        word = "yes" if agrees else "no"
        self.app.push_screen(ConfirmScreen(f"{motion.says}. Say {word}?", yes=f"Say {word}"), decided)

    def action_propose(self) -> None:
        """Choose a member, then what is to become of it."""
        if not self._may():
            return
        others = [(one.node_id, f"{self._called(one)}, {one.role}") for one in self._members]
        members = {one.node_id: one for one in self._members}

        def chosen(node_id: str | None) -> None:
            if node_id:
                self._propose_about(members[node_id])

        self.app.push_screen(ChoiceScreen("About whom?", others, chosen=""), chosen)

    def action_paper(self) -> None:
        """Make a paper key, after a question."""

        def decided(sure: bool | None) -> None:  # noqa: FBT001  the screen's result
            if sure:
                self.post_message(PaperRequested())

        if self._may():
            self.app.push_screen(ConfirmScreen(PAPER, yes="Show them"), decided)

    def action_go_along(self) -> None:
        """Choose what a member began anew, and leave this community for it after a question."""
        council = self._council
        begun = {one.id: one for one in (council.begun if council else ())}

        def chosen(key: str | None) -> None:
            if key and council:
                question = going_along(begun[key], council, self._glyphs)
                self.app.push_screen(ConfirmScreen(question, yes="Go along"), lambda sure: decided(key, sure=sure))

        def decided(key: str, *, sure: bool | None) -> None:
            if sure:
                self.post_message(GoAlongRequested(key))

        if len(begun) == 1:
            chosen(next(iter(begun)))
        elif begun:
            options = [(key, begun_anew(one, self._glyphs)) for key, one in begun.items()]
            self.app.push_screen(ChoiceScreen("Go along with whom?", options, chosen=""), chosen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  Textual's own
        """Whether a key is there: going along only where somebody began anew."""
        return action != "go_along" or bool(self._council and self._council.begun)

    def action_gifts(self) -> None:
        """Show who gave what to whom."""
        self.post_message(GiftsRequested())

    def _propose_about(self, member: Member) -> None:
        what = ("observer", "make it an observer") if member.role == "voter" else ("voter", "make it a voter")
        options = [what, ("remove", "show it out of the community")]
        words = dict(options)
        name = self._called(member)

        def chosen(choice: str | None) -> None:
            if choice:
                question = f"Propose about {name}: {words[choice]}? A voter who is alone decides it by that."
                self.app.push_screen(ProposeScreen(question), lambda reason: decided(choice, reason))

        def decided(choice: str, reason: str | None) -> None:
            if reason is not None:
                self.post_message(ProposalRequested(choice, member.node_id, reason))

        self.app.push_screen(ChoiceScreen(f"Propose about {name}", options, chosen=""), chosen)

    def _called(self, member: Member) -> str:
        return f"{self._glyphs.clip(member.name, NAME_CELLS)} ({short_id(member.node_id)})"  # several may be called so

    def _may(self) -> bool:
        """Whether this node votes; if not, that is said."""
        if self._council is not None and not self._council.votes:
            self.app.notify(OBSERVES, markup=False)
        return self._council is not None and self._council.votes

    def on_resize(self) -> None:
        """Another width has room for more, or less."""
        self._draw_record()
        self._describe()

    def on_data_table_row_selected(self) -> None:
        """Enter or a click."""
        self.action_whole()

    def action_whole(self) -> None:
        """Show all of the row under the cursor."""
        council, focused = self._council, self.app.focused
        if council is None or not isinstance(focused, ListTable):
            return
        whole = {
            "motions": {one.id: whole_motion(one, council) for one in council.motions},
            "seats": {seat.node_id: whole_seat(seat) for seat in council.seats},
            "record": {line.id: whole_entry(line) for line in self._lines},
        }
        if text := whole[focused.id or ""].get(focused.selected or ""):
            self.app.push_screen(WholeScreen(TITLES[focused.id or ""], text))

    def _draw(self, council: Council) -> None:
        self.query_one("#rule", Static).update(heading(council, self._glyphs))
        for name, rows in (
            ("motions", [(one.id, motion_row(one, council)) for one in council.motions]),
            ("seats", [(seat.node_id, seat_row(seat, self._glyphs)) for seat in council.seats]),
        ):
            table = self.query_one(f"#{name}", ListTable)
            table.border_title = f"{TITLES[name]} ({len(rows)})" if rows else TITLES[name]
            table.show(rows)

    def _draw_record(self) -> None:
        lines, table = self._lines, self.query_one("#record", ListTable)
        room = self._room - max([len(str(line.number)) for line in lines], default=0) - GAPS
        at_newest = table.cursor_row <= 0
        table.show([(line.id, entry_row(line, self._glyphs, room)) for line in lines[::-1]])
        if at_newest:  # who reads further down stays there
            table.move_cursor(row=0, animate=False)

    @property
    def _room(self) -> int:
        """Cells in a line, between borders and what is kept free beside them."""
        return max(MIN_ROOM, self.size.width - 4)

    @property
    def _chosen(self) -> Motion | None:
        chosen = self.query_one("#motions", ListTable).selected
        return next((one for one in (self._council.motions if self._council else ()) if one.id == chosen), None)

    def _describe(self) -> None:
        motion, council = self._chosen, self._council
        text = "" if council is None else "Nothing is proposed."
        if motion is not None and council is not None:
            text = brief(motion, council, self._glyphs, self._room)
        self.query_one("#motion", Static).update(text)
