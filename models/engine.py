"""Runs a converted graph: prefill, then one token at a time, over one preallocated key-value cache."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from models.errors import EngineError, PromptTooLongError
from models.graph import MODEL_FILE, GraphInfo

FloatArray = npt.NDArray[np.float32]

PREFILL_CHUNK = 512  # tokens computed in one run: the grain of cancelling, and what bounds the activations' memory

# onnxruntime's exceptions have no common root but Exception.
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.EngineError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.ModelLoadCanceled,
    ort_errors.ModelLoaded,
    ort_errors.ModelRequiresCompilation,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotFound,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
)


class Engine:
    """One sequence being continued.

    `prefill` and `decode` append to the sequence and return the logits of its last token: (vocabulary,) float32, a view
    that the next call overwrites. Raises EngineError where the runtime fails, PromptTooLongError where the room ends.
    """

    def __init__(self, graph_dir: Path, *, threads: int, context_tokens: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; they arrive as exceptions too
        try:
            self._session = ort.InferenceSession(
                str(graph_dir / MODEL_FILE), options, providers=["CPUExecutionProvider"]
            )
        except RUNTIME_ERRORS as error:
            raise EngineError(f"the converted graph cannot be loaded: {error}") from error
        self.info = _info(self._session)
        self.context_tokens = min(context_tokens, self.info.context_tokens)
        self.position = 0
        shape = (1, self.info.kv_heads, self.context_tokens, self.info.head_dim)
        # Zeroed by the kernel on first touch: room that is never reached costs nothing.
        self._cache = {
            f"{layer}.{kind}": np.zeros(shape, np.float32)
            for layer in range(self.info.layers)
            for kind in ("key", "value")
        }
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
            **{f"past.{name}": array for name, array in self._cache.items()},
        }
        outputs: dict[str, npt.NDArray[Any]] = {
            "logits": logits,
            **{f"present.{name}": array for name, array in self._cache.items()},
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


def _info(session: ort.InferenceSession) -> GraphInfo:
    """Read what the converter wrote beside the graph."""
    properties = session.get_modelmeta().custom_metadata_map
    try:
        return GraphInfo(**{field.name: int(properties[field.name]) for field in fields(GraphInfo)})
    except (KeyError, ValueError) as error:
        raise EngineError("the converted graph lacks its description") from error
