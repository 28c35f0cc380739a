"""`make bench [AREA=…]`: run the areas asked for, print their tables, keep them in build/bench/AREA.json."""

import importlib
import sys
from pathlib import Path

from tests.bench.rows import keep, load_average, table

AREAS = ("engine", "ledger", "mesh", "server", "sharing")
FOLDER = Path("build/bench")


def main(arguments: list[str]) -> int:
    """Run the areas named, or all; return the exit code."""
    unknown = [area for area in arguments if area not in AREAS]
    if unknown:
        sys.stderr.write(f"error: no benchmark area {', '.join(unknown)}\nhint: AREA is one of {', '.join(AREAS)}\n")
        return 2
    for area in arguments or AREAS:
        sys.stdout.write(f"\n{area} (load average {load_average()})\n")
        sys.stdout.flush()
        rows = importlib.import_module(f"tests.bench.{area}").rows()
        keep(rows, FOLDER / f"{area}.json")
        sys.stdout.write(table(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
