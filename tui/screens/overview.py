"""Tab 1: this node and its neighbours."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static, TabPane

from device.client import Neighbour, Status, count, duration, fingerprint_lines, short_id, size
from tui.glyphs import Glyphs
from tui.widgets.facts import Facts
from tui.widgets.list_table import ListTable

_STYLES = {"linked": "$success", "reachable": "$success", "connecting": "$warning", "blocked": "$error"}


class OverviewTab(TabPane):
    """What an owner wants to know at a glance."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("1 Overview", id="overview")
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """Lay out the facts above the table; those of HTTPS where that is wanted."""
        with Horizontal(id="node", classes="box") as node:
            node.border_title = "This node"
            yield Facts(id="facts-left")
            yield Facts(id="facts-right")
        https = Facts(id="https", classes="box")
        https.border_title = "HTTPS"
        yield https
        neighbours = ListTable(("Neighbour", "Id", "State", "Since", "Models"), id="neighbours")
        neighbours.add_class("box")
        neighbours.border_title = "Neighbours"
        yield neighbours
        yield Static(
            "No neighbours yet. Pair with one: type  hearth pair  here and  hearth join WORDS  there.",
            id="no-neighbours",
            markup=False,
        )

    def show(self, status: Status) -> None:
        """Draw the status."""
        community, queries = status.community, status.queries
        members = f"{community.name}, {count(len(community.members), 'member')}" if community else "none yet"
        self.query_one("#facts-left", Facts).show(
            [
                ("name", status.name),
                ("id", short_id(status.node_id)),
                ("up", duration(status.uptime_s)),
                ("http", f"{status.http.host}:{status.http.port}"),
                ("mesh", f"mqtt {status.mqtt.port}, door {status.door.port}"),
            ]
        )
        self.query_one("#facts-right", Facts).show(
            [
                ("community", members),
                ("models", ", ".join(model.name for model in status.models) or "none here: see 2 Models"),
                ("memory", f"{size(status.memory.rss_bytes)}, {size(status.memory.available_bytes)} left"),
                ("questions", f"{queries.running} running, {queries.waiting} waiting"),
                ("so far", f"{queries.asked} asked, {queries.answered} for others"),
            ]
        )
        self.query_one("#https").display = status.https is not None
        if status.https:
            first, second = fingerprint_lines(status.https.fingerprint)
            self.query_one("#https", Facts).show([(f"port {status.https.port}, SHA-256", first), ("", second)])
        self.query_one("#neighbours", ListTable).show([(node.node_id, self._row(node)) for node in status.neighbours])
        self.query_one("#no-neighbours").display = not status.neighbours

    def _row(self, node: Neighbour) -> tuple[Content, ...]:
        mark = self._glyphs.linked if node.hops else self._glyphs.absent
        state = f"{node.hops} hops away" if node.hops > 1 else node.state
        return (
            Content(node.name).truncate(20, ellipsis=False),
            Content.styled(short_id(node.node_id), "$quiet"),
            Content.styled(f"{mark} {state}", _STYLES.get(node.state, "$quiet")),
            Content(duration(node.since_s)),
            Content(", ".join(model.name for model in node.models) or "-"),
        )

    def focus_main(self) -> None:
        """Put the keys where they are most wanted."""
        self.query_one("#neighbours").focus()
