"""200 simulated nodes that all see each other: how much they say, and how soon all know what has changed."""

import statistics
from collections.abc import Callable

from mesh.core.neighbour_choice import choose
from tests.bench.rows import Row
from tests.sim.network import Network

NODES = 200
MINUTES = 2
STEP_S = 0.005
LINK_FAILURES = 5


def rows() -> list[Row]:
    """Measure in virtual time: of a link's failure, from when its ends notice it."""
    network = Network(NODES, seed=1)
    for own in network.names:
        for other in choose(own, network.names, ()):
            if own < other:
                network.join(network.numbers[own], network.numbers[other])
    started_s = _until(network, network.all_know_all)
    failed_s = statistics.median(_cut(network) for _ in range(LINK_FAILURES))
    network.clock.run(60.0)
    before = network.counts.copy()
    network.clock.run(60.0 * MINUTES)
    said = (network.counts["said"] - before["said"]) / NODES / MINUTES
    carried = (network.counts["announcements sent"] - before["announcements sent"]) / NODES / MINUTES
    return [
        Row(name=f"{NODES} simulated nodes: own adverts per node", value=said, unit="/min"),
        Row(name=f"{NODES} simulated nodes: adverts sent and passed on per node", value=carried, unit="/min"),
        Row(name=f"{NODES} simulated nodes: all know all after the start", value=started_s * 1000, unit="virtual ms"),
        Row(name=f"{NODES} simulated nodes: all know that a link failed", value=failed_s * 1000, unit="virtual ms"),
    ]


def _cut(network: Network) -> float:
    """Break a link; return for how long it took until all knew, beyond the time its ends took to notice."""
    network.clock.run(10.0)
    one, two = sorted(network.rng.choice(sorted(network.wires, key=sorted)))
    network.cut(one, two)
    network.clock.run(network.wire.noticed_s[1])
    return _until(network, network.all_know_all)


def _until(network: Network, condition: Callable[[], bool]) -> float:
    began = network.clock.now
    while not condition():
        network.clock.run(STEP_S)
    return network.clock.now - began
