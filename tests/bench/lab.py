"""The figures of the mesh lab: its scenarios in network namespaces, run several times, the medians of each.

They need root; without it there are no such rows, and the table says so.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.rows import Row, kept

ROUNDS = 5
FOLDER = Path("tests/mesh_lab")
SCENARIOS = ("test_line.py", "test_diamond.py", "test_partition.py", "test_ten.py", "test_broken_links.py")


def rows() -> list[Row]:
    """Run the scenarios ROUNDS times and give the medians."""
    if os.geteuid() != 0:
        sys.stderr.write("left out: the mesh lab makes network namespaces, which needs root\n")
        return []
    seen: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            figures = Path(folder) / f"{number}.json"
            files = [str(FOLDER / name) for name in SCENARIOS]
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-m", "lab", f"--figures={figures}"]
            done = subprocess.run([*command, *files], check=False, capture_output=True, text=True)
            if done.returncode != 0:
                sys.stderr.write(f"a scenario failed:\n{done.stdout[-3000:]}\n")
            seen += kept(figures)
    return medians(seen)


def medians(rows: list[Row]) -> list[Row]:
    """Join rows of one name: the median of their values, the greatest load."""
    joined = []
    for name in dict.fromkeys(row.name for row in rows):
        same = [row for row in rows if row.name == name]
        joined.append(
            Row(
                name=f"{name}, median of {len(same)}" if len(same) > 1 else name,
                value=statistics.median(row.value for row in same),
                unit=same[0].unit,
                goal=same[0].goal,
                load_average=max(row.load_average for row in same),
            )
        )
    return joined
