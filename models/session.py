"""Opens a converted graph in the runtime, and runs it over arrays that stay where they are.

The only module that knows onnxruntime.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from models.core.graph_info import MODEL_FILE, PACKED_FILES, GraphInfo
from models.errors import EngineError

Session: TypeAlias = ort.InferenceSession
Binding: TypeAlias = ort.IOBinding
Arrays = Mapping[str, npt.NDArray[Any]]
RUNTIME_VERSION: str = ort.__version__
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


def open_session(graph_dir: Path, *, threads: int, file: str = MODEL_FILE) -> Session:
    """Load a graph of a directory that `models.graph.convert` wrote, its weights mapped where they were packed.

    Raises EngineError.
    """
    packed = graph_dir / PACKED_FILES[file]
    return _session(str(packed if packed.exists() else graph_dir / file), _options(threads))


def save_packed(graph: bytes, *, weights: Path, model: Path, data: Path) -> None:
    """Load a small graph whose weights lie in the folder `weights`; write it, packed, to `model` and `data`, beside it.

    Raises EngineError.
    """
    options = _options(1)
    options.optimized_model_filepath = str(model)
    for key, value in (
        ("session.model_external_initializers_file_folder_path", str(weights)),
        ("session.optimized_model_external_initializers_file_name", data.name),
        ("session.optimized_model_external_initializers_min_size_in_bytes", "0"),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(key, value)
    _session(graph, options)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it holds a block for every length of prompt: 26 MB more, and no faster
    options.log_severity_level = 3  # errors; they arrive as exceptions too
    return options


def _session(graph: str | bytes, options: ort.SessionOptions) -> Session:
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise EngineError(f"the converted graph cannot be loaded: {error}") from error


def bind_inputs(binding: Binding, arrays: Arrays) -> None:
    """Name the memory that runs read, by the inputs' names; the arrays must live as long as that is used."""
    for name, array in arrays.items():
        binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def bind_outputs(binding: Binding, arrays: Arrays) -> None:
    """Name the memory that runs write, as `bind_inputs` does."""
    for name, array in arrays.items():
        binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def run(session: Session, binding: Binding, *, at: str) -> None:
    """Compute over bound memory.  Raises EngineError that says at what."""
    try:
        session.run_with_iobinding(binding)
    except RUNTIME_ERRORS as error:
        raise EngineError(f"the engine failed at {at}: {error}") from error


def graph_info(session: Session) -> GraphInfo:
    """Read what the converter wrote into the graph.  Raises EngineError."""
    properties = session.get_modelmeta().custom_metadata_map
    try:
        return GraphInfo(**{field.name: int(properties[field.name]) for field in fields(GraphInfo)})
    except (KeyError, ValueError) as error:
        raise EngineError("the converted graph lacks its description") from error
