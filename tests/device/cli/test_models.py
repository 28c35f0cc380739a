"""The models of a node: models, pull."""

import json

import pytest

from tests.device.cli.conftest import Hearth
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import MODEL

pytestmark = pytest.mark.usefixtures("daemon")


def test_models(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """What is here and what can be had; `ls` is the short form."""
    out = hearth("models").out
    assert "stories-42m  c0ffee11  44.1 MB  MIT" in out
    assert "smollm2-135m  98.1 MB  Apache-2.0" in out
    assert hearth("ls").out == hearth("models", "ls").out == out
    assert json.loads(hearth("ls", "--json").out)["catalogue"] == daemon.catalogue
    daemon.status["models"].clear()
    assert "No model is here yet." in hearth("ls").out


def test_models_show(hearth: Hearth) -> None:
    """All about one model; one that is not here is an error."""
    assert "MIT" in hearth("models", "show", "stories-42m").out
    assert json.loads(hearth("models", "show", "stories-42m", "--json").out)["name"] == "stories-42m"
    done = hearth("models", "show", "gone")
    assert done.code == 1
    assert "hint: see what is here" in done.err


@pytest.mark.parametrize("words", [["rm"], ["models", "rm"]])
def test_models_rm(hearth: Hearth, daemon: SimulatedDaemon, words: list[str]) -> None:
    """A removed model is gone."""
    assert hearth(*words, "stories-42m").out == "Removed stories-42m.\n"
    assert daemon.status["models"] == []
    assert hearth(*words, "stories-42m").code == 1


def test_what_is_on_its_way_is_listed_and_can_be_given_up(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """How far it is, what to do where it was stopped; what had come is deleted."""
    come = {"digest": "beef" * 16, "size_bytes": 200_000_000, "bytes_here": 50_000_000}
    daemon.arriving += [{**come, "name": "barrel", "stopped": True}, {**come, "name": "cask", "stopped": False}]
    out = hearth("ls").out
    assert "barrel      beefbeef  50.0 MB of 200 MB  stopped; to go on: hearth models pull barrel" in out
    assert "cask        beefbeef  50.0 MB of 200 MB  coming" in out
    assert hearth("rm", "barrel").out == "The pull of barrel is given up; what had come (50.0 MB) is deleted.\n"
    gone = json.loads(hearth("rm", "cask", "--json").out)
    assert gone == {"name": "cask", "digest": "beef" * 16, "size_bytes": 50_000_000, "arriving": True}
    assert "ON ITS WAY" not in hearth("ls").out


@pytest.mark.parametrize("words", [["pull"], ["models", "pull"]])
def test_pull_in_a_pipe(hearth: Hearth, words: list[str]) -> None:
    """Where nothing can be redrawn, a line a stage and a quarter; the result on stdout."""
    done = hearth(*words, "smollm2-135m")
    assert done.out == "smollm2-135m is here (98.1 MB, Apache-2.0). Try: hearth run smollm2-135m\n"
    lines = done.err.splitlines()
    assert lines[:2] == ["smollm2-135m: 98.1 MB, licence Apache-2.0", "smollm2-135m  resolve"]
    assert lines[3] == "smollm2-135m  download  [########............]   41 %  40.0 MB of 98.1 MB"
    assert "\r" not in done.err


def test_pull_for_programs(hearth: Hearth) -> None:
    """One object a line: what it is, before anything of it comes, then how far it is, the last one the model."""
    done = hearth("pull", "smollm2-135m", "--json")
    offered, *steps = [json.loads(line) for line in done.out.splitlines()]
    assert offered == {"stage": "offered", "name": "smollm2-135m", "size_bytes": 98_087_104, "licence": "Apache-2.0"}
    assert steps[0] == {"stage": "resolve", "done": 0, "total": 0, "sources": 0, "bytes_per_s": 0}
    assert steps[-1]["stage"] == "done"
    assert steps[-1]["model"]["digest"] == MODEL["digest"]
    assert done.err == ""


def test_pull_of_an_unknown_model(hearth: Hearth) -> None:
    """The catalogue's refusal, and nothing else."""
    done = hearth("pull", "nope")
    assert done.code == 1
    assert done.out == ""
