"""The mesh: what a message costs on either broker, and what a neighbour's answer costs."""

from tests.bench import neighbours, transport
from tests.bench.rows import Row


def rows() -> list[Row]:
    """Measure everything of this area."""
    return [*transport.rows(), *neighbours.rows()]
