"""The command, run in this process, against a daemon of scripted answers."""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.cli.main import main
from tests.sim.daemon import SimulatedDaemon


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


Hearth = Callable[..., Done]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SimulatedDaemon]:
    """A simulated daemon that listens."""
    with SimulatedDaemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def hearth(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Hearth:
    """`hearth("ask", "…", stdin="…")` with the daemon's data directory."""

    def run(*words: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            code = main(["--data", str(tmp_path), *words])
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Done(code, said.out, said.err)

    return run
