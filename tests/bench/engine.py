"""The engine against llama.cpp (the prebuilt xllamacpp) on the same Q4_1 file: decode, prefill, memory.

Each runs in a process of its own, so that neither's idle threads spin while the other is timed, and they take turns.
Ours has the environment that the daemon gives its engine.
"""

import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from models.catalogue import Catalogue
from models.engine import Engine
from models.fetch import cache_directory, pull
from models.graph import convert
from models.packing import pack
from models.store import ModelStore
from models.worker_process import board_memory_bytes, worker_environment
from tests.bench import constraints
from tests.bench.rows import Row
from tests.models.llama_cpp import LlamaCpp

MODEL = "smollm2-135m"
THREADS = 2
PROMPT_TOKENS = 512
DECODE_PROMPT_TOKENS = 64
DECODE_TOKENS = 64
CONTEXT_TOKENS = 1024
ROUNDS = 7
PEER = "xllamacpp"


def rows() -> list[Row]:
    """Measure ROUNDS times in turns and give the medians."""
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder) / "store")
        entry = Catalogue.load().find(MODEL)
        asyncio.run(pull(entry, store=store, cache_dir=cache_directory(os.environ), progress=lambda _: None))
        gguf, graph = store.blob_path(entry.sha256), Path(folder) / "graph"
        started = time.perf_counter()
        convert(gguf, graph)
        pack(graph)
        converted = time.perf_counter() - started
        with Contestant("ours", graph) as ours, Contestant("llama.cpp", gguf) as peer:
            contest = [
                _contest(ours, peer, "decode", goal=">= 1.2x"),
                _contest(ours, peer, "prefill", goal=">= 1.5x"),
            ]
            memory = _row("own memory after this", ours.measure("memory"), "MB", "", peer.measure("memory"))
        conversion = Row(name="conversion", value=round(converted, 2), unit="s")
        return [*contest, memory, conversion, *constraints.rows(gguf)]


def _contest(ours: "Contestant", peer: "Contestant", task: str, *, goal: str) -> Row:
    """Let both do a task in turns, once unmeasured."""
    ours.measure(task)
    peer.measure(task)
    pairs = [(ours.measure(task), peer.measure(task)) for _ in range(ROUNDS)]
    return _row(
        task, statistics.median(our for our, _ in pairs), "tokens/s", goal, statistics.median(it for _, it in pairs)
    )


def _row(name: str, value: float, unit: str, goal: str, peer_value: float) -> Row:
    return Row(
        name=name,
        value=round(value, 1),
        unit=unit,
        goal=goal,
        peer=PEER,
        peer_value=round(peer_value, 1),
        ratio=round(value / peer_value, 2),
    )


class Contestant:
    """A child process that runs one of the two engines and measures on request."""

    def __init__(self, kind: str, model: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.engine", kind, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(worker_environment(board_memory_bytes()) if kind == "ours" else {})},
        )

    def measure(self, task: str) -> float:
        """Have a task done; return the child's figure."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{task}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:  # libraries print banners between
            if line.startswith("measured "):
                return float(line.split()[1])
        message = f"the engine's process ended during {task}"
        raise RuntimeError(message)

    def __enter__(self) -> Self:
        """Return the running contestant."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child."""
        self._process.communicate()


def _our_tasks(graph: Path) -> dict[str, Callable[[], float]]:
    engine = Engine(graph, threads=THREADS, context_tokens=CONTEXT_TOKENS)

    def prefill() -> float:
        started = time.perf_counter()
        engine.append(0, 0, _prompt(PROMPT_TOKENS))
        return PROMPT_TOKENS / (time.perf_counter() - started)

    def decode() -> float:
        logits = engine.append(0, 0, _prompt(DECODE_PROMPT_TOKENS))
        started = time.perf_counter()
        for held in range(DECODE_PROMPT_TOKENS, DECODE_PROMPT_TOKENS + DECODE_TOKENS):
            logits = engine.advance(0, [int(np.argmax(logits))], [held])[0]
        return DECODE_TOKENS / (time.perf_counter() - started)

    return {"prefill": prefill, "decode": decode, "memory": _own_megabytes}


def _peer_tasks(gguf: Path) -> dict[str, Callable[[], float]]:
    llama_cpp = LlamaCpp(gguf, threads=THREADS, context_tokens=CONTEXT_TOKENS)

    def timed(prompt: list[int], tokens: int, figure: str) -> float:
        reply = llama_cpp.complete(prompt, n_predict=tokens, cache_prompt=False, ignore_eos=True)
        return float(reply["timings"][figure])

    return {
        "prefill": lambda: timed(_prompt(PROMPT_TOKENS), 1, "prompt_per_second"),
        "decode": lambda: timed(_prompt(DECODE_PROMPT_TOKENS), DECODE_TOKENS, "predicted_per_second"),
        "memory": _own_megabytes,
    }


def _prompt(tokens: int) -> list[int]:
    """Ids of no text: what is computed does not depend on what they say."""
    return [int(token) for token in np.random.default_rng(0).integers(100, 40_000, tokens)]


def _own_megabytes() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return sum(int(kilobytes) for kilobytes in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+)", status, re.MULTILINE)) / 1000


def _serve(kind: str, model: str) -> None:
    """Be a contestant: one task a line in, one figure a line out."""
    tasks = (_our_tasks if kind == "ours" else _peer_tasks)(Path(model))
    for line in sys.stdin:
        sys.stdout.write(f"measured {tasks[line.strip()]()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2])
