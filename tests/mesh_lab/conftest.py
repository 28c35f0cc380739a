"""What every test of the lab has: a laboratory, nodes that end with it, and a table of how long things took."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.bench.lab import medians
from tests.bench.rows import Row, keep, load_average, table
from tests.mesh_lab.net import Lab

Measured = Callable[..., None]
"""Keep a figure: `measured(name, value, unit="s", goal="")`; of several with one name the median is printed."""

FIGURES: Final[pytest.StashKey[list[Row]]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for what will be measured."""
    config.stash[FIGURES] = []


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> Measured:
    """Take down how long something took, for the table at the end; no test fails by it."""

    def keep(name: str, value: float, *, unit: str = "s", goal: str = "") -> None:
        pytestconfig.stash[FIGURES].append(Row(name=name, value=value, unit=unit, goal=goal))

    return keep


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Namespaces that are gone when the module's tests are over."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the module's nodes keep what they own."""
    return tmp_path_factory.mktemp("nodes")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a benchmark collect the figures."""
    parser.addoption("--figures", type=Path, help="where to write what was measured, as JSON")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, and keep it where it is wanted."""
    rows = config.stash.get(FIGURES, [])
    if rows:
        terminalreporter.section("measured in the mesh lab")
        terminalreporter.write_line(table(medians(rows)))
        terminalreporter.write_line(f"load average at the end: {load_average()}")
    if path := config.getoption("--figures"):
        keep(rows, path)
