"""Mutate the fold and say who survives: python -m tests.mutation [--again] [MODULE...].

The exit code is 1 where somebody survives whom `survivors.txt` does not explain.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutation import trial
from tests.mutation.change import Change, read, write
from tests.mutation.mutants import mutants_of
from tests.mutation.subjects import SUBJECTS, TESTS, TOO_SLOW

ROOT: Final = Path(__file__).resolve().parents[2]
CORE: Final = Path("mesh/core")
EXPLAINED: Final = Path(__file__).with_name("survivors.txt")
FOUND: Final = Path("build/mutants")  # whom nobody noticed the last time, by module, in the form of survivors.txt
PROGRESS_S: Final = 30.0
PATIENCE: Final = 3  # times what the tests take where nothing is altered, and PATIENCE_S seconds
PATIENCE_S: Final = 5


@dataclass
class Score:
    """Of one module."""

    module: str
    mutants: int = 0
    survivors: list[Change] = field(default_factory=list)
    took_s: float = 0.0


def main() -> int:
    """Try every mutant of the modules that are named, or of all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--again", action="store_true", help="only those that survived the last time")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(SUBJECTS))
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.modules if name not in SUBJECTS]:
        parser.error(f"no such module: {', '.join(unknown)}")
    FOUND.mkdir(parents=True, exist_ok=True)
    explained = read(EXPLAINED.read_text())
    trial.load()
    scores = [_score(name, explained, again=arguments.again) for name in arguments.modules or SUBJECTS]
    return _report(scores, explained)


def _score(module: str, explained: dict[Change, str], *, again: bool) -> Score:
    path, found, started = CORE / f"{module}.py", FOUND / f"{module}.txt", time.monotonic()
    code = (ROOT / path).read_text()
    mutants = [*mutants_of(module, code)]
    if again and found.exists():
        before = read(found.read_text())
        mutants = [mutant for mutant in mutants if mutant.change in before]
    cpu_s = _cpu_of(module, path, code)
    _say(f"{module}: {len(mutants)} mutants; the tests take {cpu_s:.1f} s where nothing is altered")
    score, said = Score(module, len(mutants)), time.monotonic()
    for number, mutant in enumerate(mutants, 1):
        if not _run(module, path, mutant.code, PATIENCE * cpu_s + PATIENCE_S).noticed:
            score.survivors.append(mutant.change)
            if mutant.change not in explained:
                _say(f"\nsurvives: {mutant.change}")
        if time.monotonic() - said > PROGRESS_S:
            said = time.monotonic()
            _say(f"{module}: {number} of {len(mutants)}, of which {len(score.survivors)} survive")
    found.write_text(write(score.survivors, explained))
    score.took_s = time.monotonic() - started
    return score


def _cpu_of(module: str, path: Path, code: str) -> float:
    """Return what the tests take where nothing is altered.  Errors: SystemExit where they fail even so."""
    outcome = _run(module, path, code, 600.0)
    if outcome.noticed:
        raise SystemExit(f"error: the tests of {module} fail though nothing is altered\nhint: see {_log(module)}")
    return outcome.cpu_s


def _run(module: str, path: Path, code: str, cpu_s: float) -> trial.Outcome:
    tests = [f"{TESTS}/{name}.py" for name in SUBJECTS[module]]
    tests += [option for name in TOO_SLOW for option in ("--deselect", f"{TESTS}/{name}")]
    return trial.run(f"mesh.core.{module}", path, code, tests=tests, log=_log(module), cpu_s=cpu_s)


def _log(module: str) -> Path:
    return FOUND / f"{module}.log"


def _report(scores: list[Score], explained: dict[Change, str]) -> int:
    """Print who survives, what may be taken out of the explanations, and the score."""
    unexplained = [change for score in scores for change in score.survivors if change not in explained]
    _say("\nmodule        mutants  noticed  explained  unexplained  score   time")
    total = Score("in all")
    for score in scores:
        total.mutants += score.mutants
        total.survivors += score.survivors
        total.took_s += score.took_s
    for score in (*scores, total):
        strange = sum(change not in explained for change in score.survivors)
        noticed = score.mutants - len(score.survivors)
        known = len(score.survivors) - strange
        share = 100 * noticed / score.mutants if score.mutants else 100.0
        counts = f"{score.mutants:8} {noticed:8} {known:10} {strange:12}"
        _say(f"{score.module:12} {counts} {share:5.1f} % {score.took_s:5.0f} s")
    idle = [one for one in explained if any(one.module == s.module and one not in s.survivors for s in scores)]
    if idle:
        _say(f"\nexplained in {EXPLAINED.relative_to(ROOT)}, and noticed now or not there any more:\n")
        _say(write(idle, explained))
    if unexplained:
        _say("\nerror: nobody notices these, and nobody explains them:\n")
        _say("\n\n".join(str(change) for change in unexplained))
        _say(f"\nhint: write a test that fails with it, or say in {EXPLAINED.relative_to(ROOT)} why none can")
    return 1 if unexplained else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
