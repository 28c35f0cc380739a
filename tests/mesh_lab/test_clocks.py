"""A board without a clock battery wakes up in 1970: nothing of the mesh may care."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh_lab.clocks import in_1970
from tests.mesh_lab.net import TOOLS, Lab
from tests.mesh_lab.nodes import Node, all_linked, living, start_all

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]


@pytest.fixture(params=["ben", "both"])
def nodes(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes that do not know each other; for one of them, or for both, it is 1970."""
    here, there = lab.namespace("anna"), lab.namespace("ben")
    lab.link(here, there)
    anna = Node(here, tmp_path / "anna", broker="amqtt", env=in_1970() if request.param == "both" else None)
    ben = Node(there, tmp_path / "ben", broker="mosquitto", env=in_1970())
    with living(anna, ben):
        yield anna, ben


def test_a_node_in_1970_founds_joins_and_talks(nodes: tuple[Node, Node]) -> None:
    """Certificates, ledger and sessions hold, whoever certifies; also after the clock has been set."""
    anna, ben = nodes
    start_all(anna, ben)
    assert ben.ask("clock") < 3600
    assert ben.ask("join", words=anna.ask("offer")) == "anna"
    all_linked(anna, ben)
    assert anna.tells(ben, 3).all_heard_once_in_order()
    assert ben.tells(anna, 3).all_heard_once_in_order()
    ben.stop()
    ben.env.clear()
    ben.start()
    ben.ready()
    assert ben.ask("clock") > 1e9
    all_linked(anna, ben)
    assert ben.tells(anna, 3).all_heard_once_in_order()
