"""The application: tabs, keys, and the way between widgets and the daemon.

Widgets post what is wanted; this starts a talk (`tui.talks`) in a worker; what the talk tells is shown.
"""

import os
from pathlib import Path
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.theme import Theme
from textual.widgets import Footer, TabbedContent

from device.client import DaemonClient, Models, Status
from tui import council_talks, talks
from tui.glyphs import Glyphs, choose_glyphs
from tui.messages import (
    AnswerEnded,
    AnswerFailed,
    AnswerMoved,
    AnswerWaits,
    AskRequested,
    CouncilArrived,
    CouncilMissing,
    CouncilNews,
    DaemonLost,
    Decided,
    GiftsArrived,
    GiftsRequested,
    GoAlongRequested,
    News,
    PaperMade,
    PaperRequested,
    ProposalRequested,
    PullEnded,
    PullMoved,
    PullRequested,
    RecordArrived,
    RecordMissing,
    RemoveEnded,
    RemoveRequested,
    StatusArrived,
    StopRequested,
    VoteRequested,
)
from tui.screens.ask import AskTab
from tui.screens.community import CommunityTab
from tui.screens.gifts import GiftsScreen
from tui.screens.help import HelpScreen
from tui.screens.models import ModelsTab
from tui.screens.overview import OverviewTab
from tui.screens.paper import PaperScreen
from tui.widgets.daemon_banner import DaemonBanner
from tui.widgets.list_table import ListTable
from tui.widgets.title_line import TitleLine

EMBERS = Theme(
    name="embers",
    primary="#e2964a",
    secondary="#c9764a",
    accent="#e2964a",
    foreground="#e6ddd3",
    background="#16130f",
    surface="#1e1a15",
    panel="#2a241d",
    success="#93b978",
    warning="#dcb04e",
    error="#d9705a",
    dark=True,
    variables={"quiet": "#9a8f84"},  # what stands beside the point; a colour of its own shows in tables too
)


