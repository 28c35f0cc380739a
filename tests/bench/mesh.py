"""The mesh: what a message costs on either broker, what a neighbour's answer costs, and its loss."""

from tests.bench import failover, lab, neighbours, transport
from tests.bench.rows import Row


def rows() -> list[Row]:
    """Measure everything of this area."""
    return [*transport.rows(), *neighbours.rows(), *failover.rows(), *lab.rows()]
