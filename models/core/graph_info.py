"""What converter and engine say to each other through a graph: its files' names, its form's version, its description.

The engine imports this module and not the converter: the ONNX library alone takes six megabytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

CONVERTER_VERSION: Final = 7  # part of the key under which graphs are cached: raise it when the bytes change
MODEL_FILE: Final = "model.onnx"
DATA_FILE: Final = "model.onnx.data"
INT8_CACHE_FILE: Final = "model.int8_cache.onnx"  # the same weights; keys and values are kept in a byte
INT8_CACHE_PREFILL_FILE: Final = "prefill.int8_cache.onnx"
PREFILL_FILE: Final = "prefill.onnx"  # a second form, for prompts; its data are int8 matrices, the rest is the model's
PREFILL_DATA_FILE: Final = "prefill.onnx.data"
SCALES_FILE: Final = "key_value_scales"  # measured when the graph is there, and again where they are lost
# The same graphs, with their matrices as this board's kernels read them.
PACKED_FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        MODEL_FILE: "model.packed.onnx",
        INT8_CACHE_FILE: "model.int8_cache.packed.onnx",
        PREFILL_FILE: "prefill.packed.onnx",
        INT8_CACHE_PREFILL_FILE: "prefill.int8_cache.packed.onnx",
    }
)


@dataclass(frozen=True, kw_only=True)
class GraphInfo:
    """What an engine must know of a graph; kept in the graph's own metadata."""

    layers: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context_tokens: int
