"""The record in words: of the daemon's record and of a file."""

import json
from pathlib import Path

import pytest

from tests.device.cli.conftest import Hearth
from tests.mesh.core.test_record import ANNA, BEN, exported, small, written
from tests.sim.daemon import SimulatedDaemon

RECORD = written(exported(small(), ANNA, BEN))


@pytest.fixture(autouse=True)
def record(daemon: SimulatedDaemon) -> None:
    """A community of two that has signed three entries."""
    daemon.record = RECORD


def test_the_record_is_told_the_oldest_first(hearth: Hearth) -> None:
    """With who signed it."""
    done = hearth("log")
    head, *lines = done.out.splitlines()
    assert (done.code, head.split()) == (0, ["#", "ENTRY", "BY", "WHAT"])
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert lines[0].endswith(f"Anna ({ANNA.statement.node_id[:8]})  founded the community Harbour")
    assert lines[1].endswith(f"let Ben ({BEN.statement.node_id[:8]}) in, as observer")


def test_it_can_be_narrowed(hearth: Hearth) -> None:
    """To a kind, to an author by name or id, to the last ones."""
    for narrowed, numbers in (
        (("--kind", "admit"), [1]),
        (("--author", "Ben"), [2]),
        (("--author", ANNA.statement.node_id[:6]), [0, 1]),
        (("--author", "Anna", "-n", "1"), [1]),
        (("--kind", "vote"), []),
    ):
        done = hearth("log", *narrowed, "--json")
        assert [json.loads(line)["number"] for line in done.out.splitlines()] == numbers
    assert hearth("log", "-n", "0").code == 2


def test_programs_get_an_object_a_line(hearth: Hearth) -> None:
    """With whole ids."""
    [line] = hearth("log", "-n", "1", "--json").out.splitlines()
    told = json.loads(line)
    assert (told["author"], told["name"], told["kind"]) == (BEN.statement.node_id, "Ben", "remove")
    assert len(bytes.fromhex(told["entry"])) == 32


def test_a_file_is_told_without_a_daemon(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """If it holds."""
    path = tmp_path / "harbour.record"
    path.write_bytes(RECORD)
    daemon.record = b""
    assert hearth("log", str(path)).out.count("\n") == 4
    path.write_bytes(RECORD[:-3])
    for refused in (hearth("log", str(path)), hearth("log")):
        assert (refused.code, refused.out, "hint: " in refused.err) == (1, "", True)
