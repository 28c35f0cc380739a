"""Fills the cache of one sequence from a prompt, with the form of the graph that is made for prompts.

It computes keys and values only: the last token of a prompt, whose logits are wanted, goes through the graph that
decodes.  The session is opened for the first prompt that is worth it, where the memory allows, and let go of when the
engine rests.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from models.core.graph_info import (
    DATA_FILE,
    INT8_CACHE_PREFILL_FILE,
    PACKED_FILES,
    PREFILL_DATA_FILE,
    PREFILL_FILE,
)
from models.errors import EngineError
from models.free_memory import free_bytes
from models.key_value_scales import KeyValueScales
from models.kv_cache import KeyValues
from models.session import RUNTIME_ERRORS, open_session

MIN_TOKENS: Final = 16  # fewer are as fast through the graph that decodes
OPEN_TOKENS: Final = 128  # what a prompt must have for it to be worth the opening
OPEN_MEMORY: Final = 2.5  # of its data's size must be free for it: mapped, packed, and what it computes with
PIECE_TOKENS: Final = 256  # computed at once: attention computes the upper half of every square too, for nothing


class PrefillGraph:
    """The prefill.onnx of a directory that `models.graph.convert` wrote; `of` gives None where there is none."""

    def __init__(
        self,
        graph_dir: Path,
        *,
        threads: int,
        scales: KeyValueScales | None = None,
        free_memory: Callable[[], int | None] = free_bytes,
    ) -> None:
        """scales: of the cache that it fills, where that is int8."""
        self._scales = dict(() if scales is None else scales.inputs())
        self._file = PREFILL_FILE if scales is None else INT8_CACHE_PREFILL_FILE
        self._graph_dir = graph_dir
        self._threads = threads
        self._free_memory = free_memory
        self._session: ort.InferenceSession | None = None

    @classmethod
    def of(cls, graph_dir: Path, *, threads: int, scales: KeyValueScales | None = None) -> "PrefillGraph | None":
        """Give the graph of a directory, if it has one."""
        graph = cls(graph_dir, threads=threads, scales=scales)
        return graph if (graph_dir / graph._file).exists() else None

    def takes(self, tokens: int) -> bool:
        """Whether so many tokens are worth it and the memory allows it.  Raises EngineError where it does not open."""
        if tokens < MIN_TOKENS:
            return False
        if self._session is None and tokens >= OPEN_TOKENS and self._has_memory():
            self._session = open_session(self._graph_dir, threads=self._threads, file=self._file)
        return self._session is not None

    def run(self, ids: Sequence[int], start: int, key_values: Mapping[str, KeyValues]) -> None:
        """Compute the keys and values of tokens `ids` behind the first `start` of a sequence.

        key_values: `layer.key` and `layer.value` with the arrays of one slot, (1, kv heads, room, head size), which are
        read up to `start` and written from there.  `takes` must have said yes.  Raises EngineError.
        """
        if self._session is None:
            raise EngineError("the graph for prompts is not open")
        for at in range(0, len(ids), PIECE_TOKENS):
            self._run(self._session, ids[at : at + PIECE_TOKENS], start + at, key_values)

    def release(self) -> None:
        """Give its memory back; the next prompt opens it again."""
        if self._session is not None:
            self._session = None
            ctypes.CDLL(None).malloc_trim(0)  # glibc would keep most of it for itself

    def _run(
        self, session: ort.InferenceSession, ids: Sequence[int], start: int, key_values: Mapping[str, KeyValues]
    ) -> None:
        binding = session.io_binding()
        stop = start + len(ids)
        inputs: list[tuple[str, npt.NDArray[Any]]] = [
            ("input_ids", np.array([ids], np.int64)),
            ("seqlens_k", np.array([stop - 1], np.int32)),
            ("total_sequence_length", np.array(stop, np.int32)),
            *((f"past.{name}", array) for name, array in key_values.items()),
            *((f"scale.{name}", array) for name, array in self._scales.items()),
        ]
        made: dict[str, KeyValues] = {}
        for name, array in inputs:
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in key_values.items():
            kind, target = "present", array
            if self._scales:
                _, kv_heads, _, head_dim = array.shape
                kind, target = "new", made.setdefault(name, np.empty((1, len(ids), kv_heads, head_dim), np.int8))
            binding.bind_output(f"{kind}.{name}", "cpu", 0, target.dtype.type, target.shape, target.ctypes.data)
        try:
            session.run_with_iobinding(binding)
        except RUNTIME_ERRORS as error:
            raise EngineError(f"the engine failed at token {start}: {error}") from error
        for name, array in made.items():
            key_values[name][:, :, start:stop] = array.transpose(0, 2, 1, 3)

    def _has_memory(self) -> bool:
        data = self._graph_dir / PREFILL_DATA_FILE
        needed = OPEN_MEMORY * (data if data.exists() else self._graph_dir / DATA_FILE).stat().st_size
        if (self._graph_dir / PACKED_FILES[self._file]).exists():
            needed /= 2  # half of the file is the packed form
        free = self._free_memory()
        return free is None or free >= needed
