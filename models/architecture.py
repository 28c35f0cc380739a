"""What a GGUF's metadata say about a decoder of one of the supported families, checked against its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

from models.errors import CorruptModelError, UnsupportedModelError
from models.gguf import GgufFile, MetadataValue, TensorInfo


@dataclass(frozen=True, kw_only=True)
class Family:
    """How the decoders of an architecture differ from each other.  Source: llama.cpp, src/models.

    interleaved: ggml keeps rotation pairs of queries and keys side by side; biased: queries, keys and values have
    biases; head_norms: each head's query and key is normalised; post_norms: so is what attention and feed-forward add
    to the state; gelu: the feed-forward's gate, else SiLU; scaled: embedded tokens are multiplied by the root of the
    width; window_period: of so many layers all but the last see no further back than a window, with rotations of their
    own; plain_period: of so many layers the last has no rotations; 0: none.  fused: queries, keys and values are one
    tensor, and so are gate and up; long_rope: rotations may differ between short texts and long ones.
    """

    interleaved: bool = False
    biased: bool = False
    head_norms: bool = False
    post_norms: bool = False
    gelu: bool = False
    scaled: bool = False
    window_period: int = 0
    plain_period: int = 0
    fused: bool = False
    long_rope: bool = False


FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "llama": Family(interleaved=True),
        "qwen2": Family(biased=True),
        "qwen3": Family(head_norms=True),
        "gemma3": Family(head_norms=True, post_norms=True, gelu=True, scaled=True, window_period=6),
        "smollm3": Family(interleaved=True, plain_period=4),
        "phi3": Family(fused=True, long_rope=True),
    }
)
MAX_LAYERS = 1024
MAX_WIDTH = 1024 * 1024  # of any activation; the vocabulary has the same bound in practice
MAX_CONTEXT_TOKENS = 32_768  # positions whose rotations are stored with a graph: 8 MB at a head size of 64

WINDOW_ROPE_BASE = 10_000.0
FACTORS = "rope_freqs.weight"
SHORT_FACTORS, LONG_FACTORS = "rope_factors_short.weight", "rope_factors_long.weight"
GEMMA3_27B_LAYERS = 62  # its queries have a scale of their own

# Keys whose effect the graph does not compute, with the values at which they have none.
NEUTRAL: Mapping[str, tuple[MetadataValue, ...]] = {
    "rope.scaling.type": ("none", "linear"),
    "rope.scale_linear": (1.0,),
    "expert_count": (0,),
    "attention.scale": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "logit_scale": (0.0, 1.0),
    "attention.clamp_kqv": (0.0,),
    "attn_logit_softcapping": (0.0,),
    "final_logit_softcapping": (0.0,),
    "use_parallel_residual": (False,),
}

NEUTRAL_OF_LONG_ROPE: Mapping[str, tuple[MetadataValue, ...]] = {"rope.scaling.type": ("none", "linear", "longrope")}


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Dimensions of a decoder.  window: positions that a layer with a window sees, itself among them; 0: all."""

    family: Family
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
    rope_factor: float  # by which positions are divided, but for layers with a window
    rope_gain: float  # by which what is turned is multiplied besides
    window: int

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
        if not isinstance(architecture, str) or architecture not in FAMILIES:
            raise UnsupportedModelError(
                f"architecture {_shown(architecture)} is not supported; supported: {', '.join(FAMILIES)}"
            )
        keys, family = _Keys(gguf.metadata, architecture), FAMILIES[architecture]
        keys.require_neutral({**NEUTRAL, **(NEUTRAL_OF_LONG_ROPE if family.long_rope else {})})
        embedding = gguf.tensors.get("token_embd.weight")
        if embedding is None:
            raise CorruptModelError("there is no tensor 'token_embd.weight'")
        heads = keys.integer("attention.head_count", high=4096)
        width = keys.integer("embedding_length", high=MAX_WIDTH)
        head_dim = keys.integer("attention.key_length", high=4096, default=width // heads)
        config = cls(
            family=family,
            layers=keys.integer("block_count", high=MAX_LAYERS),
            width=width,
            heads=heads,
            kv_heads=keys.integer("attention.head_count_kv", high=heads, default=heads),
            head_dim=head_dim,
            feed_forward=keys.integer("feed_forward_length", high=MAX_WIDTH),
            vocabulary=embedding.rows,
            context_tokens=min(keys.context_tokens(short=family.long_rope), MAX_CONTEXT_TOKENS),
            epsilon=keys.number("attention.layer_norm_rms_epsilon"),
            rope_base=keys.number("rope.freq_base", default=10_000.0),
            rope_factor=keys.rope_factor(),
            rope_gain=keys.number("rope.scaling.attn_factor", default=1.0) if family.long_rope else 1.0,
            window=keys.window() if family.window_period else 0,
        )
        if config.heads % config.kv_heads:
            raise CorruptModelError(f"{config.heads} heads cannot share {config.kv_heads} key-value heads")
        for key in ("attention.value_length", "rope.dimension_count"):
            if keys.integer(key, high=2**32, default=head_dim) != head_dim or head_dim % 16:
                raise UnsupportedModelError(f"{key} must equal the head size, a multiple of 16; here {head_dim}")
        config._check_tensors(gguf.tensors)
        return config

    @property
    def query_scale(self) -> float:
        """By what scores are multiplied."""
        if self.family.window_period and self.layers == GEMMA3_27B_LAYERS:
            return float((self.width // self.heads) ** -0.5)
        return float(self.head_dim**-0.5)

    def window_of(self, layer: int) -> int:
        """Give how many positions a layer sees, 0 for all of them."""
        period = self.family.window_period
        return self.window if period and layer % period < period - 1 else 0

    def is_rotated(self, layer: int) -> bool:
        """Whether a layer's queries and keys are turned by their positions."""
        return not self.family.plain_period or (layer + 1) % self.family.plain_period != 0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor the model must have, with its shape in GGUF's order."""
        layer = {
            "attn_norm": (self.width,),
            "attn_output": (self.attention_width, self.width),
            "ffn_norm": (self.width,),
            "ffn_down": (self.feed_forward, self.width),
        }
        if self.family.fused:
            layer["attn_qkv"] = (self.width, self.attention_width + 2 * self.kv_width)
            layer["ffn_up"] = (self.width, 2 * self.feed_forward)
        else:
            layer |= {f"attn_{letter}": (self.width, self.kv_width) for letter in "kv"}
            layer |= {"attn_q": (self.width, self.attention_width)}
            layer |= {f"ffn_{name}": (self.width, self.feed_forward) for name in ("gate", "up")}
        if self.family.head_norms:
            layer |= {"attn_q_norm": (self.head_dim,), "attn_k_norm": (self.head_dim,)}
        if self.family.post_norms:
            layer |= {"post_attention_norm": (self.width,), "post_ffw_norm": (self.width,)}
        model: dict[str, tuple[int, ...]] = {
            "token_embd.weight": (self.width, self.vocabulary),
            "output_norm.weight": (self.width,),
        }
        for index in range(self.layers):
            model |= {f"blk.{index}.{name}.weight": shape for name, shape in layer.items()}
            if self.family.biased:
                widths = {"q": self.attention_width, "k": self.kv_width, "v": self.kv_width}
                model |= {f"blk.{index}.attn_{letter}.bias": (width,) for letter, width in widths.items()}
        return model

    @property
    def rope_factors(self) -> str:
        """Name the tensor, which a model need not have, of what frequencies are divided by."""
        return SHORT_FACTORS if self.family.long_rope else FACTORS

    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name the tensors the model may have."""
        factors = (self.rope_factors, *([LONG_FACTORS] if self.family.long_rope else []))
        return {"output.weight": (self.width, self.vocabulary)} | dict.fromkeys(factors, (self.head_dim // 2,))

    def _check_tensors(self, tensors: Mapping[str, TensorInfo]) -> None:
        if self.layers * (6 if self.family.fused else 9) > len(tensors):
            raise CorruptModelError(f"{self.layers} layers, but only {len(tensors)} tensors")
        required = self.shapes()
        known = required | self.optional_shapes()
        for name in required:
            if name not in tensors:
                raise CorruptModelError(f"there is no tensor {name!r}")
        for name, info in tensors.items():
            if name not in known:
                raise UnsupportedModelError(f"tensor {name!r} is not part of the architecture as it is supported")
            if info.shape != known[name]:
                raise CorruptModelError(f"tensor {name!r} has the shape {info.shape}, not {known[name]}")


class _Keys:
    """Typed look-ups of the architecture's own metadata keys."""

    def __init__(self, metadata: Mapping[str, MetadataValue], architecture: str) -> None:
        self._metadata = metadata
        self._architecture = architecture

    def integer(self, key: str, *, high: int, low: int = 1, default: int | None = None) -> int:
        value = self._metadata.get(f"{self._architecture}.{key}", default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise CorruptModelError(f"{self._architecture}.{key} is {_shown(value)}, not a number from {low} to {high}")
        return value

    def number(self, key: str, *, default: float | None = None) -> float:
        value = self._metadata.get(f"{self._architecture}.{key}", default)
        if not isinstance(value, float) or not 0 < value < float("inf"):
            raise CorruptModelError(f"{self._architecture}.{key} is {_shown(value)}, not a positive number")
        return value

    def context_tokens(self, *, short: bool) -> int:
        """Give how long a text may be; short: with the rotations of short texts."""
        whole = self.integer("context_length", high=2**32)
        if not short:
            return whole
        return min(whole, self.integer("rope.scaling.original_context_length", high=2**32, default=whole))

    def window(self) -> int:
        """Give how many positions layers with a window see; 0 for all."""
        return self.integer("attention.sliding_window", low=0, high=2**32, default=0)

    def rope_factor(self) -> float:
        """Give by what positions are divided; 0 says nothing, and so does any factor of a scaling of no kind."""
        kind = self._metadata.get(f"{self._architecture}.rope.scaling.type")
        if kind == "none" or self._metadata.get(f"{self._architecture}.rope.scaling.factor") == 0.0:
            return 1.0
        return self.number("rope.scaling.factor", default=1.0)

    def require_neutral(self, values: Mapping[str, tuple[MetadataValue, ...]]) -> None:
        for key, neutral in values.items():
            value = self._metadata.get(f"{self._architecture}.{key}")
            if value is not None and not (isinstance(value, (int, float, str)) and value in neutral):
                raise UnsupportedModelError(f"{self._architecture}.{key} = {_shown(value)} is not supported")


def _shown(value: MetadataValue | None) -> str:
    """Write a metadata value shortly enough for a message."""
    return repr(value)[:80]
