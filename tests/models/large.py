"""GGUF files of any size with weights that mean nothing, written as fast as the disk takes them."""

from pathlib import Path
from zlib import crc32

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Type

from tests.models.tiny import TinyModel, metadata_writer

PATTERN_BLOCKS = 65_536  # random blocks, repeated as often as a tensor needs


def write_large(path: Path, model: TinyModel) -> Path:
    """Write the model to `path`, a tensor at a time; every scale is a small number, every quant random."""
    writer = metadata_writer(path, model)
    sizes = {}
    for name, shape in model.shapes().items():
        kind = model.type_of(name)
        raw_shape = gguf.quant_shape_to_byte_shape(shape, kind) if kind is not Type.F32 else shape
        sizes[name] = int(np.prod(raw_shape)) * (4 if kind is Type.F32 else 1)
        dtype = np.dtype(np.float32) if kind is Type.F32 else np.dtype(np.uint8)
        writer.add_tensor_info(name, raw_shape, dtype, sizes[name], raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    patterns = {kind: _pattern(kind) for kind in {model.type_of(name) for name in sizes}}
    for name, size in sizes.items():
        blocks = patterns[model.type_of(name)]
        # Begun elsewhere for each tensor: the runtime keeps matrices that are alike only once.
        begin = crc32(name.encode()) % PATTERN_BLOCKS
        writer.write_tensor_data(np.resize(np.roll(blocks, begin, axis=0).reshape(-1), size))
    writer.close()
    return path


def _pattern(kind: Type) -> npt.NDArray[np.uint8]:
    """Give the bytes of PATTERN_BLOCKS blocks."""
    block_bytes = gguf.GGML_QUANT_SIZES[kind][1]
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (PATTERN_BLOCKS, block_bytes), np.uint8)
    if kind is Type.F32:
        return np.full((PATTERN_BLOCKS, 1), 0.5, np.float32).view(np.uint8)
    blocks[:, :2] = np.float16(0.01).reshape(1).view(np.uint8)
    if kind is Type.Q4_1:
        blocks[:, 2:4] = np.float16(-0.08).reshape(1).view(np.uint8)
    return blocks
