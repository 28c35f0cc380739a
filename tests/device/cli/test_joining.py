"""Coming together and parting: pair, join, leave, rekey."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.api import Status
from device.cli import rekey
from device.cli.join import normalised
from device.parsing import parse
from tests.device.cli.conftest import Hearth
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import OFFER, SPARK_ID

pytestmark = pytest.mark.usefixtures("daemon")


def test_pair(hearth: Hearth) -> None:
    """The words stand in the command to type; a program gets the API's object; no QR code in a pipe."""
    done = hearth("pair")
    assert f"hearth join {OFFER['words']}" in done.out
    assert OFFER["fingerprint"] in done.out
    assert "█" not in done.out
    assert json.loads(hearth("pair", "--json").out) == OFFER
    assert hearth("pair", "--close").out == "The offer is closed.\n"


def test_join(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """The words are taken however they were typed; name and fingerprint are shown to compare."""
    done = hearth("join", "Amber-river", "stone,", "candle ORBIT", "maple", "--at", "10.0.0.7")
    assert done.code == 0
    assert daemon.asked[-1][2] == {"words": OFFER["words"], "at": "10.0.0.7"}
    assert OFFER["fingerprint"] in done.out
    assert json.loads(hearth("join", OFFER["words"], "--json").out)["community"] == "street"
    assert hearth("join", "a b c d e f").code == 1
    assert hearth("join", "amber", "river").code == 2


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=8), min_size=6, max_size=6), st.data())
def test_words_are_normalised(words: list[str], data: st.DataObject) -> None:
    """Whatever stands between them, and however they are cut into arguments, the same line comes out."""
    between = [data.draw(st.sampled_from([" ", "-", ", ", "  ", ",", " - "])) for _ in words]
    typed = "".join(word.upper() + gap for word, gap in zip(words, between, strict=True))
    assert normalised(typed.split(" ")) == " ".join(words)


def test_the_text_of_a_qr_code_is_left_alone() -> None:
    """A QR code's text is case sensitive and may hold hyphens."""
    assert normalised(["hearth:Ab-C"]) == "hearth:Ab-C"


def test_leave(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """A script cannot be asked, so it must say --yes; where there is nothing to leave, that is said."""
    done = hearth("leave")
    assert (done.code, done.out) == (1, "")
    assert "hint: mean it: hearth leave --yes" in done.err
    assert ("POST", "/api/leave", {}) not in daemon.asked
    assert hearth("leave", "--yes").code == 0
    assert hearth("leave", "--yes", "--json").out == "{}\n"
    assert daemon.asked.count(("POST", "/api/leave", {})) == 2
    daemon.status["community"] = None
    done = hearth("leave")
    assert done.code == 1
    assert done.err.startswith("error: this node is in no community")


def test_rekey(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """Asked first; then the new id is awaited and shown, with where the old one is and what to do next."""
    done = hearth("rekey")
    assert (done.code, done.out) == (1, "")
    assert "hint: mean it: hearth rekey --yes" in done.err
    assert ("POST", "/api/rekey", {}) not in daemon.asked
    done = hearth("rekey", "--yes")
    assert done.code == 0
    assert f"This node has a new identity, {'n' * 52}.\n" in done.out
    assert f"kept in {tmp_path}/mesh/replaced-1. Join again: hearth pair there, hearth join WORDS here.\n" in done.out
    daemon.status["node_id"] = SPARK_ID
    assert json.loads(hearth("rekey", "--yes", "--json").out) == {
        "node_id": "n" * 52,
        "kept": f"{tmp_path}/mesh/replaced-1",
    }


def test_rekey_of_a_daemon_that_does_not_come_back(
    hearth: Hearth, daemon: SimulatedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is said, and where to look."""
    monkeypatch.setattr(rekey, "BACK_WITHIN_S", 0.3)
    daemon.status["node_id"] = "n" * 52
    done = hearth("rekey", "--yes")
    assert done.code == 0
    assert "not back yet" in done.err
    assert done.out.startswith("This node has a new identity.\n")


def test_rekey_of_a_voter_warns(daemon: SimulatedDaemon) -> None:
    """Who votes is told what becomes of that."""
    question = rekey._question(parse(Status, daemon.status))
    assert "Its vote stays with the old identity" in question
    assert "“willow street”" in question
    daemon.status["community"] = None
    assert rekey._question(parse(Status, daemon.status)) == (
        "Give this node a new identity? Models, name and settings stay."
    )


def test_rekey_of_a_board_that_moved(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """The identity stays, and is this board's."""
    assert hearth("rekey", "--moved").out == "This board is the node's own from now on.\n"
    assert hearth("rekey", "--moved", "--json").out == "{}\n"
    assert daemon.asked == [("POST", "/api/board", {})] * 2
