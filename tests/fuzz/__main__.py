"""Fuzz every target, or those that are named: python -m tests.fuzz [--seconds 60] [NAME...]."""

import argparse
import importlib.util
import os
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.fuzz import of_cards, of_device, of_mesh, of_models
from tests.fuzz.target import Target, mutated

ARTIFACTS = Path("build/fuzz")
TARGETS = (*of_mesh.TARGETS, *of_device.TARGETS, *of_models.TARGETS, *of_cards.TARGETS)
RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def guided(target: Target, seconds: float) -> int | None:
    """Run a target under atheris; return how many inputs it was given, None when one of them was too much for it."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.guided", target.room, target.name]
    command += [str(max(1, round(seconds))), str(ARTIFACTS)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    runs = RUNS.search(done.stdout)
    if done.returncode or runs is None:
        sys.stdout.write(done.stdout)
        return None
    return int(runs[1])


def blind(target: Target, seconds: float) -> int | None:
    """Do the same by plain mutation, where there is no atheris."""
    corpus, chance = target.corpus(), random.Random()  # noqa: S311  anything will do
    end, runs = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(chance.choice(corpus), chance)
        try:
            target.parse(data)
        except Exception:
            ARTIFACTS.mkdir(parents=True, exist_ok=True)
            (ARTIFACTS / f"{target.name}-blind").write_bytes(data)
            raise
        runs += 1
    return runs


def main() -> int:
    """Share the time out, and say what was run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all of them together")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(target.name for target in TARGETS))
    arguments = parser.parse_args()
    chosen = [target for target in TARGETS if not arguments.names or target.name in arguments.names]
    if not chosen:
        parser.error(f"no such target: {' '.join(arguments.names)}")
    # Those that are guided have a process each, and run on every core; the time is that of all cores together.
    has_atheris = importlib.util.find_spec("atheris") is not None
    workers = len(os.sched_getaffinity(0)) if has_atheris else 1
    fuzz, failed = (guided if has_atheris else blind), []
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(fuzz, target, arguments.seconds / len(chosen)): target for target in chosen}
        for future in as_completed(running):
            name, runs = running[future].name, future.result()
            sys.stdout.write(f"{name:16} {'FAILED' if runs is None else f'{runs:9} inputs'}\n")
            sys.stdout.flush()
            if runs is None:
                failed.append(name)
    if failed:
        sys.stdout.write(f"what broke them is in {ARTIFACTS}/; mend it, and keep it in tests/fuzz/corpus/NAME/\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
