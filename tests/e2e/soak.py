"""A soak: five hearths, questions without end, kill -9 at random: `python -m tests.e2e.soak [MINUTES] [SEED]`.

Every question is either answered, with the very words one node would have said, or refused with an error that says
why.  Anything else is lost, and the run fails; so it does when the memory of the node that is never killed grows.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from models.store import ModelStore
from tests.e2e.hearths import Hearth
from tests.sim.tiny_model import install_tiny

NAMES: Final = ("ember", "attic", "spark", "workshop", "kitchen")  # the first is never killed
HOLDERS: Final = ("ember", "attic", "workshop")
ASKERS: Final = ("spark", "kitchen", "ember")
MODEL: Final = "tiny"
QUESTION: Final = "Tell me all you know."
ANSWER_TOKENS: Final = 2000
PATIENCE_S: Final = 120.0  # of one question
PAUSE_S: Final = (3.0, 12.0)  # between one death and the next
DOWN_S: Final = (0.0, 6.0)
SETTLED: Final = 0.25  # of the run: from then on memory must not grow
GROWTH: Final = 1.15


@dataclass
class Tally:
    """What became of the questions."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, megabytes of the node never killed
    lock: threading.Lock = field(default_factory=threading.Lock)


def soak(seconds: float, seed: int) -> int:
    """Run for so long and print what was seen; return the exit code."""
    tally, chance, over = Tally(), random.Random(seed), threading.Event()  # noqa: S311  to be repeated, not secret
    print(f"{seconds / 60:.1f} minutes, seed {seed}", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        hearths = _neighbourhood(Path(folder), stack)
        expected = _ask(hearths["ember"])
        if expected.returncode != 0:
            raise SystemExit(f"the first question was not answered:\n{expected.stderr}")
        threads = [
            threading.Thread(
                target=_keep_asking, args=(hearths[name], json.loads(expected.stdout)["answer"], tally, over)
            )
            for name in ASKERS
        ]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            over.wait(chance.uniform(*PAUSE_S))
            victim = hearths[chance.choice(NAMES[1:])]
            victim.kill()
            tally.deaths[victim.name] += 1
            over.wait(chance.uniform(*DOWN_S))
            victim.start()
            tally.memory.append((time.monotonic() - began, _megabytes(hearths["ember"].pid)))
        over.set()
        for thread in threads:
            thread.join()
    return _report(tally, seconds)


def _neighbourhood(folder: Path, stack: ExitStack) -> dict[str, Hearth]:
    hearths = {name: Hearth(folder / name, name=name, env={"HEARTH_MODELS_DEFAULT": MODEL}) for name in NAMES}
    for name in HOLDERS:
        hearths[name].data_dir.mkdir(parents=True)
        store = ModelStore(hearths[name].data_dir / "models")
        asyncio.run(install_tiny(store, folder / f"{name} files", name=MODEL))
    for hearth in hearths.values():
        stack.callback(hearth.stop, check=False)
        hearth.start()
    for name in NAMES[1:]:
        hearths[name].run("join", *hearths["ember"].json("pair")["words"].split())
    for name in NAMES:
        hearths[name].wait_for(*(other for other in NAMES if other != name))
    return hearths


def _ask(hearth: Hearth) -> subprocess.CompletedProcess[str]:
    """Ask at a hearth; the answer is the same whoever gives it, in however many parts."""
    return hearth.run("ask", "--json", "--max-tokens", str(ANSWER_TOKENS), QUESTION, timeout_s=PATIENCE_S, check=False)


def _keep_asking(hearth: Hearth, expected: str, tally: Tally, over: threading.Event) -> None:
    while not over.is_set():
        try:
            done = _ask(hearth)
        except subprocess.TimeoutExpired:
            outcome, words = "lost", f"{hearth.name}: no end within {PATIENCE_S:.0f} s"
        else:
            outcome, words = _judged(done, expected)
        with tally.lock:
            tally.outcomes[outcome] += 1
            if outcome == "refused":
                tally.refusals[words] += 1
            elif outcome == "lost":
                tally.lost.append(f"{hearth.name}: {words}")
        if outcome == "refused":
            over.wait(0.5)


def _judged(done: subprocess.CompletedProcess[str], expected: str) -> tuple[str, str]:
    if done.returncode == 0:
        answer = json.loads(done.stdout)
        if answer["answer"] != expected:
            return "lost", f"another answer: {done.stdout[:200]!r}"
        return ("answered by several in turn" if answer.get("parts") else "answered"), ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if len(errors) == 1 and "Traceback" not in done.stderr:
        return "refused", errors[0].removeprefix("error: ")[:100]
    return "lost", f"exit {done.returncode}: {done.stderr[-500:]!r}"


def _megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1000


def _report(tally: Tally, seconds: float) -> int:
    settled = [size for at, size in tally.memory if at >= SETTLED * seconds]
    rising = ", ".join(f"{size:.1f}" for size in settled[:: len(settled) // 8 or 1])
    lines = [
        f"asked {sum(tally.outcomes.values())}: " + ", ".join(f"{n} {what}" for what, n in tally.outcomes.items()),
        *(f"  refused {n} times: {words}" for words, n in tally.refusals.most_common(10)),
        *(f"  LOST: {words}" for words in tally.lost[:20]),
        "killed: " + ", ".join(f"{name} {n} times" for name, n in tally.deaths.items()),
        f"memory of the daemon that lived on: {rising} MB",
    ]
    grew = bool(settled) and settled[-1] > GROWTH * settled[0]
    if grew:
        lines.append("its memory GREW")
    print("\n".join(lines))  # noqa: T201
    return 1 if tally.lost or grew or not tally.outcomes["answered"] else 0


if __name__ == "__main__":
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    sys.exit(soak(60 * minutes, int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**6)))
