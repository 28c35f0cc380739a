"""Opens a converted graph in the runtime; with models.engine the only module that knows onnxruntime."""

from dataclasses import fields
from pathlib import Path

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from models.errors import EngineError
from models.graph import MODEL_FILE, GraphInfo

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


def open_session(graph_dir: Path, *, threads: int, file: str = MODEL_FILE) -> ort.InferenceSession:
    """Load a graph of a directory that `models.graph.convert` wrote.  Raises EngineError."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; they arrive as exceptions too
    try:
        return ort.InferenceSession(str(graph_dir / file), options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise EngineError(f"the converted graph cannot be loaded: {error}") from error


def graph_info(session: ort.InferenceSession) -> GraphInfo:
    """Read what the converter wrote into the graph.  Raises EngineError."""
    properties = session.get_modelmeta().custom_metadata_map
    try:
        return GraphInfo(**{field.name: int(properties[field.name]) for field in fields(GraphInfo)})
    except (KeyError, ValueError) as error:
        raise EngineError("the converted graph lacks its description") from error
