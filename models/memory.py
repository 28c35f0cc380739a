"""What a model will need of the memory, by its file."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from models.architecture import LlamaConfig
from models.core.memory_need import MemoryNeed
from models.core.worker_protocol import KvCache
from models.gguf import GgufFile, TensorType

# Bytes that a token reads for each byte of the file: quants with wider scales; F16 is multiplied as float32.
WEIGHTS_PART: Final[Mapping[TensorType, float]] = MappingProxyType(
    {TensorType.Q4_0: 1.2, TensorType.Q4_1: 1.25, TensorType.Q8_0: 1.2, TensorType.F16: 2.0, TensorType.F32: 1.0}
)
KV_BYTES: Final[Mapping[KvCache, int]] = MappingProxyType({"int8": 1, "float32": 4})


def need_of(gguf: GgufFile, *, chunk_tokens: int, kv_cache: KvCache) -> MemoryNeed:
    """Reckon what a model will need when prompts are computed `chunk_tokens` at a time.

    Raises CorruptModelError, UnsupportedModelError.
    """
    config = LlamaConfig.from_gguf(gguf)
    # Of an embedding that is not the head too, a token reads one row.
    unread = {"token_embd.weight"} if "output.weight" in gguf.tensors else set()
    read = [info for name, info in gguf.tensors.items() if name not in unread]
    return MemoryNeed.of(
        weights_bytes=int(sum(info.nbytes * WEIGHTS_PART[info.type] for info in read)),
        most_tokens=config.context_tokens,
        layers=config.layers,
        kv_width=config.kv_width,
        kv_bytes=KV_BYTES[kv_cache],
        width=config.width,
        feed_forward=config.feed_forward,
        vocabulary=config.vocabulary,
        chunk_tokens=chunk_tokens,
    )
