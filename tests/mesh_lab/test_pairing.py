"""Two nodes on one cable: found, paired, linked, left; whichever brokers they have."""

import pytest

from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab
from tests.mesh_lab.nodes import Node, all_linked, living, start_all

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

BROKERS = [("mosquitto", "mosquitto"), ("amqtt", "amqtt"), ("mosquitto", "amqtt")]


@pytest.mark.parametrize("brokers", BROKERS, ids="+".join)
def test_two_nodes_on_a_cable_pair_and_talk(
    brokers: tuple[str, str], lab: Lab, tmp_path_factory: pytest.TempPathFactory, measured: Measured
) -> None:
    """They find each other by mDNS alone; messages go both ways; a goodbye is heard at once."""
    folder = tmp_path_factory.mktemp("pair")
    here, there = lab.namespace("anna"), lab.namespace("ben")
    lab.link(here, there)
    anna, ben = Node(here, folder / "anna", broker=brokers[0]), Node(there, folder / "ben", broker=brokers[1])
    with living(anna, ben):
        start_all(anna, ben)
        assert ben.ask("join", words=anna.ask("offer")) == "anna"
        all_linked(anna, ben)
        for one, other in ((anna, ben), (ben, anna)):
            telling = one.tells(other, 3)
            assert telling.all_heard_once_in_order()
            assert telling.done.result() == []
        trips = sorted(anna.ask("ping", peer=ben.node_id, count=100))
        measured(f"ping over one hop, p50, {'+'.join(brokers)}", trips[50], unit="ms")
        for _ in range(3):
            ben.stop()
            anna.sees("unreachable", ben)
            ben.start()
            measured("start of the process until linked at both ends", all_linked(anna, ben) - ben.started_at)
