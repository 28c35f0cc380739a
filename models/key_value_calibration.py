"""Measures, in a process that has converted a model, what the scales of its int8 key-value cache must be."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from models.calibration import calibration_ids
from models.core.board_profile import GraphForm
from models.engine import Engine
from models.errors import CorruptModelError, NotEnoughMemoryError
from models.free_memory import free_bytes
from models.gguf import GgufFile
from models.key_value_scales import KeyValueScales, ScalesMeter
from models.memory import need_of
from models.tokenizer import Tokenizer

WINDOWS: Final = 16  # pieces of the text, from all over it: what kinds of text there are matters more than how much
WINDOW: Final = 64  # tokens of a piece
HEADROOM: Final = 1.05  # for texts that no piece is like


def calibrate(
    gguf_path: Path,
    graph_dir: Path,
    *,
    threads: int,
    progress: Callable[[float], None],
    form: GraphForm = GraphForm.EXACT,
    free_memory: Callable[[], int | None] = free_bytes,
) -> None:
    """Measure a graph that was converted from `gguf_path`, and keep the scales beside it.

    form: that the board uses for tokens; `progress` hears the done part, 0 to 1.  Raises EngineError,
    CorruptModelError, UnsupportedModelError, DiskFullError, StoreWriteError; NotEnoughMemoryError before it opens what
    another model that is loaded leaves no memory for.
    """
    with GgufFile.open(gguf_path) as gguf:
        needed = need_of(gguf, chunk_tokens=WINDOW, kv_cache="float32", form=form).bytes_for(WINDOW)
        free = free_memory()
        if free is not None and free < needed:
            raise NotEnoughMemoryError(needed, free, WINDOW, 0)
        tokenizer = Tokenizer.from_gguf(gguf)
    measure_scales(graph_dir, tokenizer, threads=threads, progress=progress).save(graph_dir)


def measure_scales(
    graph_dir: Path, tokenizer: Tokenizer, *, threads: int, progress: Callable[[float], None]
) -> KeyValueScales:
    """Run a graph over the calibration text and see how large keys and values become."""
    engine = Engine(graph_dir, threads=threads, context_tokens=WINDOW)
    meter = ScalesMeter()
    windows = measured_windows(tokenizer)
    if not windows or max(map(max, windows)) >= engine.info.vocabulary:
        raise CorruptModelError("the model's vocabulary has no words for plain text, or others than its embedding")
    for done, window in enumerate(windows, 1):
        window = window[: engine.context_tokens]  # noqa: PLW2901  of a model that knows less
        engine.append(0, 0, window)
        meter.add(engine.cache.saved(0, 0, len(window)))
        progress(done / len(windows))
    return meter.scales(headroom=HEADROOM)


def measured_windows(tokenizer: Tokenizer) -> list[list[int]]:
    """Cut pieces out of the calibration text, each begun with the token that the model wants first."""
    ids = calibration_ids(tokenizer)
    first = [token for token in ids[:1] if token in tokenizer.control_ids]
    words, length = ids[len(first) :], WINDOW - len(first)
    room = max(0, len(words) - length)
    starts = sorted({step * room // (WINDOWS - 1) for step in range(WINDOWS)})
    return [[*first, *words[start : start + length]] for start in starts if words]
