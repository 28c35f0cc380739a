"""More nodes on one switch than any of them links with."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.core.neighbour_choice import ALL_UP_TO, MAX_NEIGHBOURS
from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab
from tests.mesh_lab.nodes import Node, living, memory_mb, settle, start_all

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

COUNT = 34
SETTLED_WITHIN_S = 300.0  # 34 nodes on two cores took 27 to 82 s; this only tells apart what never comes about


@pytest.fixture(scope="module")
def many(lab: Lab, folder: Path) -> Iterator[list[Node]]:
    """Members on one switch, started at once; they have no keys to one another's brokers yet."""
    machines = [lab.namespace(f"n{number}") for number in range(COUNT)]
    lab.lan(*machines)
    nodes = [Node(machine, folder / f"n{number}") for number, machine in enumerate(machines)]
    settle(*nodes)
    with living(*nodes):
        start_all(*nodes)
        yield nodes


def links(node: Node) -> list[str]:
    """Ids of the nodes it is linked with, as it said last."""
    return [node_id for node_id, (state, _) in node.view["neighbours"].items() if state == "linked"]


def test_everybody_is_reached_over_a_few_links_each(many: list[Node], measured: Measured) -> None:
    """All reach all, none has more links than the bound, and who is not linked is spoken to over the others."""
    ready = time.monotonic()
    known = max(
        node.reaches(*(other for other in many if other is not node), within_s=SETTLED_WITHIN_S) for node in many
    )
    measured(f"{COUNT} nodes that meet for the first time: all reach all, after the last is ready", known - ready)
    for node in many:
        node.until(lambda node=node: len(links(node)) <= MAX_NEIGHBOURS, "at few links", within_s=SETTLED_WITHIN_S)  # type: ignore[misc]
    assert MAX_NEIGHBOURS < ALL_UP_TO < COUNT
    first = many[0]
    far = next(node for node in many if node is not first and node.node_id not in links(first))
    assert first.hops_to(far) > 1
    assert first.tells(far, 20, every_s=0.02).all_heard_once_in_order()
    assert far.tells(first, 20, every_s=0.02).all_heard_once_in_order()
    measured(f"one of {COUNT} nodes holds", max(memory_mb(node.pid) for node in many), unit="MB")


def test_one_that_dies_is_missed_by_all_and_welcomed_back(many: list[Node], measured: Measured) -> None:
    """Its neighbours tell the rest, who go around it."""
    *others, last = many
    last.kill()
    for node in others:
        node.leaves("linked", last, within_s=SETTLED_WITHIN_S)
        node.until(lambda node=node: node.hops_to(last) == 0, "aware of the loss", within_s=SETTLED_WITHIN_S)  # type: ignore[misc]
    last.start()
    measured(
        f"one of {COUNT} nodes starts: reaches all the others",
        last.reaches(*others, within_s=SETTLED_WITHIN_S) - last.started_at,
    )
