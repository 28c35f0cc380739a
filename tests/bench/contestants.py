"""Who takes part: our engine as the daemon runs it, and llama.cpp in processes of its own.

Each has its own process, so that neither's idle threads spin while the other is timed.
"""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.core.request import GenerationRequest, SamplingParams, TokensGenerated
from models.host import EngineHost
from models.store import StoredModel
from tests.bench.processes import children, command_line
from tests.bench.prompts import Prompt
from tests.bench.shelf import Shelf

THREADS = 2
CONTEXT_TOKENS = 1024
SLOTS = 8
PREFIX_BYTES = 512_000_000


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What answering took: until the first token of any answer, and until the last of all.

    tokens: of all answers; begun: how many of them came with the first; steps: in how many pieces they came.
    """

    first_s: float
    whole_s: float
    tokens: int
    begun: int
    steps: int

    @property
    def tokens_per_s(self) -> float:
        """How fast one answer goes on once it has begun."""
        return (self.tokens - self.begun) / (self.whole_s - self.first_s)

    @property
    def steps_per_s(self) -> float:
        """How often the weights were read."""
        return (self.steps - 1) / (self.whole_s - self.first_s)

    @property
    def together_per_s(self) -> float:
        """Tokens of all answers for each second of the whole, prompts included."""
        return self.tokens / self.whole_s


class Contestant(Protocol):
    """An engine with one model loaded."""

    name: str

    async def answer(self, prompts: Sequence[Prompt], *, tokens: int, keep: int = 0) -> Timing:
        """Answer all prompts at once, greedily, with so many tokens each.

        keep: how many tokens of the one prompt are the last one's; who finds that out by itself need not be told.
        """
        ...

    @property
    def pid(self) -> int:
        """The process that has the model."""
        ...

    async def aclose(self) -> None:
        """End it."""
        ...


class Ours:
    """An EngineHost, asked as the daemon asks it, and timed as the asker sees it."""

    name = "ours"

    def __init__(self, shelf: Shelf, model: StoredModel) -> None:
        self._model = model
        self._host = EngineHost(
            store=shelf.store,
            cache_dir=shelf.folder,
            threads=THREADS,
            context_tokens=CONTEXT_TOKENS,
            slots=SLOTS,
            prefix_bytes=PREFIX_BYTES,
        )

    async def answer(self, prompts: Sequence[Prompt], *, tokens: int, keep: int = 0) -> Timing:  # noqa: ARG002
        """Ask all at once."""
        started = time.perf_counter()
        answers = await asyncio.gather(*(self._one(prompt, tokens) for prompt in prompts))
        return Timing(
            first_s=min(first for first, *_ in answers) - started,
            whole_s=time.perf_counter() - started,
            tokens=sum(sum(pieces) for _, pieces in answers),
            begun=sum(pieces[0] for _, pieces in answers),
            steps=sum(len(pieces) for _, pieces in answers),
        )

    async def _one(self, prompt: Prompt, tokens: int) -> tuple[float, list[int]]:
        """Return when the first token came, and how many came with it and with each later piece."""
        request = GenerationRequest(prompt.messages, SamplingParams(max_tokens=tokens), prompt=prompt.text)
        first, pieces = 0.0, []
        async with aclosing(self._host.generate(self._model, request, scope="bench")) as events:
            async for event in events:
                if isinstance(event, TokensGenerated) and event.ids:
                    first = first or time.perf_counter()
                    pieces.append(len(event.ids))
        return first, pieces

    @property
    def pid(self) -> int:
        """The worker."""
        (worker,) = (child for child in children(os.getpid()) if "models.worker" in command_line(child))
        return worker

    async def aclose(self) -> None:
        """End the worker."""
        await self._host.aclose()


class Peer:
    """A child that answers questions, a line each."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def native(cls, python: Path, gguf: Path) -> "Peer":
        """Start llama.cpp built for this machine."""
        script = Path(__file__).with_name("llama_cpp_native.py")
        # Its folder is no place to import from: there are modules of names that libraries use too.
        return await cls._start("llama.cpp, native", [str(python), "-P", str(script)], gguf)

    @classmethod
    async def prebuilt(cls, gguf: Path) -> "Peer":
        """Start llama.cpp from the package index."""
        return await cls._start("xllamacpp", [sys.executable, "-m", "tests.bench.llama_cpp_prebuilt"], gguf)

    @classmethod
    async def _start(cls, name: str, command: list[str], gguf: Path) -> "Peer":
        process = await asyncio.create_subprocess_exec(
            *command, str(gguf), str(THREADS), stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        return cls(name, process)

    async def answer(self, prompts: Sequence[Prompt], *, tokens: int, keep: int = 0) -> Timing:
        """Send the question and wait for its figures."""
        assert self._process.stdin
        assert self._process.stdout
        question = {"prompts": [prompt.ids for prompt in prompts], "tokens": tokens, "keep": keep}
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        await self._process.stdin.drain()
        async for line in self._process.stdout:  # libraries print banners between
            if line.startswith(b"measured "):
                figures = json.loads(line.removeprefix(b"measured "))
                return Timing(**figures, begun=len(prompts), steps=figures["tokens"])
        raise RuntimeError(f"{self.name} ended with status {await self._process.wait()}")

    @property
    def pid(self) -> int:
        """The child."""
        return self._process.pid

    async def aclose(self) -> None:
        """Let it end."""
        await self._process.communicate(b"")  # that closes its standard input
