"""Ten nodes on one switch: how soon all know all, and what it costs to be one of them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab
from tests.mesh_lab.nodes import Node, all_linked, cpu_s, living, memory_mb, settle, start_all

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

COUNT = 10
IDLE_S = 10.0


@pytest.fixture(scope="module")
def ten(lab: Lab, folder: Path) -> Iterator[list[Node]]:
    """Ten members that have exchanged their keys; the last two on amqtt."""
    machines = [lab.namespace(f"n{number}") for number in range(COUNT)]
    lab.lan(*machines)
    nodes = [
        Node(machine, folder / f"n{number}", broker="amqtt" if number >= COUNT - 2 else "mosquitto")
        for number, machine in enumerate(machines)
    ]
    settle(*nodes)
    with living(*nodes):
        start_all(*nodes)
        all_linked(*nodes, within_s=90)
        yield nodes


def test_ten_nodes_know_each_other_soon_after_they_start(ten: list[Node], measured: Measured) -> None:
    """Power comes back for all of them at the same time, on as many cores as there are here."""
    for node in ten:
        node.kill()
    start_all(*ten)
    ready = time.monotonic()
    linked = all_linked(*ten, within_s=90)
    measured("ten nodes start at once: all linked to all, after the first start", linked - ten[0].started_at)
    measured("ten nodes: all linked to all, after the last one is ready", max(0.0, linked - ready), goal="<= 3")
    for node in ten:
        assert {tuple(one) for one in node.view["neighbours"].values()} == {("linked", 1)}


def test_a_newcomer_knows_nine(ten: list[Node], measured: Measured) -> None:
    """One of ten starts again: it is linked to all of them, and all of them to it."""
    *others, last = ten
    for _ in range(3):
        last.stop()
        last.start()
        linked = max(last.linked_to(*others), *(other.linked_to(last) for other in others))
        measured("one of ten starts: linked to all nine", linked - last.started_at, goal="<= 3")
    assert last.view["epoch"] == 0


def test_ten_nodes_cost_little_when_nothing_happens(ten: list[Node], measured: Measured) -> None:
    """Probes, adverts and mDNS of ten nodes, broker included."""
    all_linked(*ten)
    processes = {node: (node.pid, node.broker_pid) for node in ten}
    before = {node: sum(cpu_s(pid) for pid in pids) for node, pids in processes.items()}
    time.sleep(IDLE_S)  # what is measured
    used = sorted(100 * (sum(cpu_s(pid) for pid in pids) - before[node]) / IDLE_S for node, pids in processes.items())
    measured("ten nodes idle: a node and its broker use, median", used[COUNT // 2], unit="% of a core", goal="<= 2")
    measured("ten nodes idle: the busiest uses", used[-1], unit="% of a core", goal="<= 2")
    measured("ten nodes idle: a node holds", max(memory_mb(node.pid) for node in ten), unit="MB")
    assert used[-1] < 50
