"""Fills the cache of one sequence from a prompt, with the form of the graph that is made for prompts.

It computes keys and values only: the last token of a prompt, whose logits are wanted, goes through the graph that
decodes.  The session is opened for the first prompt that is worth it, where the memory allows, and let go of when the
engine rests.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from models.core.graph_info import (
    DATA_FILE,
    INT8_CACHE_PREFILL_FILE,
    PACKED_FILES,
    PREFILL_DATA_FILE,
    PREFILL_FILE,
)
from models.core.memory_need import PROMPT_GRAPH
from models.errors import EngineError
from models.free_memory import free_bytes
from models.key_value_scales import FloatArray, KeyValueScales
from models.kv_cache import KeyValues
from models.session import Session, bind_inputs, bind_outputs, open_session, run

MIN_TOKENS: Final = 16  # fewer are as fast through the graph that decodes
OPEN_TOKENS: Final = 128  # what a prompt must have for it to be worth the opening
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
        self._session: Session | None = None
        self._bindings: dict[int, _Binding] = {}  # by where the memory of a slot begins

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
        read up to `start` and written from there; they must live as long as this.  `takes` must have said yes.
        Raises EngineError.
        """
        if self._session is None:
            raise EngineError("the graph for prompts is not open")
        memory = next(iter(key_values.values())).ctypes.data
        if memory not in self._bindings:
            self._bindings[memory] = _Binding(self._session, key_values, self._scales)
        for at in range(0, len(ids), PIECE_TOKENS):
            self._bindings[memory].run(ids[at : at + PIECE_TOKENS], start + at)

    def release(self) -> None:
        """Give its memory back; the next prompt opens it again."""
        if self._session is not None:
            self._session = None
            self._bindings.clear()
            ctypes.CDLL(None).malloc_trim(0)  # glibc would keep most of it for itself

    def _has_memory(self) -> bool:
        data = self._graph_dir / PREFILL_DATA_FILE
        size = (data if data.exists() else self._graph_dir / DATA_FILE).stat().st_size
        # Half of the file is the packed form, if it is there; else the runtime packs all of it into memory of its own.
        packed = (self._graph_dir / PACKED_FILES[self._file]).exists()
        needed = PROMPT_GRAPH * size / 2 if packed else (PROMPT_GRAPH + 1) * size
        free = self._free_memory()
        return free is None or free >= needed


class _Binding:
    """A slot's memory, named once for all prompts in it: for each piece it would take as long as computing a token."""

    def __init__(self, session: Session, key_values: Mapping[str, KeyValues], scales: Mapping[str, FloatArray]) -> None:
        self._session = session
        self._key_values = key_values
        self._new: dict[str, KeyValues] = {}
        self._last, self._total = np.zeros(1, np.int32), np.zeros((), np.int32)
        self._binding = session.io_binding()
        bind_inputs(self._binding, {"seqlens_k": self._last, "total_sequence_length": self._total})
        bind_inputs(self._binding, {f"past.{name}": array for name, array in key_values.items()})
        bind_inputs(self._binding, {f"scale.{name}": array for name, array in scales.items()})
        if not scales:
            bind_outputs(self._binding, {f"present.{name}": array for name, array in key_values.items()})
        self._apart = bool(scales)  # what is new comes by itself, in bytes

    def run(self, ids: Sequence[int], start: int) -> None:
        """Compute one piece.  Raises EngineError."""
        stop = start + len(ids)
        self._last[0], self._total[()] = stop - 1, stop
        tokens = np.array([ids], np.int64)
        bind_inputs(self._binding, {"input_ids": tokens})
        if self._apart and (not self._new or next(iter(self._new.values())).shape[1] != len(ids)):
            self._make_room(len(ids))
        run(self._session, self._binding, at=f"token {start}")
        for name, array in self._new.items():
            self._key_values[name][:, :, start:stop] = array.transpose(0, 2, 1, 3)

    def _make_room(self, tokens: int) -> None:
        for name, array in self._key_values.items():
            _, kv_heads, _, head_dim = array.shape
            self._new[name] = np.empty((1, tokens, kv_heads, head_dim), np.int8)
        bind_outputs(self._binding, {f"new.{name}": array for name, array in self._new.items()})
