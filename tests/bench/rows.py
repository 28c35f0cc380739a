"""One measured figure, and how a table of them is printed and kept."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


def load_average() -> float:
    """How busy the machine was in the last minute, in runnable processes."""
    return round(os.getloadavg()[0], 2)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure beside its goal and, where one ran in the same minutes, its peer's.

    goal: operator, number, and `x` when it speaks of the ratio to the peer: ">= 1.2x", "<= 30".
    """

    name: str
    value: float
    unit: str
    goal: str = ""
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    load_average: float = field(default_factory=load_average)


COLUMNS = ("name", "value", "unit", "goal", "peer", "peer_value", "ratio", "load_average")


def table(rows: Sequence[Row]) -> str:
    """Lay rows out in columns for a terminal."""
    cells = [COLUMNS, *(tuple(_cell(getattr(row, column)) for column in COLUMNS) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)


def keep(rows: Sequence[Row], path: Path) -> None:
    """Write rows as JSON for later comparison."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def kept(path: Path) -> list[Row]:
    """Read rows back; none where there is no file."""
    return [Row(**row) for row in json.loads(path.read_text())] if path.exists() else []


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)
