"""What a GGUF's metadata say about a llama-architecture model, checked against its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from models.errors import CorruptModelError, UnsupportedModelError
from models.gguf import GgufFile, MetadataValue, TensorInfo

ARCHITECTURE = "llama"
MAX_LAYERS = 1024
MAX_WIDTH = 1024 * 1024  # of any activation; the vocabulary has the same bound in practice
MAX_CONTEXT_TOKENS = 32_768  # positions whose rotations are stored with a graph: 8 MB at a head size of 64

# Keys whose effect the graph does not compute, with the values at which they have none.
NEUTRAL: Mapping[str, tuple[MetadataValue, ...]] = {
    "rope.scaling.type": ("none",),
    "rope.scale_linear": (1.0,),
    "rope.scaling.factor": (1.0, 0.0),
    "expert_count": (0,),
    "attention.scale": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "logit_scale": (0.0, 1.0),
    "attention.clamp_kqv": (0.0,),
}


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """Dimensions of a llama-architecture model."""

    layers: int
    width: int  # of the hidden state
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    context_tokens: int
    epsilon: float
    rope_base: float

    @property
    def attention_width(self) -> int:
        """Length of all heads' queries together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Length of all heads' keys together."""
        return self.kv_heads * self.head_dim

    @classmethod
    def from_gguf(cls, gguf: GgufFile) -> Self:
        """Read and check the metadata and every tensor's shape; CorruptModelError, UnsupportedModelError."""
        architecture = gguf.metadata.get("general.architecture")
        if not isinstance(architecture, str) or architecture != ARCHITECTURE:
            raise UnsupportedModelError(
                f"architecture {_shown(architecture)} is not supported; supported: {ARCHITECTURE}"
            )
        keys = _Keys(gguf.metadata)
        keys.require_neutral()
        embedding = gguf.tensors.get("token_embd.weight")
        if embedding is None:
            raise CorruptModelError("there is no tensor 'token_embd.weight'")
        heads = keys.integer("attention.head_count", high=4096)
        width = keys.integer("embedding_length", high=MAX_WIDTH)
        head_dim = keys.integer("attention.key_length", high=4096, default=width // heads)
        config = cls(
            layers=keys.integer("block_count", high=MAX_LAYERS),
            width=width,
            heads=heads,
            kv_heads=keys.integer("attention.head_count_kv", high=heads, default=heads),
            head_dim=head_dim,
            feed_forward=keys.integer("feed_forward_length", high=MAX_WIDTH),
            vocabulary=embedding.rows,
            context_tokens=min(keys.integer("context_length", high=2**32), MAX_CONTEXT_TOKENS),
            epsilon=keys.number("attention.layer_norm_rms_epsilon"),
            rope_base=keys.number("rope.freq_base", default=10_000.0),
        )
        if config.heads % config.kv_heads:
            raise CorruptModelError(f"{config.heads} heads cannot share {config.kv_heads} key-value heads")
        for key in ("attention.value_length", "rope.dimension_count"):
            if keys.integer(key, high=2**32, default=head_dim) != head_dim or head_dim % 16:
                raise UnsupportedModelError(f"{key} must equal the head size, a multiple of 16; here {head_dim}")
        config._check_tensors(gguf.tensors)
        return config

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor the model must have, with its shape in GGUF's order."""
        layer = {
            "attn_norm": (self.width,),
            "attn_q": (self.width, self.attention_width),
            "attn_k": (self.width, self.kv_width),
            "attn_v": (self.width, self.kv_width),
            "attn_output": (self.attention_width, self.width),
            "ffn_norm": (self.width,),
            "ffn_gate": (self.width, self.feed_forward),
            "ffn_up": (self.width, self.feed_forward),
            "ffn_down": (self.feed_forward, self.width),
        }
        model: dict[str, tuple[int, ...]] = {
            "token_embd.weight": (self.width, self.vocabulary),
            "output_norm.weight": (self.width,),
        }
        for index in range(self.layers):
            model |= {f"blk.{index}.{name}.weight": shape for name, shape in layer.items()}
        return model

    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name the tensors the model may have."""
        return {"output.weight": (self.width, self.vocabulary), "rope_freqs.weight": (self.head_dim // 2,)}

    def _check_tensors(self, tensors: Mapping[str, TensorInfo]) -> None:
        if self.layers * 9 > len(tensors):
            raise CorruptModelError(f"{self.layers} layers, but only {len(tensors)} tensors")
        required = self.shapes()
        known = required | self.optional_shapes()
        for name in required:
            if name not in tensors:
                raise CorruptModelError(f"there is no tensor {name!r}")
        for name, info in tensors.items():
            if name not in known:
                raise UnsupportedModelError(f"tensor {name!r} is not part of the supported llama architecture")
            if info.shape != known[name]:
                raise CorruptModelError(f"tensor {name!r} has the shape {info.shape}, not {known[name]}")


class _Keys:
    """Typed look-ups of the architecture's own metadata keys."""

    def __init__(self, metadata: Mapping[str, MetadataValue]) -> None:
        self._metadata = metadata

    def integer(self, key: str, *, high: int, default: int | None = None) -> int:
        value = self._metadata.get(f"{ARCHITECTURE}.{key}", default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
            raise CorruptModelError(f"{ARCHITECTURE}.{key} is {_shown(value)}, not a number from 1 to {high}")
        return value

    def number(self, key: str, *, default: float | None = None) -> float:
        value = self._metadata.get(f"{ARCHITECTURE}.{key}", default)
        if not isinstance(value, float) or not 0 < value < float("inf"):
            raise CorruptModelError(f"{ARCHITECTURE}.{key} is {_shown(value)}, not a positive number")
        return value

    def require_neutral(self) -> None:
        for key, neutral in NEUTRAL.items():
            value = self._metadata.get(f"{ARCHITECTURE}.{key}")
            if value is not None and not (isinstance(value, (int, float, str)) and value in neutral):
                raise UnsupportedModelError(f"{ARCHITECTURE}.{key} = {_shown(value)} is not supported")


def _shown(value: MetadataValue | None) -> str:
    """Write a metadata value shortly enough for a message."""
    return repr(value)[:80]
