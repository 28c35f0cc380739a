"""The tab of the community: who decides, on what, and what its record says; and the dialogs that it opens."""

import asyncio

import pytest
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Input

from device.client import MAX_REASON
from mesh.core import ballots
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import EMBER_ID, SPARK_ID
from tests.tui.conftest import focused, screen_text, until, until_gone, until_seen
from tui.app import HearthApp
from tui.glyphs import RICH
from tui.record_window import RECORD_LINES
from tui.widgets.list_table import ListTable


async def test_who_decides_and_on_what(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """The rule in a sentence, what is proposed and who is waited for, voters, and the record; changes are seen."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "workshop")
        assert not any(path == "/api/community" for _, path, _ in daemon.asked)
        await pilot.press("4")
        await until_seen(pilot, "willow street  3 voters: all must agree", "9 entries fixed by 2 decisions", "none yet")
        await until_seen(pilot, "1 of 3 agree, waiting for kitchen", "this node, no paper", "has a paper", "has left")
        await until_seen(pilot, "(does not count) workshop")
        assert focused(pilot) == "motions"
        daemon.log.append({**daemon.log[0], "number": 4, "id": "07" * 32, "says": "kitchen left the community"})
        daemon.council["motions"].clear()
        await until_seen(pilot, "kitchen left the community", "Nothing is proposed.")


async def test_the_rules_in_words(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Margin, notice, invitations and how they are changed stand there whole; who does not vote has none left."""
    daemon.council |= {"margin": 1, "notice": 2}
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "3 must agree, 2 must have seen it first (margin 1, notice 2)", "16 invitations")
        await until_seen(pilot, "(12 left here)", "hearth propose rules --help")
        daemon.council["votes"] = False
        await until_gone(pilot, "left here")


async def test_what_is_said_above_the_lists_wraps_and_scrolls(daemon: SimulatedDaemon) -> None:
    """A terminal that is too small for it hides none of it for good."""
    daemon.council["begun"] = [{"id": f"b{number}" * 32, "by": "界" * 64, "members": []} for number in range(9)]
    app = HearthApp(daemon.socket_path, glyphs=RICH)
    async with app.run_test(size=(40, 24)) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "16 invitations a", "chosen voter")
        assert "8 others" not in screen_text(pilot)
        await pilot.press("shift+tab")
        await until(pilot, lambda: focused(pilot) == "rules")
        await pilot.press("end")
        await until_seen(pilot, "8 others")


async def test_a_voter_answers_after_a_question(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Yes, no, or not after all; a proposal that is gone meanwhile is no accident."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 of 3 agree")
        await pilot.press("y")
        await until_seen(pilot, "proposes to remove attic", "Say yes?")
        await pilot.press("escape")
        await until_gone(pilot, "Say yes?")
        assert not any(path.endswith("/vote") for _, path, _ in daemon.asked)
        for key, word in (("y", "yes"), ("n", "no")):
            await pilot.press(key)
            await until_seen(pilot, f"Say {word}?")
            await pilot.press("y")
            await until_seen(pilot, f"Said {word}.")
        assert [body["agrees"] for _, path, body in daemon.asked if path.endswith("/vote")] == [True, False]
        await pilot.press("y")
        await until_seen(pilot, "Say yes?")
        daemon.council["motions"].clear()
        await pilot.press("y")
        await until_seen(pilot, "nothing that can be decided on")
        await until_seen(pilot, "Nothing is proposed.")
        await pilot.press("y")  # on nothing: nothing
        assert "Say yes?" not in screen_text(pilot)


