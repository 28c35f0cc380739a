"""An SD card that was copied: two boards say that they are one node."""

import shutil
import time
from pathlib import Path

import pytest

from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab
from tests.mesh_lab.nodes import Node, all_linked, living, settle, start_all

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]


def test_a_cloned_card_is_detected_named_and_cured(lab: Lab, tmp_path: Path, measured: Measured) -> None:
    """Both boards learn that they are two; one gets an identity of its own, is let in, and all three talk."""
    machines = [lab.namespace(name) for name in ("anna", "ben", "twin")]
    lab.lan(*machines)
    anna, ben, twin = (Node(each, tmp_path / each.name.rpartition("-")[2]) for each in machines)
    settle(anna, ben)
    with living(anna, ben, twin):
        start_all(anna, ben)
        all_linked(anna, ben)
        shutil.copytree(ben.data_dir, twin.data_dir)
        start_all(twin)
        for board in (ben, twin):
            found_out(board)
            measured("cloned card: a board knows that it is one of two", time.monotonic() - twin.started_at)
            assert "a cloned SD card?" in board.log()
        old = twin.node_id
        twin.ask("replace_identity")
        twin.stop()
        start_all(twin)
        assert ben.node_id == old != twin.node_id
        assert twin.ask("join", words=anna.ask("offer")) == "anna"
        all_linked(anna, ben, twin, within_s=90)
        for one, other in ((ben, twin), (twin, ben), (anna, twin)):
            assert one.tells(other, 3).all_heard_once_in_order()


def found_out(board: Node, *, within_s: float = 20.0) -> None:
    """Wait until a board knows that another one has its identity."""
    deadline = time.monotonic() + within_s
    while not board.ask("duplicate"):
        assert time.monotonic() < deadline, board.log()[-3000:]
        time.sleep(0.05)  # nothing announces it
