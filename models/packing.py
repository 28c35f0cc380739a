"""Weights in the form in which this machine's kernels read them, made once and mapped from then on.

onnxruntime rewrites ("prepacks") the matrices of a graph whenever it loads one, into memory that nothing but the
process can use.  It can save them too, and map what was saved.  Here each matrix is packed in a graph of its own, so
that packing needs memory for one of them, and what comes out is put behind the weights that it was made of.
The form belongs to the processor and to the version of the runtime: see models.graph_cache.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

import onnx
from onnx import TensorProto, helper

from models.core.graph_info import (
    DATA_FILE,
    INT8_CACHE_FILE,
    INT8_CACHE_PREFILL_FILE,
    MODEL_FILE,
    PACKED_FILES,
    PREFILL_DATA_FILE,
    PREFILL_FILE,
)
from models.errors import EngineError
from models.files import CHUNK_BYTES, require_space
from models.session import save_packed
from models.weights import ALIGNMENT

# Operators whose second input is packed, and what their first one is.
PACKED_OPERATORS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "MatMulNBits": TensorProto.FLOAT,
        "MatMul": TensorProto.FLOAT,
        "FusedMatMul": TensorProto.FLOAT,
        "MatMulIntegerToFloat": TensorProto.UINT8,
    }
)
MIN_BYTES: Final = ALIGNMENT  # smaller matrices cost less than the page that they would fill
SPARE_BYTES: Final = 256 * 1024 * 1024  # of the disk that a mere gain in memory leaves free


def pack(
    graph_dir: Path,
    *,
    data: str = DATA_FILE,
    progress: Callable[[float], None] | None = None,
    spare_bytes: int = SPARE_BYTES,
) -> None:
    """Put the packed matrices behind the data of graphs, and write their packed forms, which name them.

    data: the file whose matrices are packed.  The graphs must be nobody else's yet; `spare_bytes` of the disk stay
    free.  Where it fails there are no packed forms, and the graphs are as they were.
    Raises NotEnoughSpaceError, EngineError; OSError where the disk refuses.
    """
    files = _graphs_of(graph_dir, data)
    model = onnx.load(graph_dir / files[0], load_external_data=False)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    # Nodes that multiply by the same matrix in the same way share its packed form.
    nodes = list({_way(node): node for node in model.graph.node if _packable(node, weights, data)}.values())
    size = (graph_dir / data).stat().st_size
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".packing", dir=graph_dir) as folder,
            (graph_dir / data).open("r+b") as target,
        ):
            for done, node in enumerate(nodes, 1):
                require_space(graph_dir, spare_bytes)
                for tensor, entry in _packed(model, node, weights, graph_dir, Path(folder)):
                    _append(entry, Path(folder) / DATA_FILE, target, weights[tensor])
                if progress is not None:
                    progress(done / len(nodes))
        for file in files:
            _write_packed(graph_dir, file, weights)
    except BaseException:
        for file in files:
            (graph_dir / PACKED_FILES[file]).unlink(missing_ok=True)
        os.truncate(graph_dir / data, size)
        raise


def _graphs_of(graph_dir: Path, data: str) -> list[str]:
    """Name the graphs of a data file: the one it was written for, and those that were made of that one."""
    if data == PREFILL_DATA_FILE:
        return [PREFILL_FILE, INT8_CACHE_PREFILL_FILE]
    alone = not (graph_dir / PREFILL_DATA_FILE).exists()
    return [MODEL_FILE, INT8_CACHE_FILE, *([INT8_CACHE_PREFILL_FILE] if alone else [])]


def _write_packed(graph_dir: Path, file: str, weights: dict[str, TensorProto]) -> None:
    """Write a graph again, with what the weights that it has now say of their packed forms."""
    model = onnx.load(graph_dir / file, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(weights.get(tensor.name, tensor))
    (graph_dir / PACKED_FILES[file]).write_bytes(model.SerializeToString(deterministic=True))


def _packable(node: onnx.NodeProto, weights: dict[str, TensorProto], data: str) -> bool:
    tensor = weights.get(node.input[1]) if node.op_type in PACKED_OPERATORS else None
    where = {} if tensor is None else _external(tensor)
    return where.get("location") == data and int(where["length"]) >= MIN_BYTES


def _way(node: onnx.NodeProto) -> tuple[str, tuple[str, ...], tuple[bytes, ...]]:
    """Tell apart what is packed by what it is made of: operator, weights, attributes."""
    attributes = (attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    return node.op_type, tuple(node.input[1:]), tuple(sorted(attributes))


def _packed(
    model: onnx.ModelProto, node: onnx.NodeProto, weights: dict[str, TensorProto], graph_dir: Path, folder: Path
) -> Iterator[tuple[str, str]]:
    """Pack what one node multiplies by; yield the tensor's name and what the runtime says of its packed form."""
    first = PACKED_OPERATORS[node.op_type]
    kinds = {name: TensorProto.FLOAT if place else first for place, name in enumerate(node.input)}
    graph = helper.make_graph(
        [node],
        "packing",
        [
            helper.make_tensor_value_info(name, kind, None)
            for name, kind in kinds.items()
            if name and name not in weights
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output],
        [weights[name] for name in dict.fromkeys(node.input) if name in weights],
    )
    single = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    save_packed(single.SerializeToString(), weights=graph_dir, model=folder / MODEL_FILE, data=folder / DATA_FILE)
    for tensor in onnx.load(folder / MODEL_FILE, load_external_data=False).graph.initializer:
        for key, entry in _external(tensor).items():
            if key.startswith("prepacked_"):
                yield tensor.name, entry


def _append(entry: str, source: Path, target: BinaryIO, tensor: TensorProto) -> None:
    """Copy packed bytes to the end of the data, and tell the tensor where they are.

    entry: `key|offset;length;checksum|...`.  Source: onnxruntime, tensor_external_data_info.cc.
    """
    key, *stretches = entry.split("|")
    known = [name for name in _external(tensor) if name.startswith("prepacked_")]
    copied = []
    with source.open("rb") as packed:
        for stretch in stretches:
            offset, length, checksum = stretch.split(";")
            position = -(-target.seek(0, 2) // ALIGNMENT) * ALIGNMENT
            target.seek(position)
            packed.seek(int(offset))
            _copy(packed, target, int(length))
            copied.append(f"{position};{length};{checksum}")
    tensor.external_data.add(key=f"prepacked_{len(known)}", value="|".join([key, *copied]))


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length:
        chunk = source.read(min(CHUNK_BYTES, length))
        if not chunk:
            raise EngineError("the runtime saved less of a packed matrix than it says")
        target.write(chunk)
        length -= len(chunk)


def _external(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}