async def test_a_voter_proposes(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """About whom, then what; the end of it is told, and so is a refusal."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 of 3 agree")
        for keys, told in (
            (["enter", "enter"], "Decided."),
            (["j", "enter", "enter"], "the others have to agree"),
            (["enter", "j", "enter"], "the last voter stays"),
        ):
            await pilot.press("p")
            await until_seen(pilot, "About whom?", "attic (a2f6jrkx), observer")
            await pilot.press(keys[0])
            if keys[0] == "j":
                await pilot.press(keys[1])
            await until_seen(pilot, "Propose about")
            await pilot.press(*(keys[1:] if keys[0] == "enter" else keys[2:]))
            await until_seen(pilot, "Propose (y)")
            await pilot.press("enter", "y")
            await until_seen(pilot, told)
        for escapes in (1, 2):
            await pilot.press("p")
            await until_seen(pilot, "About whom?")
            if escapes == 2:
                await pilot.press("enter")
                await until_seen(pilot, "Propose about")
            await pilot.press("escape")
            await until(pilot, lambda: focused(pilot) == "motions")
    asked = [(body["what"], body["node"]) for _, path, body in daemon.asked if path == "/api/proposals"]
    assert asked == [("observer", SPARK_ID), ("voter", EMBER_ID), ("remove", SPARK_ID)]


async def test_why_it_is_proposed(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """A reason can be typed; y and n in it are letters, and Enter leads to the answers, No first."""
    async with app.run_test(notifications=True) as pilot:
        await _about_to_propose(pilot)
        await pilot.press(*"any", "enter")
        await until(pilot, lambda: focused(pilot) == "no")
        await pilot.press("tab", "enter")
        await until_seen(pilot, "Decided.")
        await _about_to_propose(pilot)
        await pilot.press(*"not now", "enter", "enter")
        await until(pilot, lambda: focused(pilot) == "motions")
        await _about_to_propose(pilot)
        await pilot.press(*"ny", "escape")
        await until(pilot, lambda: focused(pilot) == "motions")
    assert [body["reason"] for _, path, body in daemon.asked if path == "/api/proposals"] == ["any"]


async def test_a_reason_is_no_longer_than_an_entry_takes(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """What is pasted is cut, and has no line or control character; what is typed beyond that is not taken."""
    async with app.run_test(notifications=True) as pilot:
        await _about_to_propose(pilot)
        pilot.app.screen.query_one(Input).post_message(Paste("a\nb\x1b[31m\u202e" + "界" * 300))
        await until_seen(pilot, "200 of 200")
        await pilot.press("x", "enter", "y")
        await until_seen(pilot, "Decided.")
    (reason,) = [body["reason"] for _, path, body in daemon.asked if path == "/api/proposals"]
    assert reason == "a b [31m " + "界" * (MAX_REASON - 9)


def test_the_longest_reason_is_the_entrys() -> None:
    """What the interface lets through, the record takes."""
    assert ballots.MAX_REASON == MAX_REASON


async def _about_to_propose(pilot: Pilot[None]) -> None:
    await pilot.press("4")
    await until_seen(pilot, "1 of 3 agree")
    await pilot.press("p")
    await until_seen(pilot, "About whom?")
    await pilot.press("enter")
    await until_seen(pilot, "Propose about")
    await pilot.press("enter")
    await until_seen(pilot, "Propose (y)")
    await until(pilot, lambda: focused(pilot) == "reason")


async def test_a_members_name_is_no_markup(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Whatever stands in it, it is shown as it is."""
    daemon.status["community"]["members"][0]["name"] = "[@click=app.quit]x[/]"
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 of 3 agree")
        await pilot.press("p")
        await until_seen(pilot, "[@click=app.quit]x[/] (k3v5x2ab), voter")
        await pilot.press("enter")
        await until_seen(pilot, "Propose about [@click=app.quit]x[/]")
        await pilot.press("enter")
        await until_seen(pilot, "about [@click=app.quit]x[/]", "make it an")


async def test_the_words_of_a_paper_are_shown_once(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """After a warning, until the person says that they are written down: no single key hides them."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 of 3 agree")
        await pilot.press("w")
        await until_seen(pilot, "have paper and pen ready")
        await pilot.press("n", "w", "y")
        await until_seen(pilot, " 1 legal", "12 yellow", "hearth community recover WORDS")
        for key in ("escape", "enter", "q"):
            await pilot.press(key)
            await until_seen(pilot, "Have you written them down")
            await pilot.press(key if key != "q" else "n")
            await until_gone(pilot, "Have you written them down")
            await until_seen(pilot, " 1 legal", "12 yellow")
        await pilot.press("escape")
        await until_seen(pilot, "Have you written them down")
        await pilot.press("y")
        await until_gone(pilot, "12 yellow")
        assert focused(pilot) == "motions"
    assert [path for _, path, _ in daemon.asked].count("/api/community/paper") == 1


async def test_who_does_not_vote_is_told_so(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """In words, instead of by a refusal."""
    daemon.council["votes"] = False
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 of 3 agree")
        for key in ("y", "p", "w"):
            await pilot.press(key)
        await until_seen(pilot, "This node does not vote")
    assert not any(method == "POST" for method, _, _ in daemon.asked)


async def test_contributions_are_a_key_away(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """By giver, with the receivers; where there are none yet, that is said."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 of 3 agree")
        await pilot.press("c")
        await until_seen(
            pilot, "14 answers of 3500 tokens and 98.1 MB of models", "to kitchen: 12 answers", "no member any more"
        )
        await pilot.press("escape")
        daemon.contributions["givers"].clear()
        await pilot.press("c")
        await until_seen(pilot, "The record has none yet")
        await pilot.press("escape")
        daemon.stop()
        await until_seen(pilot, "not running")
        await pilot.press("c")
        await until_seen(pilot, "Hearthmesh is not running here", "hearth serve")
    assert [path for _, path, _ in daemon.asked].count("/api/contributions") == 2


async def test_the_record_is_followed(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """It is fetched once; entries come by themselves, the newest first, and nobody follows behind another tab."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "founded the community")
        for number in range(4, 7):
            _sign(daemon, number)
            await until_seen(pilot, f"entry {number}")
        await asyncio.sleep(2.5)  # two looks, in which it might be fetched again
        assert _fetched(daemon) == 1
        assert daemon.followers == 1
        await pilot.press("1")
        await until(pilot, lambda: not daemon.followers)
        await pilot.press("4")
        await until(pilot, lambda: _fetched(daemon) == 2)


async def test_the_newest_of_a_long_record_are_kept(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """However many come, the list is bounded and says so."""
    for number in range(4, 2_000):
        _sign(daemon, number)
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "entry 1999", f"the newest {RECORD_LINES}; all: hearth log")
        for number in range(2_000, 3_000):
            _sign(daemon, number)
        await until_seen(pilot, "entry 2999")
        assert app.query_one("#record", ListTable).row_count == RECORD_LINES


@pytest.mark.parametrize("change", ["late", "decided"])
async def test_a_record_in_another_order_is_fetched_anew(app: HearthApp, daemon: SimulatedDaemon, change: str) -> None:
    """An entry that takes its place among the others gives those after it new numbers, and so does a decision."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "3  (does not count)")
        *before, last = daemon.log
        daemon.log = [*before, {**before[0], "id": "0a" * 32, "number": 3, "says": "late"}, {**last, "number": 4}]
        if change == "decided":
            daemon.log = [last | {"number": 1}, *(line | {"number": line["number"] + 1} for line in before)]
            daemon.council["decided"] += 1
        await until_seen(pilot, "4  (does not count)" if change == "late" else "1  (does not count)")
        assert _fetched(daemon) == 2


async def test_too_many_follow_the_record(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """That is said, and it is tried again."""
    daemon.most_followers = 0
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "16 follow the record already", "1 of 3 agree")
        daemon.most_followers = 1
        await until_seen(pilot, "founded the community")
        await until_gone(pilot, "16 follow")


async def test_a_record_outlives_the_daemon(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """It stays in sight, and is followed again when the daemon is back."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "founded the community")
        daemon.stop()
        await until_seen(pilot, "not running")
        assert app.query_one("#record", ListTable).row_count == len(daemon.log)
        _sign(daemon, 4)
        daemon.start()
        await until_seen(pilot, "entry 4")


def _sign(daemon: SimulatedDaemon, number: int) -> None:
    daemon.log.append({**daemon.log[0], "number": number, "id": f"{number:064x}", "says": f"entry {number}"})


def _fetched(daemon: SimulatedDaemon) -> int:
    return [path for _, path, _ in daemon.asked].count("/api/log")


async def test_going_along_with_a_community_begun_anew(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """A key leads there, after a question, and only where there is one to go along with; observers may too."""
    daemon.council["votes"] = False
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 of 3 agree")
        assert "go along" not in screen_text(pilot)
        await pilot.press("a")
        daemon.council["begun"] = [{"id": "b7" * 32, "by": "[b]workshop[/]", "members": ["[b]workshop[/]", "kitchen"]}]
        await until_seen(pilot, "Begun anew by [b]workshop[/]: press a to go along", "a go along")
        await pilot.press("a")
        await until_seen(pilot, "Leave willow street", "with [b]workshop[/], kitchen?")
        await pilot.press("escape")
        await until_gone(pilot, "Leave willow street")
        assert not any(path.endswith("/choose") for _, path, _ in daemon.asked)
        await pilot.press("a")
        await until_seen(pilot, "Leave willow street")
        await pilot.press("y")
        await until_seen(pilot, "This node belongs to the new", "street.record")
        await until_gone(pilot, "Begun anew")
    assert [body for _, path, body in daemon.asked if path.endswith("/choose")] == [{"id": "b7" * 32}]


async def test_of_several_begun_anew_one_is_chosen(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """From a list, or none; what is gone meanwhile is no accident."""
    daemon.council["begun"] = [{"id": one * 32, "by": "workshop", "members": ["workshop"]} for one in ("b7", "b8")]
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "Begun anew by workshop, 1 other")
        await pilot.press("a")
        await until_seen(pilot, "workshop, 1 member, b8b8b8b8")
        await pilot.press("escape")
        await until_gone(pilot, "b8b8b8b8")
        await pilot.press("a")
        await until_seen(pilot, "b8b8b8b8")
        await pilot.press("j", "enter")
        await until_seen(pilot, "Leave willow street")
        daemon.council["begun"] = []
        await pilot.press("y")
        await until_seen(pilot, "no member has begun a community")
    assert [body for _, path, body in daemon.asked if path.endswith("/choose")] == [{"id": "b8" * 32}]


async def test_what_is_wrong_with_a_community_is_loud(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Two records, a fork, another beginning, no community at all."""
    daemon.council["fixed"]["disputed"] = ["attic"]
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "attic signed another record of the last decision: hearth doctor")
        daemon.council["forked"] = ["c3" * 32, "c4" * 32]
        daemon.council["begun"] = [{"id": "b7" * 32, "by": "workshop", "members": ["workshop", "kitchen"]}]
        daemon.council["decided"] = 0
        await until_seen(pilot, "FORKED: two decisions", "Begun anew by workshop")
        daemon.council["forked"], daemon.council["fixed"]["disputed"], daemon.council["notice"] = [], [], 2
        await until_seen(pilot, "Nothing has been decided yet", "2 must have seen it first (margin 0, notice 2)")
        daemon.status["community"] = None
        await until_seen(pilot, "this node belongs to no community", "hearth pair")
        daemon.stop()
        await until_seen(pilot, "not running")
        daemon.start()
        await until_seen(pilot, "● running")
