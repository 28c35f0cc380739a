"""How each tab looks at 80x24.  After an intended change: pytest tests/tui/test_snapshots.py --snapshot-update."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import HTTPS
from tests.tui.conftest import until_seen
from tui.app import HearthApp
from tui.glyphs import PLAIN, RICH

Compare = Callable[..., bool]


def test_overview(snap_compare: Compare, app: HearthApp) -> None:
    """This node and its neighbours."""
    assert snap_compare(app, run_before=_seeing("workshop"))


def test_overview_with_https(snap_compare: Compare, daemon: SimulatedDaemon, app: HearthApp) -> None:
    """The fingerprint that a browser must show, whole."""
    daemon.status["https"] = HTTPS
    assert snap_compare(app, run_before=_seeing("workshop", finally_=HTTPS["fingerprint"][-47:]))


def test_models(snap_compare: Compare, app: HearthApp) -> None:
    """The store, the catalogue and a pull half-way."""
    assert snap_compare(app, run_before=_seeing("stories-42m", then=["2", "j", "p"], finally_="41 %"))


def test_ask(snap_compare: Compare, app: HearthApp) -> None:
    """A question answered by a neighbour, and one that failed."""

    async def talk(pilot: Pilot[None]) -> None:
        await until_seen(pilot, "workshop")
        await pilot.press("3", *"What is the capital of France?", "enter")
        await until_seen(pilot, "tokens/s")
        await pilot.press(*"fail", "enter")
        await until_seen(pilot, "ask again")

    assert snap_compare(app, run_before=talk)


def test_community(snap_compare: Compare, app: HearthApp) -> None:
    """Who decides, what is proposed, and the record."""
    assert snap_compare(app, run_before=_seeing("workshop", then=["4"], finally_="founded the community"))


def test_help(snap_compare: Compare, app: HearthApp) -> None:
    """The keys."""
    assert snap_compare(app, run_before=_seeing("workshop", then=["question_mark"], finally_="Esc closes"))


def test_plain(snap_compare: Compare, daemon: SimulatedDaemon) -> None:
    """The overview on a terminal of ASCII."""
    assert snap_compare(HearthApp(daemon.socket_path, glyphs=PLAIN), run_before=_seeing("workshop"))


def test_no_daemon(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody at the socket."""
    monkeypatch.chdir(tmp_path)  # the path of the socket stands on the screen
    assert snap_compare(HearthApp(Path("api.sock"), glyphs=RICH), run_before=_seeing("hearth serve"))


def _seeing(first: str, *, then: list[str] | None = None, finally_: str = "") -> Callable[[Pilot[None]], Any]:
    """Wait for `first`, press the keys, wait for `finally_`."""

    async def run(pilot: Pilot[None]) -> None:
        await until_seen(pilot, first)
        await pilot.press(*(then or []))
        await until_seen(pilot, finally_)

    return run
