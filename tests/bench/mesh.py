"""The mesh: what a message costs on either broker, what an answer and its loss cost, and many simulated nodes."""

from tests.bench import failover, lab, many_nodes, neighbours, transport
from tests.bench.rows import Row


def rows() -> list[Row]:
    """Measure everything of this area."""
    return [*transport.rows(), *neighbours.rows(), *failover.rows(), *lab.rows(), *many_nodes.rows()]
