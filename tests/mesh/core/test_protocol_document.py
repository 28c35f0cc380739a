"""docs/protocol.md draws the state machines that are built."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import pytest

from mesh.core import enrolment, joiner, lane, offerer

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol.md"


@pytest.mark.parametrize("machine", [lane, offerer, joiner, enrolment])
def test_the_diagrams_are_the_tables(machine: object) -> None:
    """Each transition of each table is a line of the document."""
    table: Mapping[Enum, Mapping[Enum, Enum]] = vars(machine)["TRANSITIONS"]
    text = DOCUMENT.read_text(encoding="utf-8")
    missing = [
        line
        for state, row in table.items()
        for saw, after in row.items()
        if (line := f"{state.name} --{saw.name}--> {after.name}") not in text
    ]
    assert missing == []
