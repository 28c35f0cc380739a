"""What a model will need of the memory, by its file."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from models.architecture import DecoderConfig
from models.core.block_formats import FORMATS
from models.core.board_profile import GraphForm
from models.core.memory_need import MemoryNeed
from models.core.quantization import offset_columns
from models.core.worker_protocol import KvCache
from models.forms import form_of
from models.gguf import GgufFile, TensorInfo

# Bytes that a token reads for each of an unquantised weight: what is not F32 is multiplied as that.
PLAIN_BYTES: Final = 4
SPARE_PART: Final = 1.13  # pages begun, and what the runtime aligns
SCALE_BYTES: Final = 4
INT8_PART: Final = 1.1  # bytes that a token reads for each weight of the int8 form: its scales, and pages begun
KV_BYTES: Final[Mapping[KvCache, int]] = MappingProxyType({"int8": 1, "float32": 4})


def need_of(
    gguf: GgufFile,
    *,
    chunk_tokens: int,
    kv_cache: KvCache,
    form: GraphForm = GraphForm.EXACT,
    prompt_graph: bool = False,
) -> MemoryNeed:
    """Reckon what a model will need when prompts are computed `chunk_tokens` at a time.

    form: that the board uses for tokens; prompt_graph: whether there is a second graph, for prompts.
    Raises CorruptModelError, UnsupportedModelError.
    """
    config = DecoderConfig.from_gguf(gguf)
    weights = _weights_as_int8 if form_of(gguf, config.family, form) is GraphForm.INT8 else _weights_as_they_are
    # Of an embedding that is not the head too, a token reads one row.
    unread = {"token_embd.weight"} if "output.weight" in gguf.tensors else set()
    read = [info for name, info in gguf.tensors.items() if name not in unread]
    layers = [info for info in read if info.name.startswith("blk.")]
    return MemoryNeed.of(
        weights_bytes=sum(map(weights, read)),
        most_tokens=config.context_tokens,
        layers=config.layers,
        kv_width=config.kv_width,
        kv_bytes=KV_BYTES[kv_cache],
        width=config.width,
        feed_forward=config.feed_forward,
        vocabulary=config.vocabulary,
        chunk_tokens=chunk_tokens,
        prompt_weights_bytes=sum(map(_weights_as_int8, layers)) if prompt_graph else 0,
    )


def _weights_as_they_are(info: TensorInfo) -> int:
    """Give what a token reads of a tensor in the exact form: quants with wide scales, and what offsets there are."""
    weights = info.rows * info.columns
    if info.type not in FORMATS:
        return weights * PLAIN_BYTES
    stored = FORMATS[info.type]
    columns = info.columns + offset_columns(stored, info.columns)
    return int(info.rows * columns * (stored.bits / 8 + SCALE_BYTES / stored.block) * SPARE_PART)


def _weights_as_int8(info: TensorInfo) -> int:
    """A byte for each weight of a matrix, whatever the file has."""
    return int(info.rows * info.columns * INT8_PART) if info.rows > 1 else info.nbytes
