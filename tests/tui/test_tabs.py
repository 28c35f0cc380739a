"""Each tab, driven by keys."""

import asyncio
from functools import partial

from textual.widgets import Input

from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import EMBER_ID
from tests.tui.conftest import focused, screen_text, until, until_gone, until_seen
from tui.app import HearthApp
from tui.widgets.list_table import ListTable
from tui.widgets.transcript import MAX_TURNS, Transcript


async def test_overview(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """This node, its neighbours, and their changes."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "k3v5x2ab", "127.0.0.1:4327", "willow street, 3 members", "61.2 MB", "12 for others")
        await until_seen(pilot, "mq7wz4td", "● linked", "smollm2-135m", "○ unreachable")
        daemon.status["neighbours"][1]["state"] = "linked"
        await until_gone(pilot, "○ unreachable")


async def test_overview_of_a_node_alone(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Who has nobody yet is told how to get somebody."""
    daemon.status |= {"neighbours": [], "community": None, "models": []}
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "hearth pair", "none yet", "none here")


async def test_lists_are_walked_with_letters(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """J k g G move; the cursor stays with its row when the rows change."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "workshop")
        table = app.query_one("#neighbours", ListTable)
        first, second = (node["node_id"] for node in daemon.status["neighbours"])
        for key, row in (("j", second), ("k", first), ("G", second), ("g", first), ("end", second), ("up", first)):
            await pilot.press(key)
            await until(pilot, partial(_selected_is, table, row))
        daemon.status["neighbours"].reverse()
        await until(pilot, lambda: table.cursor_row == 1)
        assert table.selected == first
        daemon.status["neighbours"].clear()
        await until(pilot, lambda: table.selected is None)


def _selected_is(table: ListTable, row: str) -> bool:
    return table.selected == row


async def test_pulling_a_model(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """`p` pulls the chosen model, shows how far it is, and it is here at the end."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "p pulls it", "writes children's stories")
        await pilot.press("p")  # on a model that is here: nothing
        await pilot.press("j")
        await until_seen(pilot, "the smallest that holds a conversation")
        await pilot.press("p", "p")
        await until_seen(pilot, "download", "41 %", "40.0 MB of 98.1 MB", "pulling")
        daemon.release()
        await until_seen(pilot, "smollm2-135m is here.")
        await until_gone(pilot, "pulls it")
        await until_gone(pilot, "98.1 MB of 98.1 MB")
    assert [path for _, path, _ in daemon.asked].count("/api/models/pull") == 1


async def test_a_pull_that_fails(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """The reason and what to do are shown, and the model can be tried again."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "p pulls it")
        daemon.catalogue.pop(0)
        await pilot.press("G", "p")
        await until_seen(pilot, "no model smollm2-135m is here")


async def test_removing_a_model_asks_first(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """`d` asks; n, Esc and the button that has the focus keep the model, y removes it."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "stories-42m")
        for key in ("n", "escape", "enter"):
            await pilot.press("d")
            await until_seen(pilot, "Remove stories-42m and free 44.1 MB?")
            await pilot.press(key)
            await until_gone(pilot, "and free")
        assert len(daemon.status["models"]) == 1
        await pilot.press("d")
        await until_seen(pilot, "and free")
        await pilot.press("y")
        await until_seen(pilot, "stories-42m is gone.")
        assert daemon.status["models"] == []


async def test_removing_what_cannot_be_removed(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """On a model that is not here `d` does nothing; a refusal of the daemon is shown."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "stories-42m")
        await pilot.press("j", "d")
        assert "and free" not in screen_text(pilot)
        await pilot.press("k", "d")
        await until_seen(pilot, "and free")
        daemon.status["models"].clear()
        await pilot.click("#yes")
        await until_seen(pilot, "no model stories-42m is here")


async def test_asking(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """The answer streams in with who gives it; the next question brings the conversation along."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "kitchen")
        await pilot.press("3", *"slowly", "enter")
        await until_seen(pilot, "slowly", "The capital", "workshop (mq7wz4td) answers with smollm2-135m")
        await pilot.press(*"next", "enter")
        await until_seen(pilot, "One at a time")
        daemon.release()
        await until_seen(pilot, "The capital of France is Paris.")
        await until_seen(pilot, "— answered by workshop (mq7wz4td) with smollm2-135m, 31 tokens/s")
        await pilot.press("enter")
        # What the tabs ask in between by themselves comes among the questions.
        await until(pilot, lambda: sum("messages" in body for _, _, body in daemon.asked) == 2)
        *_, messages = (body["messages"] for _, _, body in daemon.asked if "messages" in body)
        assert [message["role"] for message in messages] == ["user", "assistant", "user"]


async def test_an_answer_of_two_nodes(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """While it streams the note names who is giving it; in the end, who gave which part."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "kitchen")
        await pilot.press("3", *"slowly pass on", "enter")
        await until_seen(pilot, "workshop (mq7wz4td) answers")
        daemon.release()
        await until_seen(pilot, "— answered by workshop (mq7wz4td), then attic (a2f6jrkx)", "from token 3")


async def test_waiting_in_the_queue(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """The place is shown until the words come."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "kitchen")
        await pilot.press("3", *"slowly queue", "enter")
        await until_seen(pilot, "place 3 in the queue", "Esc stops it")
        daemon.release()
        await until_seen(pilot, "The capital of France is Paris.")


async def test_waiting_for_the_model(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """So is what the model still needs."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "kitchen")
        await pilot.press("3", *"slowly load", "enter")
        await until_seen(pilot, "the model: loading", "Esc stops it")
        daemon.release()
        await until_seen(pilot, "The capital of France is Paris.")


async def test_stopping_an_answer(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Esc stops it at the daemon too; a second Esc leaves the line, Enter comes back to it."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "kitchen")
        await pilot.press("3", *"slowly", "enter")
        await until_seen(pilot, "The capital", "esc stop")
        await pilot.press("escape")
        await until_seen(pilot, "— stopped", "esc leave")
        assert await asyncio.to_thread(daemon.abandoned.wait, 10)
        assert focused(pilot) == "question"
        await pilot.press("escape")
        await until(pilot, lambda: focused(pilot) == "transcript")
        await until_gone(pilot, "esc leave")
        await pilot.press("enter")
        await until(pilot, lambda: focused(pilot) == "question")


async def test_an_answer_that_goes_wrong(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """What had come stays, with the reason and what to do; the question is no part of the conversation."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "kitchen")
        await pilot.press("3", *"fail", "enter")
        await until_seen(pilot, "The capital", "the neighbour stopped answering", "ask again")
        daemon.stop()
        await pilot.press(*"hello", "enter")
        await until_seen(pilot, "hello", "not running here")
        daemon.start()
        await pilot.press(*"again", "enter")
        await until_seen(pilot, "tokens/s")
    assert len([body for _, path, body in daemon.asked if path.startswith("/v1")][-1]["messages"]) == 1


async def test_choosing_model_and_node(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """The lists show what is here and at neighbours; the choice goes with the next question."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "workshop")
        await pilot.press("3", "ctrl+o")
        await until_seen(pilot, "Which model", "stories-42m, here", "smollm2-135m, at workshop")
        await pilot.press("j", "j", "k", "enter")
        await until_seen(pilot, "model stories-42m")
        await pilot.press("ctrl+n")
        await until_seen(pilot, "Who answers", "workshop mq7wz4td, linked")
        await pilot.press("down", "down", "enter")
        await until_seen(pilot, "node workshop")
        await pilot.press("ctrl+n")
        await until_seen(pilot, "Who answers")
        await pilot.press("escape")
        await pilot.press(*"hi", "enter")
        await until_seen(pilot, "tokens/s")
    body = [body for _, path, body in daemon.asked if path.startswith("/v1")][-1]
    assert (body["model"], body["hearthmesh"]) == ("stories-42m", {"node": EMBER_ID})


async def test_starting_anew(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Ctrl-L stops what runs and forgets what was said."""
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "kitchen")
        await pilot.press("3", *"first", "enter")
        await until_seen(pilot, "tokens/s")
        await pilot.press(*"slowly", "enter")
        await until_seen(pilot, "slowly", "answers with")
        await pilot.press("ctrl+l")
        await until_gone(pilot, "first")
        assert await asyncio.to_thread(daemon.abandoned.wait, 10)
        await pilot.press(*"third", "enter")
        await until_seen(pilot, "tokens/s")
    assert len([body for _, path, body in daemon.asked if path.startswith("/v1")][-1]["messages"]) == 1


async def test_a_long_session_is_bounded(app: HearthApp) -> None:
    """Only so many turns stay in the transcript."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("3")
        transcript = app.query_one(Transcript)
        for number in range(MAX_TURNS + 3):
            transcript.begin(f"question {number}")
        await until(pilot, lambda: len(transcript.children) == MAX_TURNS)
        assert transcript.turns[0].question == "question 3"
        assert app.query_one("#question", Input).value == ""
