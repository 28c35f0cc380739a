"""`make test-arm [CPU=cortex-a53]`: ask every board, or the one named; the exit code is 1 where something is wrong."""

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gguf import GGMLQuantizationType as Type

from models.catalogue import Catalogue
from models.fetch import cache_directory, pull
from models.store import ModelStore, StoredModel
from tests.arm.boards import BOARDS
from tests.arm.emulation import EmulatorMissingError, emulated_python
from tests.arm.examination import Examination
from tests.arm.userland import UserlandError, cache_folder, prepare
from tests.bench.rows import Row, table
from tests.models.files import file_entry
from tests.models.tiny import TinyModel, write_tiny

REAL: Final = "smollm2-135m"
LOG: Final = Path("build/arm.log")

TINY: Final = {
    "tiny": TinyModel(context_tokens=512),  # quantised throughout, as real models are
    "tiny-mixed": TinyModel(  # every type of weights that there is, in products of several matrices and of one
        context_tokens=512,
        types={
            "0.attn_output.weight": Type.Q4_0,
            "0.ffn_down.weight": Type.Q8_0,
            "1.attn_v.weight": Type.Q8_0,
            "1.attn_output.weight": Type.F16,
            "1.ffn_up.weight": Type.Q4_0,
            "1.ffn_down.weight": Type.F32,
        },
    ),
}


def main(arguments: list[str]) -> int:
    """Examine the boards whose processors are named, or all."""
    cpus = [board.cpu for board in BOARDS]
    unknown = [cpu for cpu in arguments if cpu not in cpus]
    if unknown:
        _say(f"error: no board with {', '.join(unknown)}\nhint: CPU is one of {', '.join(cpus)}")
        return 2
    LOG.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=LOG, filemode="w", level=logging.INFO)
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows, complaints = asyncio.run(_examine(arguments or cpus, Path(folder)))
    except (EmulatorMissingError, UserlandError) as error:
        _say(f"error: {error}")
        return 2
    _say(f"\n{table(rows)}\n")
    _say("\n".join(f"error: {complaint}" for complaint in complaints) or "every board works as this machine does")
    if complaints:
        _say(f"hint: what the workers wrote is in {LOG}")
    return 1 if complaints else 0


async def _examine(cpus: Iterable[str], folder: Path) -> tuple[list[Row], list[str]]:
    rows, complaints = [], []
    userland = await asyncio.to_thread(prepare, cache_folder(os.environ))
    programs = {board: emulated_python(board, userland, folder / board.cpu) for board in BOARDS if board.cpu in cpus}
    store = ModelStore(folder / "store")
    tiny, real = await _models(store, folder)
    examination = Examination(store, tiny=tiny, real=real, folder=folder / "caches", say=_say)
    rows += (await examination.here(Path(sys.executable))).rows
    for board, program in programs.items():
        started = time.monotonic()
        _say(f"\n== {board.cpu}: {board.name}")
        found = await examination.board(board.cpu, program)
        _say(f"it took {time.monotonic() - started:.0f} s")
        rows += found.rows
        complaints += [f"{board.cpu}: {complaint}" for complaint in found.complaints]
    return rows, complaints


async def _models(store: ModelStore, folder: Path) -> tuple[list[StoredModel], StoredModel]:
    """Put the tiny models and the real one into a store."""
    entry = Catalogue.load().find(REAL)
    cache = cache_directory(os.environ)
    real = await pull(entry, store=store, cache_dir=cache, progress=lambda _: None)
    tiny = []
    for name, form in TINY.items():
        entry = file_entry(name, await asyncio.to_thread(write_tiny, folder / f"{name}.gguf", form))
        tiny.append(await pull(entry, store=store, cache_dir=folder / "fetched", progress=lambda _: None))
    return tiny, real


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
