"""The tab of the community with a hundred voters, many proposals, and names that are meant to do harm, at 80x24."""

from functools import partial

import pytest
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import OptionList

from tests.sim.daemon import SimulatedDaemon
from tests.tui.conftest import focused, screen_text, until, until_gone, until_seen
from tui.app import HearthApp
from tui.glyphs import PLAIN, RICH, Glyphs
from tui.widgets.list_table import ListTable

HOSTILE = (
    "[@click=app.quit]x[/]",
    "\x1b[31mred\x1b[0m\nline\ttab",
    "界" * 64,
    "\u202egnorw",
    "[/]" * 21,
    "",
    "e\u0301" * 32,
)
VOTERS, MOTIONS = 100, 60
LETTERS = str.maketrans("0123456789", "abcdefghij")


@pytest.fixture
def crowd(daemon: SimulatedDaemon) -> SimulatedDaemon:
    """A daemon whose community is large and hostile."""
    names = [HOSTILE[number % len(HOSTILE)] for number in range(VOTERS)]
    ids = [f"{number:04}".translate(LETTERS) * 13 for number in range(VOTERS)]
    seat, motion = daemon.council["seats"][1], daemon.council["motions"][0]
    motion |= {"says": "".join(HOSTILE) * 2, "agreed": names[:3], "waiting": names[3:]}
    daemon.council |= {
        "community": HOSTILE[2],
        "quorum": 67,
        "rule": "100 voters: 67 must agree",
        "seats": [{**seat, "node_id": node, "name": name} for node, name in zip(ids, names, strict=True)],
        "motions": [{**motion, "id": f"{number:04x}" * 16} for number in range(MOTIONS)],
        "begun": [{"id": f"{number:04x}" * 16, "by": names[number], "members": names} for number in range(20)],
    }
    daemon.council["fixed"] |= {"signed": names}
    daemon.log = [{**line, "says": "".join(HOSTILE)} for line in daemon.log]
    member = daemon.status["community"]["members"][1]
    daemon.status["community"]["members"] = [
        {**member, "node_id": node, "name": name} for node, name in zip(ids, names, strict=True)
    ]
    giver = daemon.contributions["givers"][0]
    receivers = [{**giver["receivers"][0], "name": name} for name in names]
    daemon.contributions["givers"] = [{**giver, "name": name, "receivers": receivers} for name in names]
    return daemon


@pytest.mark.parametrize("glyphs", [RICH, PLAIN])
async def test_nothing_is_cut_off_without_a_sign(crowd: SimulatedDaemon, glyphs: Glyphs) -> None:
    """Every list shows rows, the titles say how many there are, and what is cut ends with an ellipsis."""
    app = HearthApp(crowd.socket_path, glyphs=glyphs)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, f"Proposed ({MOTIONS})", f"Voters ({VOTERS})", "3 of 67 agree, waiting for", "Record")
        await until(pilot, lambda: app.query_one("#record", ListTable).row_count == len(crowd.log))
        lines = screen_text(pilot).splitlines()
        assert {Content(line).cell_length for line in lines} == {80}
        (said,) = [line for line in lines if "waiting for" in line]
        assert said.rstrip().endswith(glyphs.ellipsis)
        for name in ("motions", "seats", "record"):
            table = app.query_one(f"#{name}", ListTable)
            assert table.virtual_size.width <= table.scrollable_content_region.width
            assert table.region.bottom <= pilot.app.size.height - 1  # the last line has the keys


async def test_enter_shows_all_of_a_row(crowd: SimulatedDaemon, app: HearthApp) -> None:
    """A proposal with every voter, a voter with its whole id, an entry with its author; it scrolls to its end."""
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, f"Proposed ({MOTIONS})")
        await until(pilot, lambda: app.query_one("#record", ListTable).row_count == len(crowd.log))
        for main, end in (("motions", "  0000000000"), ("seats", "Node aaaaaaaa"), ("record", "Entry ")):
            await until(pilot, partial(_focused_is, pilot, main))
            await pilot.press("enter")
            await until_seen(pilot, "Esc closes")
            await pilot.press("end")
            await until_seen(pilot, end)
            await pilot.press("escape")
            await until_gone(pilot, "Esc closes")
            await pilot.press("tab")


async def test_a_hundred_members_to_choose_from(crowd: SimulatedDaemon, app: HearthApp) -> None:
    """Two that have one name are told apart, and the questions about them fit the screen."""
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await _ask(pilot, "p", "About whom?", then=["enter"], seen="Propose about [@click=app.quit]x[/] (aaaaaaaa)")
        await pilot.press("escape")
        await _ask(pilot, "p", "About whom?", then=[], seen="About whom?")
        prompts = {str(option.prompt) for option in app.screen.query_one(OptionList).options}
        assert len(prompts) == len(crowd.council["seats"])
        await pilot.press("j", "j", "enter")
        await until_seen(pilot, "Propose about 界界")
        await pilot.press("j", "enter")
        await until_seen(pilot, "Propose (y)", "show it out", "0 of 200")


@pytest.mark.usefixtures("crowd")
async def test_hostile_questions_and_gifts(app: HearthApp) -> None:
    """The question before a vote, before going along, and the list of gifts hold whatever names there are."""
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await _ask(pilot, "y", "Say yes?", then=["escape"], seen=f"Proposed ({MOTIONS})")
        await _ask(pilot, "a", "Go along with whom?", then=["enter"], seen="97 others?")
        await pilot.press("escape")
        await _ask(pilot, "c", "Contributions", then=["end", "escape"], seen=f"Proposed ({MOTIONS})")
        assert app.is_running


def _focused_is(pilot: Pilot[None], main: str) -> bool:
    return focused(pilot) == main


async def _ask(pilot: Pilot[None], key: str, asked: str, *, then: list[str], seen: str) -> None:
    await pilot.press("4")
    await until_seen(pilot, f"Proposed ({MOTIONS})")
    await pilot.press(key)
    await until_seen(pilot, asked)
    await pilot.press(*then)
    await until_seen(pilot, seen)
