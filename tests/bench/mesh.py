"""The mesh: its transport."""

from tests.bench import transport
from tests.bench.rows import Row


def rows() -> list[Row]:
    """Measure everything of this area."""
    return transport.rows()
