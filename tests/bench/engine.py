"""The engine against llama.cpp, on the same files and in the same minutes: speed, memory, and what memory would allow.

Goals speak of llama.cpp built for this machine.  The prebuilt xllamacpp, which is not, is printed beside it.
onnxruntime-genai is no peer: its models come from checkpoints through torch, not from a GGUF.
`make bench AREA=engine ROWS="decode 1B"`: of the families and the files only those that are named.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from models.gguf import GgufFile
from models.graph import convert
from models.packing import pack
from models.store import StoredModel
from tests.bench import constraints, memory_limit
from tests.bench.bandwidth import Bandwidth
from tests.bench.contestants import THREADS, Ours, Peer
from tests.bench.contests import Contest
from tests.bench.native_build import native_python
from tests.bench.prompts import Prompts
from tests.bench.rows import Row, load_average
from tests.bench.shelf import FILES, File, Shelf

CONTESTS: tuple[tuple[str, Callable[[Contest], Awaitable[list[Row]]]], ...] = (
    ("memory", Contest.memory),  # a short answer is all that they have given by then
    ("decode", Contest.decode),
    ("prefill", Contest.prefill),
    ("together", Contest.together),
    ("lookup", Contest.lookup),
    ("prefix", Contest.prefix),
    ("memory", Contest.memory_after),
)
FAMILIES = (*dict(CONTESTS), "limit", "conversion", "schema")
QUIET = 1.0  # runnable processes
LABELS = frozenset(word for file in FILES for word in file.label.split())


def rows() -> list[Row]:
    """Measure what the variable ROWS names, or everything."""
    words = set(os.environ.get("ROWS", "").split())
    if unknown := words - LABELS - set(FAMILIES):
        known = " ".join((*FAMILIES, *sorted(LABELS)))
        raise SystemExit(f"error: there are no rows of {' '.join(sorted(unknown))}\nhint: ROWS are some of {known}")
    families = words & set(FAMILIES) or set(FAMILIES)
    files = [file for file in FILES if words & LABELS <= set(file.label.split())]
    if load_average() > QUIET:
        sys.stderr.write("other programs are at work: engines whose threads wait for each other lose most by that\n")
    shelf = Shelf()
    native = native_python(shelf.folder)
    measured: list[Row] = []
    for file in files if families & {*dict(CONTESTS), "limit"} else ():
        model = shelf.model(file)
        measured += asyncio.run(_of_file(shelf, file, model, families, native))
    gguf = shelf.gguf(shelf.model(FILES[0]))
    if "conversion" in families:
        measured.append(_conversion(gguf))
    if "schema" in families:
        measured += constraints.rows(gguf)
    return measured


async def _of_file(
    shelf: Shelf, file: File, model: StoredModel, families: Collection[str], native: Path | None
) -> list[Row]:
    prompts = Prompts(shelf.store, model)
    measured: list[Row] = []
    if chosen := [measure for family, measure in CONTESTS if family in families]:
        async with _contest(shelf, file, model, prompts, native) as contest:
            for measure in chosen:
                measured += _told(await measure(contest))
    if "limit" in families:  # by itself: it has the kernel forget the files
        measured += _told(await memory_limit.rows(shelf, file, model, prompts))
    return measured


@asynccontextmanager
async def _contest(
    shelf: Shelf, file: File, model: StoredModel, prompts: Prompts, native: Path | None
) -> AsyncIterator[Contest]:
    """Have everybody load the file, and end them."""
    gguf = shelf.gguf(model)
    async with AsyncExitStack() as ends:
        ours = Ours(shelf, model)
        ends.push_async_callback(ours.aclose)
        rivals = [await Peer.native(native, gguf)] if native else []
        others = [await Peer.prebuilt(gguf)]
        for peer in (*rivals, *others):
            ends.push_async_callback(peer.aclose)
        contest = Contest(
            file=file,
            bytes=_weights_bytes(gguf),
            prompts=prompts,
            bandwidth=Bandwidth(THREADS),
            ours=ours,
            rivals=rivals,
            others=others,
        )
        await contest.warm_up()
        yield contest


def _told(rows: list[Row]) -> list[Row]:
    """Say on stderr what has been measured: the table comes minutes later."""
    for row in rows:
        peer = f"; {row.peer}: {row.peer_value:g}" if row.peer_value is not None else ""
        sys.stderr.write(f"  {row.name}: {row.value:g} {row.unit}{peer}\n")
    return rows


def _conversion(gguf: Path) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        convert(gguf, Path(folder) / "graph")
        pack(Path(folder) / "graph")
        return Row(name="conversion", value=round(time.perf_counter() - started, 2), unit="s")


def _weights_bytes(gguf: Path) -> int:
    with GgufFile.open(gguf) as file:
        return sum(tensor.nbytes for tensor in file.tensors.values())
