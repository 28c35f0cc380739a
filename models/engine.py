"""Runs a converted graph: prefill, then one token at a time, over one preallocated key-value cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from models.errors import EngineError, PromptTooLongError
from models.kv_cache import KeyValueCache
from models.session import RUNTIME_ERRORS, graph_info, open_session

FloatArray = npt.NDArray[np.float32]

PREFILL_CHUNK = 512  # tokens computed in one run: the grain of cancelling, and what bounds the activations' memory


class Engine:
    """One sequence being continued.

    `prefill` and `decode` append to the sequence and return the logits of its last token: (vocabulary,) float32, a view
    that the next call overwrites. Raises EngineError where the runtime fails, PromptTooLongError where the room ends.
    """

    def __init__(self, graph_dir: Path, *, threads: int, context_tokens: int) -> None:
        self._session = open_session(graph_dir, threads=threads)
        self.info = graph_info(self._session)
        self.context_tokens = min(context_tokens, self.info.context_tokens)
        self.position = 0
        self._cache = KeyValueCache(self.info, slots=1, room=self.context_tokens)
        self._last_token = np.zeros((1, 1), np.int64)
        self._last_held = np.zeros((1,), np.int32)
        self._total = np.zeros((), np.int32)
        self._last_row = np.zeros((1, 1), np.int64)
        self._logits: FloatArray = np.zeros((1, 1, self.info.vocabulary), np.float32)
        self._decode_step = self._bind(self._last_token, self._last_row, self._logits)

    def reset(self) -> None:
        """Forget the sequence."""
        self.position = 0

    def prefill(self, ids: Sequence[int]) -> FloatArray:
        """Append tokens, PREFILL_CHUNK at a time; `ids` must not be empty."""
        self._check_room(len(ids))
        for start in range(0, len(ids), PREFILL_CHUNK):
            chunk = np.array([ids[start : start + PREFILL_CHUNK]], np.int64)
            last = np.array([[chunk.shape[1] - 1]], np.int64)
            self._run(self._bind(chunk, last, self._logits), chunk.shape[1])
        return self._logits.reshape(-1)

    def decode(self, token: int) -> FloatArray:
        """Append one token; the bindings are made once and used again."""
        self._check_room(1)
        self._last_token[0, 0] = token
        self._run(self._decode_step, 1)
        return self._logits.reshape(-1)

    def logits_for(self, ids: Sequence[int]) -> FloatArray:
        """Append tokens and return the logits after each, (tokens, vocabulary): for evaluation, as it costs memory."""
        self._check_room(len(ids))
        logits: FloatArray = np.empty((1, len(ids), self.info.vocabulary), np.float32)
        for start in range(0, len(ids), PREFILL_CHUNK):
            chunk = np.array([ids[start : start + PREFILL_CHUNK]], np.int64)
            rows = np.arange(chunk.shape[1], dtype=np.int64)[None]
            self._run(self._bind(chunk, rows, logits[:, start : start + chunk.shape[1]]), chunk.shape[1])
        return logits.reshape(len(ids), -1)

    def _check_room(self, tokens: int) -> None:
        if self.position + tokens > self.context_tokens:
            raise PromptTooLongError(self.position + tokens, self.context_tokens)

    def _bind(self, ids: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], logits: FloatArray) -> ort.IOBinding:
        """Name the memory that a run reads and writes; the arrays must outlive the binding."""
        binding = self._session.io_binding()
        inputs: dict[str, npt.NDArray[Any]] = {
            "input_ids": ids,
            "seqlens_k": self._last_held,
            "total_sequence_length": self._total,
            "rows": rows,
            **{f"past.{name}": array for name, array in self._cache.arrays()},
        }
        outputs: dict[str, npt.NDArray[Any]] = {
            "logits": logits,
            **{f"present.{name}": array for name, array in self._cache.arrays()},
        }
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding

    def _run(self, binding: ort.IOBinding, tokens: int) -> None:
        self._last_held[0] = self.position + tokens - 1
        self._total[()] = self.position + tokens
        try:
            self._session.run_with_iobinding(binding)
        except RUNTIME_ERRORS as error:
            raise EngineError(f"the engine failed at token {self.position}: {error}") from error
        self.position += tokens
