"""Tab 4: who decides, on what, and what stands in the community's record."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static, TabPane

from device.client import (
    Contributions,
    Council,
    LogLine,
    Member,
    Motion,
    Seat,
    Status,
    short_id,
)
from tui.council_text import begun_anew, going_along, heading, progress
from tui.glyphs import Glyphs
from tui.messages import (
    CouncilArrived,
    CouncilMissing,
    GoAlongRequested,
    PaperRequested,
    ProposalRequested,
    VoteRequested,
)
from tui.screens.choice import ChoiceScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.gifts import GiftsScreen
from tui.screens.propose import ProposeScreen
from tui.widgets.list_table import ListTable

PAPER = (
    "Make twelve words that replace this board if it is lost? They come once and are kept nowhere:"
    " have paper and pen ready. Whoever has them can vote for you."
)
OBSERVES = "This node does not vote: a voter's owner proposes and answers."


class CommunityTab(TabPane):
    """The rule in a sentence, proposals, voters, and the newest entries of the record."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n", "answer(False)", "no"),
        Binding("p", "propose", "propose"),
        Binding("w", "paper", "paper", tooltip="twelve words that replace a lost board"),
        Binding("c", "gifts", "contributions"),
        Binding("a", "go_along", "go along", tooltip="go along with a community that was begun anew"),
    ]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("4 Community", id="community")
        self._glyphs = glyphs
        self._council: Council | None = None
        self._members: tuple[Member, ...] = ()
        self._gifts = Contributions(givers=())

    def compose(self) -> ComposeResult:
        """Lay out the rule over three lists."""
        with VerticalScroll(id="rules"):
            yield Static(id="rule", markup=False)
        for name, title, columns in (
            ("motions", "Proposed", ("Proposal", "", "Your answer")),
            ("seats", "Voters", ("", "", "")),
            ("record", "Record", ("", "")),
        ):
            table = ListTable(columns, id=name)
            table.add_class("box")
            table.border_title = title
            yield table
            if name == "motions":
                yield Static(id="motion", markup=False)

    def show(self, status: Status) -> None:
        """Take note of who belongs."""
        self._members = status.community.members if status.community else ()

    def hear(self, news: CouncilArrived | CouncilMissing) -> None:
        """Draw what the daemon told."""
        if isinstance(news, CouncilMissing):
            self._council = None
            self.query_one("#rule", Static).update(f"{news.reason}: {news.hint}")
            for name in ("#motions", "#seats", "#record"):
                self.query_one(name, ListTable).show([])
        else:
            self._council = news.council
            self._draw(news.council)
            if news.record is not None:
                self.query_one("#record", ListTable).show([(line.id, self._entry(line)) for line in news.record[::-1]])
            self._gifts = news.contributions or self._gifts
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
        others = [(one.node_id, f"{one.name}, {one.role}") for one in self._members]
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
        self.app.push_screen(GiftsScreen(self._gifts))

    def _propose_about(self, member: Member) -> None:
        what = ("observer", "make it an observer") if member.role == "voter" else ("voter", "make it a voter")

        options = [what, ("remove", "show it out of the community")]
        words = dict(options)

        def chosen(choice: str | None) -> None:
            if choice:
                question = f"Propose about {member.name}: {words[choice]}? A voter who is alone decides it by that."
                self.app.push_screen(ProposeScreen(question), lambda reason: decided(choice, reason))

        def decided(choice: str, reason: str | None) -> None:
            if reason is not None:
                self.post_message(ProposalRequested(choice, member.node_id, reason))

        self.app.push_screen(ChoiceScreen(f"Propose about {member.name}", options, chosen=""), chosen)

    def _may(self) -> bool:
        """Whether this node votes; if not, that is said."""
        if self._council is not None and not self._council.votes:
            self.app.notify(OBSERVES, markup=False)
        return self._council is not None and self._council.votes

    def _draw(self, council: Council) -> None:
        self.query_one("#rule", Static).update(heading(council, self._glyphs))
        self.query_one("#motions", ListTable).show([(one.id, self._motion(one, council)) for one in council.motions])
        self.query_one("#seats", ListTable).show([(seat.node_id, self._seat(seat)) for seat in council.seats])

    def _motion(self, one: Motion, council: Council) -> tuple[Content, ...]:
        return (
            Content.styled(short_id(one.id), "$quiet"),
            Content(f"{len(one.agreed)} of {council.quorum} agree"),
            Content.styled(one.answer or "none yet", "$quiet" if one.answer else "$warning"),
        )

    def _seat(self, seat: Seat) -> tuple[Content, ...]:
        marks = [
            *(["this node"] if seat.this_node else []),
            "has left" if seat.left else "has a paper" if seat.paper else "no paper: its vote dies with the board",
        ]
        return (
            Content(seat.name).truncate(20, ellipsis=False),
            Content.styled(short_id(seat.node_id), "$quiet"),
            Content.styled(", ".join(marks), "$quiet"),
        )

    def _entry(self, line: LogLine) -> tuple[Content, ...]:
        says = line.says if line.counts else f"(does not count) {line.says}"
        return Content.styled(str(line.number), "$quiet"), Content(says)

    @property
    def _chosen(self) -> Motion | None:
        chosen = self.query_one("#motions", ListTable).selected
        return next((one for one in (self._council.motions if self._council else ()) if one.id == chosen), None)

    def _describe(self) -> None:
        motion, council = self._chosen, self._council
        text = "" if council is None else "Nothing is proposed."
        if motion is not None and council is not None:
            text = f"{motion.says}. {progress(motion, council, self._glyphs)}"
        self.query_one("#motion", Static).update(text)
