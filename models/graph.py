"""A GGUF as an ONNX graph of onnxruntime's own operators, without torch and without loss."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import onnx
from onnx import helper

from models.architecture import DecoderConfig
from models.core.board_profile import EXACT_ONLY, BoardProfile, GraphForm
from models.core.graph_info import (
    DATA_FILE,
    INT8_CACHE_FILE,
    INT8_CACHE_PREFILL_FILE,
    MODEL_FILE,
    PREFILL_DATA_FILE,
    PREFILL_FILE,
    GraphInfo,
)
from models.core.rotation import Rotation
from models.decoder_graph import CONTRIB, DecoderGraph
from models.forms import has_int8_form
from models.gguf import GgufFile
from models.int8_cache import for_decoding, for_prompts
from models.int8_graph import Int8DecoderGraph
from models.int8_weights import Int8WeightsWriter, int8_bytes
from models.weights import WeightsWriter

SPARE_BYTES = 256 * 1024 * 1024  # of the disk that a mere gain in speed leaves free


def convert(
    gguf_path: Path,
    out_dir: Path,
    *,
    profile: BoardProfile = EXACT_ONLY,
    spare_bytes: int = SPARE_BYTES,
    progress: Callable[[float], None] | None = None,
) -> GraphInfo:
    """Write model.onnx and model.onnx.data into `out_dir`, which appears complete or not at all.

    They are in the form that the profile has for decoding.  Where it has another for prompts, and the disk has room and
    `spare_bytes` more, prefill.onnx and prefill.onnx.data stand beside them.  A model that is not quantised throughout
    has one form only.
    The same file gives the same bytes. `progress` hears the done part, 0 to 1. One writer at a time per `out_dir`.
    Raises CorruptModelError, UnsupportedModelError; OSError where the disk refuses.
    """
    with GgufFile.open(gguf_path) as gguf:
        config = DecoderConfig.from_gguf(gguf)
        partial = out_dir.with_name(f".{out_dir.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # what a crash left
        partial.mkdir(parents=True)
        try:
            info = _write(gguf, config, partial, _forms(gguf, config, partial, profile, spare_bytes), progress)
            shutil.rmtree(out_dir, ignore_errors=True)
            partial.rename(out_dir)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    _sync(out_dir.parent)
    return info


def _write(
    gguf: GgufFile,
    config: DecoderConfig,
    folder: Path,
    forms: list[GraphForm],
    progress: Callable[[float], None] | None,
) -> GraphInfo:
    info = GraphInfo(
        layers=config.layers,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        vocabulary=config.vocabulary,
        context_tokens=config.context_tokens,
    )
    hear = [_part_of(progress, part, len(forms)) for part in range(len(forms))]
    rotation = Rotation.of(config.width)
    with _writing(folder / DATA_FILE) as file:
        if forms[0] is GraphForm.EXACT:
            weights = WeightsWriter(gguf, file, progress=hear[0])
            graph = DecoderGraph(gguf, config, weights).build()
        else:
            weights = int8_weights = Int8WeightsWriter(gguf, file, rotation=rotation, progress=hear[0])
            graph = Int8DecoderGraph(gguf, config, int8_weights, rotation).build()
    _save(graph, info, folder / MODEL_FILE)
    _save(for_decoding(graph), info, folder / INT8_CACHE_FILE)
    if len(forms) > 1:
        with _writing(folder / PREFILL_DATA_FILE) as file:
            int8_weights = Int8WeightsWriter(gguf, file, rotation=rotation, lender=weights, progress=hear[1])
            graph = Int8DecoderGraph(gguf, config, int8_weights, rotation, with_logits=False).build()
        _save(graph, info, folder / PREFILL_FILE)
    _save(for_prompts(graph), info, folder / INT8_CACHE_PREFILL_FILE)
    _sync(folder)
    return info


def _forms(
    gguf: GgufFile, config: DecoderConfig, folder: Path, profile: BoardProfile, spare_bytes: int
) -> list[GraphForm]:
    """Choose the form of the model's graph, and, where it is worth it and there is room, the one for prompts."""
    if not has_int8_form(gguf, config.family):
        return [GraphForm.EXACT]
    if profile.decode is profile.prefill:
        return [profile.decode]
    needed = 2 * sum(info.nbytes for info in gguf.tensors.values()) + int8_bytes(gguf) + spare_bytes
    return [profile.decode, profile.prefill] if shutil.disk_usage(folder).free >= needed else [profile.decode]


def _part_of(progress: Callable[[float], None] | None, part: int, parts: int) -> Callable[[float], None] | None:
    return None if progress is None else lambda done: progress((part + done) / parts)


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file; what was written is on the disk in the end."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _save(graph: onnx.GraphProto, info: GraphInfo, path: Path) -> None:
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(CONTRIB, 1)], ir_version=10
    )
    helper.set_model_props(model, {key: str(value) for key, value in asdict(info).items()})
    with _writing(path) as file:
        file.write(model.SerializeToString(deterministic=True))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
