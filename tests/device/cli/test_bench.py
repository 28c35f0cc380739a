"""`hearth bench`: what it prints for people and for programs, and how it ends when it cannot go on."""

import json
import signal
from pathlib import Path

import pytest

from tests.device.cli.conftest import Hearth
from tests.device.cli.test_command import Terminal
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import MODEL


@pytest.fixture(autouse=True)
def _holds(daemon: SimulatedDaemon) -> None:
    """The model that answers is here."""
    daemon.status["models"] = [MODEL]


def test_the_table_fits_eighty_columns(hearth: Hearth) -> None:
    """What was measured, of what, on which board and with what; on stderr what was being done."""
    done = hearth("bench")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in done.out.splitlines()]  # how wide the columns are depends on the speed
    assert lines[:2] == ["smollm2-135m on kitchen", "model 5f1c8a03, 98.1 MB"]
    assert "decode 31 tokens/s an answer of 8 tokens" in lines
    assert "prefill 439 tokens/s a prompt of 37 tokens" in lines
    assert any(line.startswith("4 at once ") and line.endswith("32 tokens in all, prompts included") for line in lines)
    assert lines[-1] == "memory 145 MB its own, and 120 MB of files"
    assert done.err == "loading the model\ndecode\nprefill\n4 at once\n"


def test_for_programs(hearth: Hearth) -> None:
    """One object, nothing else."""
    done = hearth("bench", "smollm2-135m", "--at-once", "2", "--json")
    report = json.loads(done.out)
    assert done.err == ""
    assert set(report) == {
        *("node", "model", "model_digest", "model_bytes", "board", "versions"),
        *("decode", "prefill", "at_once", "memory", "load_average"),
    }
    assert (report["node"], report["model"], report["model_bytes"]) == ("kitchen", "smollm2-135m", 98_087_104)
    assert report["decode"] == {"tokens_per_s": 31.4, "tokens": 8}
    assert report["prefill"] == {"tokens_per_s": 439.4, "tokens": 37}
    assert report["at_once"]["questions"] == 2
    assert report["at_once"]["tokens"] == 16
    assert report["memory"] == {"anonymous_bytes": 145_000_000, "file_bytes": 120_000_000}
    assert set(report["board"]) == {"model", "processor", "cores", "memory_bytes"}
    assert set(report["versions"]) == {"hearth", "onnxruntime", "python", "linux", "machine"}


def test_every_question_stays_at_home(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """It is this board that is measured, greedily and with bounded answers."""
    hearth("bench", "m")
    asked = [body for _, path, body in daemon.asked if path == "/v1/chat/completions"]
    assert {body["hearthmesh"]["node"] for body in asked} == {"local"}
    assert {body["model"] for body in asked} == {"m"}
    assert {body["max_tokens"] for body in asked} == {1, 32, 64}


@pytest.mark.parametrize("number", ["0", "17", "many"])
def test_how_many_at_once(hearth: Hearth, number: str) -> None:
    """A wrong number is wrong usage."""
    assert hearth("bench", "--at-once", number).code == 2


def test_without_a_daemon(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """How to start it."""
    daemon.stop()
    done = hearth("bench")
    assert (done.code, done.out) == (1, "")
    assert "hearth serve" in done.err


def test_a_busy_daemon_and_ctrl_c(daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """On a terminal it says what it waits for; Ctrl-C ends it at once, and the line is wiped."""
    daemon.status["queries"]["running"] = 1
    terminal = Terminal("--data", str(tmp_path), "bench")
    terminal.wait_for("loading the model")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert terminal.seen.endswith(" \r")
    assert "Traceback" not in terminal.seen
