"""Shapes of networks whose nodes see only the neighbours they share a cable with."""

import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.mesh_lab.net import Lab, Link, Trunk
from tests.mesh_lab.nodes import Node, living, settle, start_all


@dataclass(frozen=True)
class Topology:
    """Nodes by name, and the cables between them by the names of their ends ("ab")."""

    nodes: Mapping[str, Node]
    cables: Mapping[str, Link] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def linked(self) -> float:
        """Wait until every cable carries a link; return when the last came up."""
        return max(self[ends[0]].linked_to(self[ends[1]]) for pair in self.cables for ends in (pair, pair[::-1]))

    def complete(self) -> float:
        """Wait until every node reaches every other; return when the last one did."""
        everyone = [*self.nodes.values()]
        return max(node.reaches(*(other for other in everyone if other is not node)) for node in everyone)

    def restore(self) -> None:
        """Mend what a test has broken: cables, nodes that were killed or paused."""
        for cable in self.cables.values():
            cable.heal()
        for node in self.nodes.values():
            if node.alive:
                node.resume()
            else:
                node.start()
        for node in self.nodes.values():
            node.ready()
        self.linked()
        self.complete()


@contextmanager
def topology(lab: Lab, folder: Path, *cables: str, brokers: Sequence[str] = ("mosquitto",)) -> Iterator[Topology]:
    """Nodes a, b, c … joined by cables ("ab", "bc"), of one community that a founded; brokers are dealt in turn."""
    names = sorted({name for pair in cables for name in pair})
    places = {name: string.ascii_lowercase.index(name) for name in names}
    machines = {name: lab.namespace(name) for name in names}
    links = {pair: lab.link(machines[pair[0]], machines[pair[1]]) for pair in cables}
    nodes = {n: Node(machines[n], folder / n, broker=brokers[places[n] % len(brokers)]) for n in names}
    settle(*nodes.values())
    with living(*nodes.values()):
        start_all(*nodes.values())
        made = Topology(nodes, links)
        made.linked()
        made.complete()
        yield made


def part(one: Sequence[Node], two: Sequence[Node], trunk: Trunk) -> None:
    """Pull the cable between two islands and wait until every node has seen it."""
    trunk.pull()
    for node in one:
        for other in two:
            node.leaves("linked", other, within_s=60)
            other.leaves("linked", node, within_s=60)
