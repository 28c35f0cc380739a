"""Runs a converted graph for several sequences, each in a slot of one preallocated key-value cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.core.batching import MOST_TOKENS
from models.core.graph_info import INT8_CACHE_FILE, MODEL_FILE
from models.errors import PromptTooLongError
from models.key_value_scales import KeyValueScales
from models.kv_cache import KeyValueCache
from models.prefill import PrefillGraph
from models.session import Binding, bind_inputs, bind_outputs, graph_info, open_session, run

FloatArray = npt.NDArray[np.float32]


class Engine:
    """Appends tokens to sequences and gives the logits of the last ones: float32, a view that the next call overwrites.

    The caller knows how many tokens each slot holds, and may write over them: whatever stands behind `start` is
    forgotten.  Raises EngineError where the runtime fails, PromptTooLongError where a slot has no room.
    """

    def __init__(
        self,
        graph_dir: Path,
        *,
        threads: int,
        context_tokens: int,
        slots: int = 1,
        scales: KeyValueScales | None = None,
    ) -> None:
        """Keys and values are kept as int8 where there are `scales`, else as float32.

        context_tokens: of a slot; 0 for as many as the model knows, whatever memory they take.
        """
        file = MODEL_FILE if scales is None else INT8_CACHE_FILE
        self._session = open_session(graph_dir, threads=threads, file=file)
        self._prefill = PrefillGraph.of(graph_dir, threads=threads, scales=scales)
        self.info = graph_info(self._session)
        self.context_tokens = min(context_tokens or self.info.context_tokens, self.info.context_tokens)
        self.cache = KeyValueCache(self.info, slots=slots, room=self.context_tokens, scales=scales)
        self._tokens = np.zeros((slots, 1), np.int64)
        self._last_held = np.zeros((slots,), np.int32)
        self._total = np.zeros((), np.int32)
        self._rows = np.arange(slots, dtype=np.int64)[None]
        self._logits = _room_for(slots, self.info.vocabulary)
        self._rounds: dict[tuple[int, int], Binding] = {}  # by first slot and count
        self._singles: dict[int, Binding] = {}  # by slot

    @property
    def slots(self) -> int:
        """How many sequences there can be."""
        return self.cache.slots

    def append(self, slot: int, start: int, ids: Sequence[int], *, rows: int = 1) -> FloatArray:
        """Put tokens behind the first `start` of a slot; return the logits of the last `rows`, (rows, vocabulary).

        The tokens are computed MOST_TOKENS at a time; the rows must be of the last of these chunks.
        """
        self._require_room(start + len(ids))
        if rows == 1 and self._prefill is not None and self._prefill.takes(len(ids)):
            self._append_prompt(self._prefill, slot, start, ids)
        else:
            self._append(slot, start, ids, rows)
        logits: FloatArray = self._logits[0, :rows]
        return logits

    def advance(self, first: int, tokens: Sequence[int], held: Sequence[int]) -> FloatArray:
        """Append one token to each of the slots from `first` on, which hold so many; return (slots, vocabulary)."""
        count = len(tokens)
        self._require_room(max(held) + 1)
        self._tokens[:count, 0] = tokens
        self._last_held[:count] = held
        self._total[()] = max(held) + 1
        key = (first, count)
        if key not in self._rounds:
            self._rounds[key] = self._cache_bound(first, count)
            _bind_call(self._rounds[key], self._tokens[:count], self._rows[:, :count], self._logits[:, :count])
        self._run(self._rounds[key], f"{count} sequences")
        logits: FloatArray = self._logits[0, :count]
        return logits

    def rest(self) -> None:
        """Give back the memory that only prompts need."""
        if self._prefill is not None:
            self._prefill.release()

    def _append_prompt(self, prefill: PrefillGraph, slot: int, start: int, ids: Sequence[int]) -> None:
        """Have keys and values made by the graph for prompts, and the last token's logits by the one that decodes.

        All keys and values are of the one kind, so that they do not depend on how a prompt was cut into chunks.
        """
        arrays = {name: array[slot : slot + 1] for name, array in self.cache.arrays()}
        prefill.run(ids, start, arrays)
        last = start + len(ids) - 1
        kept = self.cache.saved(slot, last, last + 1)
        self._append(slot, last, ids[-1:], 1)
        self.cache.restore(slot, last, kept)

    def _append(self, slot: int, start: int, ids: Sequence[int], rows: int) -> None:
        if rows > self._logits.shape[1]:
            self._logits, self._rounds = _room_for(rows, self.info.vocabulary), {}
        for at in range(0, len(ids), MOST_TOKENS):
            chunk = np.array([ids[at : at + MOST_TOKENS]], np.int64)
            count = rows if at + MOST_TOKENS >= len(ids) else 1
            wanted = np.arange(chunk.shape[1] - count, chunk.shape[1], dtype=np.int64)[None]
            self._compute(slot, start + at, chunk, wanted, self._logits[:, :count])

    def logits_for(self, ids: Sequence[int], *, slot: int = 0, start: int = 0) -> FloatArray:
        """Append tokens as `append` does; return the logits after each, (tokens, vocabulary), which costs memory."""
        self._require_room(start + len(ids))
        logits: FloatArray = np.empty((1, len(ids), self.info.vocabulary), np.float32)
        for at in range(0, len(ids), MOST_TOKENS):
            chunk = np.array([ids[at : at + MOST_TOKENS]], np.int64)
            rows = np.arange(chunk.shape[1], dtype=np.int64)[None]
            self._compute(slot, start + at, chunk, rows, logits[:, at : at + chunk.shape[1]])
        found: FloatArray = logits[0]
        return found

    def _require_room(self, tokens: int) -> None:
        if tokens > self.context_tokens:
            raise PromptTooLongError(tokens, self.context_tokens)

    def _compute(
        self, slot: int, start: int, ids: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], logits: FloatArray
    ) -> None:
        self._last_held[0] = start + ids.shape[1] - 1
        self._total[()] = start + ids.shape[1]
        if slot not in self._singles:
            self._singles[slot] = self._cache_bound(slot, 1)
        binding = self._singles[slot]
        _bind_call(binding, ids, rows, logits)
        self._run(binding, f"token {start}")

    def _cache_bound(self, first: int, count: int) -> Binding:
        """Name the memory of some slots, once for all runs over them: it takes as long as computing a token."""
        binding = self._session.io_binding()
        cache = {name: array[first : first + count] for name, array in self.cache.arrays()}
        inputs: dict[str, npt.NDArray[Any]] = {
            "seqlens_k": self._last_held[:count],
            "total_sequence_length": self._total,
            **{f"past.{name}": array for name, array in cache.items()},
            **{f"scale.{name}": array for name, array in self.cache.scales()},
        }
        bind_inputs(binding, inputs)
        bind_outputs(binding, {f"present.{name}": array for name, array in cache.items()})
        return binding

    def _run(self, binding: Binding, what: str) -> None:
        run(self._session, binding, at=what)


def _bind_call(binding: Binding, ids: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], logits: FloatArray) -> None:
    """Name what differs from call to call; the arrays must live until the run is over."""
    bind_inputs(binding, {"input_ids": ids, "rows": rows})
    bind_outputs(binding, {"logits": logits})


def _room_for(rows: int, vocabulary: int) -> FloatArray:
    return np.zeros((1, rows, vocabulary), np.float32)
