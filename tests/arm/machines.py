"""A machine that can be asked: this one, or a board that is emulated; both through the daemon's engine host."""

import asyncio
import json
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.core.request import GenerationRequest, SamplingParams, TokenLogprob, TokensGenerated
from models.gguf import GgufFile
from models.host import EngineHost
from models.store import ModelStore, StoredModel
from tests.arm.company import Company
from tests.arm.emulation import as_interpreter

THREADS: Final = 1  # two would wait for each other when this machine is busy
CONTEXT_TOKENS: Final = 256
TIMED_PROMPT: Final = "Once upon a time, in"
TIMED_STEPS: Final = 8


@dataclass(frozen=True)
class Answer:
    """A greedy answer: its text, and its tokens with the likeliest beside them."""

    text: str
    steps: tuple[TokenLogprob, ...]


class Machine:
    """Answers with a worker of its own."""

    def __init__(self, host: EngineHost, program: Path | None) -> None:
        self._host = host
        self._program = program

    async def answer(self, model: StoredModel, request: GenerationRequest) -> Answer:
        """Ask and wait for all of the answer.  Raises ModelsError."""
        with nullcontext() if self._program is None else as_interpreter(self._program):
            events = [event async for event in self._host.generate(model, request)]
        tokens = [event for event in events if isinstance(event, TokensGenerated)]
        steps = tuple(step for event in tokens for step in event.logprobs)
        return Answer("".join(event.text for event in tokens), steps)

    async def step_cpu_s(self, model: StoredModel) -> float:
        """Measure the processor's time of a decode step, in seconds.  Raises ModelsError.

        What a long answer takes more than a short one to the same question, which was asked before: so whatever is
        kept of its beginning is kept for both.
        """
        short, long = (
            GenerationRequest((), SamplingParams(max_tokens=tokens), prompt=TIMED_PROMPT)
            for tokens in (1, 1 + TIMED_STEPS)
        )
        await self.answer(model, long)
        before = _workers_cpu_s()
        await self.answer(model, short)
        between = _workers_cpu_s()
        await self.answer(model, long)
        return ((_workers_cpu_s() - between) - (between - before)) / TIMED_STEPS


@asynccontextmanager
async def machine(store: ModelStore, cache: Path, program: Path | None = None) -> AsyncIterator[Machine]:
    """Run a host whose workers run in `program`, an interpreter; None for the one that runs this."""
    host = EngineHost(store=store, cache_dir=cache, threads=THREADS, context_tokens=CONTEXT_TOKENS)
    try:
        yield Machine(host, program)
    finally:
        await host.aclose()


async def int8_products_cpu_s(gguf: Path, program: Path) -> float:
    """Measure the processor's time of the products of one decode step of a model with 8-bit weights, in seconds."""
    command = [str(program), "-I", "-m", "tests.arm.int8_products", *_shapes(gguf)]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    return float(done.stdout)


async def company(gguf: Path, cache: Path, program: Path) -> Company:
    """Find out in which company a token has its own logits, with the graph that a worker has left in a host's cache."""
    command = [str(program), "-I", "-m", "tests.arm.company", str(gguf), str(cache / "graphs")]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    return Company(**json.loads(done.stdout))


def _workers_cpu_s() -> float:
    """Sum the processor's time of all threads of this process's workers."""
    return sum(
        int(thread.read_text().split()[0]) / 1e9
        for process in Path("/proc").glob("[0-9]*")
        if _is_worker(process)
        for thread in process.glob("task/*/schedstat")
    )


def _is_worker(process: Path) -> bool:
    try:
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        return int(parent) == os.getpid() and b"\0models.worker\0" in (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # another program's, and it has just ended
        return False


def _shapes(path: Path) -> list[str]:
    """Name each shape of the matrices that a decode step multiplies by, with how many have it."""
    with GgufFile.open(path) as gguf:
        matrices = {name: info for name, info in gguf.tensors.items() if info.rows > 1}
    if "output.weight" in matrices:
        del matrices["token_embd.weight"]  # else it is the head too
    counts = Counter((info.rows, info.columns) for info in matrices.values())
    return [f"{rows}x{columns}x{times}" for (rows, columns), times in sorted(counts.items())]
