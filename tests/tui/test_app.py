"""The frame around the tabs: keys, help, a daemon that goes and comes, terminals of every size."""

from functools import partial
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.sim.daemon import SimulatedDaemon
from tests.tui.conftest import focused, screen_text, until, until_gone, until_seen
from tui.app import HearthApp
from tui.glyphs import PLAIN, RICH, choose_glyphs


async def test_numbers_switch_tabs(app: HearthApp) -> None:
    """1, 2 and 3 bring a tab to the front and put the keys where they are most wanted."""
    async with app.run_test() as pilot:
        await until_seen(pilot, "kitchen")
        assert focused(pilot) == "neighbours"
        for key, main in (("2", "model-table"), ("3", "question")):
            await pilot.press(key)
            await until(pilot, partial(_focused_is, pilot, main))
        await pilot.press("escape", "1")
        await until(pilot, lambda: focused(pilot) == "neighbours")


def _focused_is(pilot: Pilot[None], main: str) -> bool:
    return focused(pilot) == main


async def test_help_shows_every_binding(app: HearthApp) -> None:
    """`?` lists what the bindings themselves say; a second press closes it."""
    async with app.run_test() as pilot:
        await until_seen(pilot, "kitchen")
        await pilot.press("question_mark")
        await until_seen(pilot, "leave; the node goes on", "down a row", "pull", "forget the conversation")
        await pilot.press("question_mark")
        await until_gone(pilot, "forget the conversation")


async def test_leaving_leaves_the_daemon_running(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """`q` ends the interface; the daemon is asked for nothing but how it is."""
    async with app.run_test() as pilot:
        await until_seen(pilot, "kitchen")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)
    assert app.return_code == 0
    assert {path for _, path, _ in daemon.asked} == {"/api/status", "/api/models"}


async def test_a_daemon_that_goes_and_comes(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """The loss is said with what to do, the last state stays in sight, and the return is noticed by itself."""
    async with app.run_test() as pilot:
        await until_seen(pilot, "running", "workshop")
        daemon.stop()
        await until_seen(pilot, "Hearthmesh is not running here", "start it: hearth serve", "not running", "workshop")
        daemon.status["name"] = "kitchen again"
        daemon.start()
        await until_seen(pilot, "kitchen again")
        await until_gone(pilot, "start it: hearth serve")


async def test_a_daemon_that_is_not_there_yet(daemon: SimulatedDaemon) -> None:
    """The interface may be opened first."""
    daemon.stop()
    app = HearthApp(daemon.socket_path, glyphs=RICH, data_dir=Path("my hearth"))
    async with app.run_test() as pilot:
        await until_seen(pilot, "start it: hearth serve --data 'my hearth'")
        daemon.start()
        await until_seen(pilot, "kitchen", "workshop")


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (160, 48)])
async def test_terminals_of_any_size(daemon: SimulatedDaemon, size: tuple[int, int]) -> None:
    """However small, every tab and the help can be walked through."""
    app = HearthApp(daemon.socket_path, glyphs=RICH)
    async with app.run_test(size=size) as pilot:
        await until_seen(pilot, "hearthmesh")
        for key in ("2", "1", "3", "f1", "escape", "escape", "1"):
            await pilot.press(key)
            await pilot.pause()
        await until(pilot, lambda: focused(pilot) == "neighbours")


async def test_a_terminal_that_changes_its_size(app: HearthApp) -> None:
    """The title keeps to both ends of its line."""
    async with app.run_test() as pilot:
        await until_seen(pilot, "● running")
        await pilot.resize_terminal(120, 30)
        await until(pilot, lambda: len(screen_text(pilot).splitlines()[0].rstrip()) == 119)
        assert screen_text(pilot).splitlines()[0].rstrip().endswith("● running")


async def test_plain_terminals_get_ascii_alone(daemon: SimulatedDaemon) -> None:
    """Borders, marks and dashes all have an ASCII form."""
    app = HearthApp(daemon.socket_path, glyphs=PLAIN)
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "* running", "workshop")
        seen = screen_text(pilot)
        await pilot.press("2", "j", "p")
        await until_seen(pilot, "41 %")
        seen += screen_text(pilot)
        daemon.release()
        await until_seen(pilot, "smollm2-135m is here.")
        seen += screen_text(pilot)
        await pilot.press("d", "escape", "3", *"Hi", "enter")
        await until_seen(pilot, "-- answered by workshop")
        seen += screen_text(pilot)
        await pilot.press("ctrl+n")
        await until_seen(pilot, "Who answers")
        seen += screen_text(pilot)
        daemon.stop()
        await until_seen(pilot, "- not running")
        seen += screen_text(pilot)
    assert not [line for line in seen.splitlines() if not line.isascii()]


async def test_nothing_from_outside_is_read_as_markup(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Brackets in names, descriptions, answers and errors stand on the screen as they came."""
    daemon.status["name"] = "[bold]me[/]"
    daemon.status["neighbours"][0]["name"] = "[@click=app.quit]x[/]"
    daemon.status["models"][0]["description"] = "[red]tales[/red]"
    daemon.answer = ("see [link", "=x]here[/link", "] [/nope]")
    async with app.run_test() as pilot:
        await until_seen(pilot, "[bold]me[/]", "[@click=app.quit]x[/")
        await pilot.press("2")
        await until_seen(pilot, "[red]tales[/red]")
        await pilot.press("3", *"hi", "enter")
        await until_seen(pilot, "see [link=x]here[/link] [/nope]", "tokens/s")


@pytest.mark.parametrize(
    ("env", "plain"),
    [
        ({}, False),
        ({"LANG": "en_GB.UTF-8"}, False),
        ({"LANG": "de_DE.utf8", "TERM": "xterm"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "en_GB.UTF-8", "TERM": "linux"}, True),
    ],
)
def test_glyphs_follow_locale_and_terminal(env: dict[str, str], plain: bool) -> None:  # noqa: FBT001  a parameter
    """ASCII where the locale or the terminal has no more."""
    assert choose_glyphs(env).plain is plain
