"""Each tab, driven by keys."""

import asyncio
from functools import partial

from textual.widgets import Input

from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import EMBER_ID, SPARK_ID
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
        daemon.log.append({**daemon.log[0], "number": 3, "id": "07" * 32, "says": "kitchen left the community"})
        daemon.status["community"]["entries"] += 1
        daemon.council["motions"].clear()
        await until_seen(pilot, "kitchen left the community", "Nothing is proposed.")


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
            (["enter", "enter", "y"], "Decided."),
            (["j", "enter", "enter", "y"], "the others have to agree"),
            (["enter", "j", "enter", "y"], "the last voter stays"),
        ):
            await pilot.press("p")
            await until_seen(pilot, "About whom?", "attic, observer")
            await pilot.press(keys[0])
            if keys[0] == "j":
                await pilot.press(keys[1])
            await until_seen(pilot, "Propose about")
            await pilot.press(*(keys[1:] if keys[0] == "enter" else keys[2:])[:-1])
            await until_seen(pilot, "Propose (y)")
            await pilot.press(keys[-1])
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


async def test_a_members_name_is_no_markup(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Whatever stands in it, it is shown as it is."""
    daemon.status["community"]["members"][0]["name"] = "[@click=app.quit]x[/]"
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 of 3 agree")
        await pilot.press("p")
        await until_seen(pilot, "[@click=app.quit]x[/], voter")
        await pilot.press("enter")
        await until_seen(pilot, "Propose about [@click=app.quit]x[/]")
        await pilot.press("enter")
        await until_seen(pilot, "about [@click=app.quit]x[/]: make it an observer?")


async def test_the_words_of_a_paper_are_shown_once(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """After a warning, until the person has written them down."""
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 of 3 agree")
        await pilot.press("w")
        await until_seen(pilot, "have paper and pen ready")
        await pilot.press("n", "w", "y")
        await until_seen(pilot, " 1 legal", "12 yellow", "hearth community recover WORDS")
        await pilot.press("escape")
        await until_gone(pilot, "12 yellow")
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
        daemon.status["community"]["entries"] += 1
        await until(pilot, lambda: [path for _, path, _ in daemon.asked].count("/api/contributions") == 2)
        await pilot.press("c")
        await until_seen(pilot, "The record has none yet")


async def test_what_is_wrong_with_a_community_is_loud(app: HearthApp, daemon: SimulatedDaemon) -> None:
    """Two records, a fork, another beginning, no community at all."""
    daemon.council["fixed"]["disputed"] = ["attic"]
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "attic signed another record of the last decision: hearth doctor")
        daemon.council["forked"] = ["c3" * 32, "c4" * 32]
        daemon.council["begun"] = [{"id": "b7" * 32, "by": "workshop", "members": ["workshop", "kitchen"]}]
        daemon.council["decided"] = 0
        await until_seen(pilot, "FORKED: two decisions", "workshop began it anew: hearth community choose b7b7b7b7")
        daemon.council["forked"], daemon.council["fixed"]["disputed"], daemon.council["notice"] = [], [], 2
        await until_seen(pilot, "Nothing has been decided yet", "3 must agree, seen by 2 first; 16 invitations a voter")
        daemon.status["community"] = None
        await until_seen(pilot, "this node belongs to no community", "hearth pair")
        daemon.stop()
        await until_seen(pilot, "not running")
        daemon.start()
        await until_seen(pilot, "● running")
