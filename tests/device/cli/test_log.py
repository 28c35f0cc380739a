"""The record at the command line: log, contributions, models publish, models retire."""

import json
import sys
from pathlib import Path

import pytest

from tests.device.cli.conftest import Hearth
from tests.mesh.core.test_record import ANNA, BEN, exported, small, written
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import ATTIC_ID, CONTRIBUTIONS, LOG, ON_RECORD, STORIES

pytestmark = pytest.mark.usefixtures("daemon")


def test_the_record_is_printed(hearth: Hearth) -> None:
    """Number, beginning of the id, kind, what it says; and what does not count is said to be so."""
    assert hearth("log").out == (
        "     1  01010101  genesis     kitchen (k3v5x2ab) founded the community willow street\n"
        "     2  02020202  admit       kitchen (k3v5x2ab) let workshop (mq7wz4td) in as an observer\n"
        "     3  03030303  retire      (does not count) workshop (mq7wz4td) retired stories-42m (c0ffee11)\n"
    )


def test_a_terminal_gets_lines_that_fit(hearth: Hearth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut at its edge, with a sign that more follows; what fits is left alone."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    lines = hearth("log").out.splitlines()
    assert lines[0] == "     1  01010101  genesis     kitchen (k3v5x2ab) founded the community willow s…"
    assert [len(line) for line in lines] == [80, 80, 80]
    monkeypatch.setenv("COLUMNS", "200")
    assert "…" not in hearth("log").out


def test_for_programs_one_object_a_line(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """All that is known of an entry."""
    daemon.ends_logs = True
    assert [json.loads(line) for line in hearth("log", "--json").out.splitlines()] == LOG
    assert [json.loads(line) for line in hearth("log", "-n", "1", "--follow", "--json").out.splitlines()] == LOG[-1:]


def test_some_of_the_record(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """The daemon is told which; that there is none of it is said."""
    assert hearth("log", "--kind", "admit").out.splitlines() == hearth("log").out.splitlines()[1:2]
    assert hearth("log", "--author", "kitchen & co", "--model", "tiny").code == 0
    nothing = hearth("log", "--kind", "charter")
    assert (nothing.code, nothing.out) == (0, "")
    assert "The record has no such entry." in nothing.err
    assert [path for _, path, _ in daemon.asked] == ["/api/log"] * 4


@pytest.mark.parametrize("count", ["-1", "many", "9" * 12, "²"])
def test_a_count_is_a_number(hearth: Hearth, count: str) -> None:
    """Anything else is wrong usage."""
    assert hearth("log", f"--last={count}").code == 2


def test_hostile_words_steer_no_terminal(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Whatever a daemon sends of names and reasons is one line without escape codes."""
    daemon.log[0] |= {"says": "\x1b[2Jevil\nline\u202e", "kind": "\x9b電 admit  workshop said", "name": "\x07"}
    first = hearth("log", "-n", "3").out.splitlines()[0]
    assert first == "     1  01010101  電 admit    [2Jevilline"
    assert "\\u" not in hearth("log", "--json").out


def test_publish(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """How far it is, then by whom it is published."""
    done = hearth("models", "publish", "stories-42m")
    assert (done.code, done.out) == (0, "stories-42m (c0ffee11) is published by kitchen (k3v5x2ab).\n")
    assert "verify" in done.err
    steps = [json.loads(line) for line in hearth("models", "publish", "stories-42m", "--json").out.splitlines()]
    assert [step["stage"] for step in steps] == ["verify", "done"]
    assert steps[1]["on_record"] == ON_RECORD
    assert daemon.asked[0] == ("POST", "/api/models/publish", {"name": "stories-42m"})
    assert hearth("models", "publish", "gone").code == 1


def test_retire(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Why; and what others still publish is said to be so."""
    still = hearth("models", "retire", "stories-42m")
    assert still.out == "stories-42m (c0ffee11) is still published by kitchen (k3v5x2ab).\n"
    daemon.on_record["retired"] = "by kitchen (k3v5x2ab): it lies"
    done = hearth("models", "retire", "stories-42m", "--reason", "it lies")
    assert done.out == "stories-42m (c0ffee11) is retired by kitchen (k3v5x2ab): it lies\n"
    assert "to delete it here" in done.err
    assert daemon.asked[-1] == ("POST", "/api/models/retire", {"name": "stories-42m", "reason": "it lies"})
    assert json.loads(hearth("models", "retire", "stories-42m", "--json").out)["digest"] == STORIES["digest"]
    assert hearth("models", "retire", "gone").code == 1


def test_contributions(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Who gave what, to all and to each; that there are none is said."""
    assert [line.split() for line in hearth("contributions").out.splitlines()] == [
        ["GIVER", "RECEIVED", "BY", "ANSWERS", "TOKENS", "MODELS"],
        ["workshop", "(mq7wz4td)", "2", "members", "14", "3500", "98.1", "MB"],
        ["kitchen", "(k3v5x2ab)", "12", "3456", "98.1", "MB"],
        ["attic", f"({ATTIC_ID[:8]})", "2", "44", "0", "B"],
        ["attic", f"({ATTIC_ID[:8]}),", "no", "member", "any", "more", "1", "member", "0", "0", "98.1", "MB"],
        ["kitchen", "(k3v5x2ab)", "0", "0", "98.1", "MB"],
    ]
    assert json.loads(hearth("contributions", "--json").out) == CONTRIBUTIONS
    daemon.contributions["givers"] = []
    nothing = hearth("contributions")
    assert (nothing.code, nothing.out) == (0, "")
    assert "The record has no contributions yet" in nothing.err


def test_a_file_is_told_without_a_daemon(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """If it holds; in the same words, and as much of it as is asked for."""
    path = tmp_path / "harbour.record"
    path.write_bytes(written(exported(small(), ANNA, BEN)))
    lines = hearth("log", str(path)).out.splitlines()
    assert [line.split()[:3:2] for line in lines] == [["0", "genesis"], ["1", "admit"], ["2", "remove"]]
    assert lines[1].endswith(f"let Ben ({BEN.statement.node_id[:8]}) in as an observer")
    [last] = hearth("log", str(path), "--author", "Ben", "-n", "1", "--json").out.splitlines()
    assert (json.loads(last)["number"], json.loads(last)["name"]) == (2, "Ben")
    path.write_bytes(path.read_bytes()[:-3])
    refused = hearth("log", str(path))
    assert (refused.code, refused.out, "hint: " in refused.err) == (1, "", True)
    assert daemon.asked == []