class HearthApp(App[None]):
    """One screen for one node; leaving it leaves the daemon running."""

    TITLE = "Hearthmesh"
    CSS_PATH = "hearth.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "show_tab('overview')", "Overview", show=False),
        Binding("2", "show_tab('models')", "Models", show=False),
        Binding("3", "show_tab('ask')", "Ask", show=False),
        Binding("4", "show_tab('community')", "Community", show=False),
        Binding("question_mark,f1", "help", "help", tooltip="these keys"),
        Binding("q", "quit", "leave", tooltip="leave; the node goes on"),
    ]

    def __init__(self, socket_path: Path, *, glyphs: Glyphs | None = None, data_dir: Path | None = None) -> None:
        """data_dir: as the person named it, if so."""
        super().__init__()
        self.register_theme(EMBERS)
        self.theme = EMBERS.name
        self.animation_level = "none"  # nothing moves that has no reason to; over SSH every frame is traffic
        self._client = DaemonClient(socket_path, data_dir=data_dir)
        self._glyphs = glyphs or choose_glyphs(os.environ)
        self.set_class(self._glyphs.plain, "-plain")

    def compose(self) -> ComposeResult:
        """Lay out title, banner, tabs and the keys."""
        yield TitleLine(self._glyphs)
        yield DaemonBanner(markup=False)
        with TabbedContent():
            yield OverviewTab(self._glyphs)
            yield ModelsTab(self._glyphs)
            yield AskTab(self._glyphs)
            yield CommunityTab(self._glyphs)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to watch the daemon."""
        self.query_one(DaemonBanner).hide()
        self.run_worker(talks.watch(self._client, self.hear), name="watch", group="watch")

    def hear(self, news: News) -> None:
        """Show what a talk tells; nothing any more while the interface is taken down."""
        if not self.is_running:
            return
        match news:
            case StatusArrived(status, models):
                self._show_status(status, models)
            case DaemonLost(reason, hint):
                self.query_one(DaemonBanner).show(reason, hint)
                self.query_one(TitleLine).show_lost()
            case PullMoved(name, progress, rate):
                self.query_one(ModelsTab).move_pull(name, progress, rate)
            case PullEnded(name, problem, hint):
                self.query_one(ModelsTab).end_pull(name)
                self._announce(problem, hint, good=f"{name} is here.")
            case RemoveEnded(name, problem, hint):
                self._announce(problem, hint, good=f"{name} is gone.")
            case AnswerWaits() | AnswerMoved() | AnswerEnded() | AnswerFailed():
                self.query_one(AskTab).hear(news)
            case _:
                self._hear_of_council(news)

    def _hear_of_council(self, news: CouncilNews) -> None:
        match news:
            case CouncilArrived() | CouncilMissing() | RecordArrived() | RecordMissing():
                self.query_one(CommunityTab).hear(news)
            case Decided(done, problem, hint):
                self._announce(problem, hint, good=done)
            case GiftsArrived(contributions):
                self.push_screen(GiftsScreen(contributions))
            case PaperMade(words):
                self.push_screen(PaperScreen(words))

    def _show_status(self, status: Status, models: Models) -> None:
        self.query_one(DaemonBanner).hide()
        self.query_one(TitleLine).show(status)
        self.query_one(OverviewTab).show(status)
        self.query_one(ModelsTab).show(models)
        self.query_one(AskTab).show(status)
        self.query_one(CommunityTab).show(status)

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Another tab is in front: its main widget gets the keys."""
        if isinstance(event.pane, OverviewTab | ModelsTab | AskTab | CommunityTab):
            event.pane.focus_main()
        if isinstance(event.pane, CommunityTab):  # what is behind other tabs need not be known
            watching = council_talks.watch_council(self._client, self.hear)
            self.run_worker(watching, name="council", group="council", exclusive=True)
        else:
            self.workers.cancel_group(self, "council")

    def on_pull_requested(self, message: PullRequested) -> None:
        """Start a pull."""
        self.run_worker(talks.pull(self._client, self.hear, message.name), name=f"pull {message.name}")

    def on_remove_requested(self, message: RemoveRequested) -> None:
        """Start a removal."""
        self.run_worker(talks.remove(self._client, self.hear, message.name), name=f"remove {message.name}")

    def on_ask_requested(self, message: AskRequested) -> None:
        """Start an answer."""
        self.run_worker(talks.ask(self._client, self.hear, message), name="ask", group="ask", exclusive=True)

    def on_vote_requested(self, message: VoteRequested) -> None:
        """Say yes or no."""
        self.run_worker(council_talks.vote(self._client, self.hear, message), name="vote")

    def on_proposal_requested(self, message: ProposalRequested) -> None:
        """Propose something."""
        self.run_worker(council_talks.propose(self._client, self.hear, message), name="propose")

    def on_go_along_requested(self, message: GoAlongRequested) -> None:
        """Leave the community for one that was begun anew."""
        self.run_worker(council_talks.go_along(self._client, self.hear, message), name="go along")

    def on_gifts_requested(self, _message: GiftsRequested) -> None:
        """Show who gave what to whom."""
        self.run_worker(council_talks.show_gifts(self._client, self.hear), name="gifts", group="gifts", exclusive=True)

    def on_paper_requested(self, _message: PaperRequested) -> None:
        """Make a paper key."""
        self.run_worker(council_talks.make_paper(self._client, self.hear), name="paper")

    def on_stop_requested(self, _message: StopRequested) -> None:
        """Stop the answer."""
        self.workers.cancel_group(self, "ask")

    def action_show_tab(self, tab: str) -> None:
        """Bring a tab to the front."""
        self.query_one(TabbedContent).active = tab

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(
            HelpScreen(
                [
                    ("Everywhere", self.BINDINGS),
                    ("In a list or a conversation", ListTable.BINDINGS),
                    ("Models", ModelsTab.BINDINGS),
                    ("Ask", AskTab.BINDINGS),
                    ("Community", CommunityTab.BINDINGS),
                ]
            )
        )

    def _announce(self, problem: str, hint: str, *, good: str) -> None:
        if problem:
            self.notify(hint, title=problem, severity="error", markup=False)
        else:
            self.notify(good, markup=False)
