"""Two islands: a network that falls apart, lives on in both halves, and grows together again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab, Trunk
from tests.mesh_lab.nodes import Node, all_linked, living, settle, start_all
from tests.mesh_lab.topologies import part

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

NAMES = ("anna", "ben", "cleo", "dora")
Islands = tuple[list[Node], Node, Trunk]


@pytest.fixture
def islands(lab: Lab, tmp_path: Path) -> Iterator[Islands]:
    """Four members, two on each island, all linked; a stranger beside the founder; the cable between the islands."""
    machines = [lab.namespace(name) for name in (*NAMES, "emil")]
    _, _, trunk = lab.islands((machines[0], machines[1], machines[4]), (machines[2], machines[3]))
    *nodes, emil = (Node(machine, tmp_path / name) for machine, name in zip(machines, (*NAMES, "emil"), strict=True))
    settle(*nodes)
    with living(*nodes, emil):
        start_all(*nodes, emil)
        all_linked(*nodes)
        yield nodes, emil, trunk


def test_membership_changed_on_both_sides(islands: Islands, measured: Measured) -> None:
    """While they are apart one side admits a node, the other loses one: afterwards all see the same community."""
    nodes, emil, trunk = islands
    anna, ben, cleo, dora = nodes
    part(nodes[:2], nodes[2:], trunk)
    assert emil.ask("join", words=anna.ask("offer")) == "anna"
    all_linked(anna, ben, emil)
    dora.ask("leave")
    cleo.until(lambda: cleo.view["members"] == ["anna", "ben", "cleo"], "told that dora left")
    assert ben.view["members"] == ["anna", "ben", "cleo", "dora", "emil"]
    healed = trunk.plug()
    whole = (anna, ben, cleo, emil)
    linked = all_linked(*whole, within_s=90)
    measured("partition healed, membership changed on both sides: all linked", linked - healed, goal="<= 2")
    for node in whole:
        node.until(lambda node=node: node.view["members"] == ["anna", "ben", "cleo", "emil"], "of one mind")  # type: ignore[misc]
    assert len({node.view["epoch"] for node in whole}) == 1
    for one in whole:
        for other in whole:
            if other is not one:
                assert one.tells(other, 1).all_heard_once_in_order()


def test_a_removal_and_an_admission_cross(islands: Islands) -> None:
    """Who is removed on one island learns it from the other when they meet, and is let in nowhere any more."""
    nodes, emil, trunk = islands
    anna, ben, cleo, dora = nodes
    part(nodes[:2], nodes[2:], trunk)
    anna.ask("forget", node_id=dora.node_id)
    assert emil.ask("join", words=anna.ask("offer")) == "anna"
    assert dora.view["members"] == sorted(NAMES)
    trunk.plug()
    whole = (anna, ben, cleo, emil)
    all_linked(*whole, within_s=90)
    for node in whole:
        node.until(lambda node=node: node.view["members"] == ["anna", "ben", "cleo", "emil"], "of one mind")  # type: ignore[misc]
        assert node.state_of(dora) is None
    dora.until(lambda: "linked" not in str(dora.view["neighbours"]), "alone")


def test_a_partition_heals(islands: Islands, measured: Measured) -> None:
    """Nothing but the cable has changed: every link comes back."""
    nodes, _, trunk = islands
    part(nodes[:2], nodes[2:], trunk)
    healed = trunk.plug()
    measured("partition healed: all linked", all_linked(*nodes, within_s=90) - healed, goal="<= 2")
