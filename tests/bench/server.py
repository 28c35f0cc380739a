"""The daemon by itself: how soon it is ready, what it weighs, what it does while nobody asks; and its API."""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench import api, fairness, page
from tests.bench.processes import cpu_s, resident_mb
from tests.bench.rows import Row
from tests.e2e.hearths import COMMAND, Hearth

STARTS = 5
IDLE_S = 10.0
SETTLE_S = 2.0


def rows() -> list[Row]:
    """Measure everything of this area."""
    help_s = [_seconds([str(COMMAND), "--help"]) for _ in range(STARTS)]
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as folder:
        ready_s, weight_mb, idle_percent = _daemon(Path(folder))
    return [
        Row(name="hearth --help", value=statistics.median(help_s), unit="s", goal="<= 0.25"),
        Row(name="daemon ready, empty directory", value=statistics.median(ready_s), unit="s", goal="<= 1.5"),
        Row(name="daemon resident, no model", value=weight_mb, unit="MB", goal="<= 75"),
        Row(name="daemon idle", value=idle_percent, unit="% of a core", goal="<= 2"),
        *api.rows(),
        *fairness.rows(),
        *page.rows(),
    ]


def _daemon(folder: Path) -> tuple[list[float], float, float]:
    """Seconds of each start, and what the last one weighs (MB) and does (% of a core) without a model."""
    ready_s = []
    weight_mb = idle_percent = 0.0
    for number in range(STARTS):
        started = time.perf_counter()
        with Hearth(folder / f"alone{number}", name="alone") as hearth:
            ready_s.append(time.perf_counter() - started)
            if number == STARTS - 1:
                time.sleep(SETTLE_S)
                weight_mb = resident_mb(hearth.pid)
                idle_percent = _idle_percent(hearth.pid)
    return ready_s, weight_mb, idle_percent


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def _idle_percent(pid: int) -> float:
    before = cpu_s(pid)
    time.sleep(IDLE_S)
    return 100 * (cpu_s(pid) - before) / IDLE_S
