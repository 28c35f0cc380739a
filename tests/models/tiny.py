"""Small GGUF files of every family, with random weights and byte-level vocabularies, written with ggml's package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Type

from models.architecture import FAMILIES
from models.core.block_formats import FORMATS, TensorType
from models.tokenizer import BYTE_OF_LETTER
from tests.models.core.rows import random_rows, sized

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("t h", "th e", "Ġ the", "i n", "Ġ a")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LETTERS = tuple(sorted(BYTE_OF_LETTER, key=lambda letter: BYTE_OF_LETTER[letter]))
TOKENS = (*CONTROL_TOKENS, *LETTERS, *(merge.replace(" ", "") for merge in MERGES))


DRAWN = {
    Type(kind): kind
    for kind in (
        TensorType.Q2_K,
        TensorType.Q3_K,
        TensorType.Q4_K,
        TensorType.Q5_K,
        TensorType.Q6_K,
        TensorType.IQ4_NL,
    )
}


# A vocabulary of the other kind: a score for each token, the highest first to be made of two others.
PIECES = (
    *("\u2581", *"abcdefghinorstu.,", "th", "he", "\u2581t", "the", "\u2581the"),
    *("in", "\u2581a", "\u2581\u2581", "an", "ng"),
)
SENTENCE_PIECE: Mapping[str, object] = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES, "<think>"],
    "tokenizer.ggml.scores": [0.0] * 259 + [-float(rank) for rank in range(len(PIECES))] + [0.0],
    "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * len(PIECES), 4],
    "tokenizer.ggml.merges": None,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.chat_template": None,
}
PIECES_SIZE = 260 + len(PIECES)


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """Dimensions and quantisation of a file to write."""

    family: str = "llama"
    layers: int = 2
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    feed_forward: int = 96
    context_tokens: int = 128
    vocabulary: int = len(TOKENS)
    matrices: Type = Type.Q4_1
    embedding: Type = Type.Q8_0
    tied: bool = True
    rope_base: float = 10_000.0
    rope_factors: bool = False
    window: int = 0
    types: Mapping[str, Type] = field(default_factory=dict)  # of single tensors, by the end of their names
    seed: int = 0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor with its shape in numpy's order."""
        attention, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.vocabulary, self.width)}
        for layer in range(self.layers):
            shapes |= {
                f"blk.{layer}.attn_norm.weight": (self.width,),
                f"blk.{layer}.attn_q.weight": (attention, self.width),
                f"blk.{layer}.attn_k.weight": (kv, self.width),
                f"blk.{layer}.attn_v.weight": (kv, self.width),
                f"blk.{layer}.attn_output.weight": (self.width, attention),
                f"blk.{layer}.ffn_norm.weight": (self.width,),
                f"blk.{layer}.ffn_gate.weight": (self.feed_forward, self.width),
                f"blk.{layer}.ffn_up.weight": (self.feed_forward, self.width),
                f"blk.{layer}.ffn_down.weight": (self.width, self.feed_forward),
            }
            if FAMILIES[self.family].fused:
                for name in ("attn_q", "attn_k", "attn_v", "ffn_gate"):
                    del shapes[f"blk.{layer}.{name}.weight"]
                shapes[f"blk.{layer}.attn_qkv.weight"] = (attention + 2 * kv, self.width)
                shapes[f"blk.{layer}.ffn_up.weight"] = (2 * self.feed_forward, self.width)
            shapes |= {f"blk.{layer}.{name}": shape for name, shape in self._extras().items()}
        shapes["output_norm.weight"] = (self.width,)
        if not self.tied:
            shapes["output.weight"] = (self.vocabulary, self.width)
        if self.rope_factors:
            short, long = "rope_factors_short", "rope_factors_long"
            names = (short, long) if FAMILIES[self.family].long_rope else ("rope_freqs",)
            shapes |= {f"{name}.weight": (self.head_dim // 2,) for name in names}
        return shapes

    def _extras(self) -> dict[str, tuple[int, ...]]:
        """Name what a layer has besides, in numpy's order."""
        about, extras = FAMILIES[self.family], dict[str, tuple[int, ...]]()
        if about.biased:
            kv = self.kv_heads * self.head_dim
            extras |= {"attn_q.bias": (self.heads * self.head_dim,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}
        if about.head_norms:
            extras |= {"attn_q_norm.weight": (self.head_dim,), "attn_k_norm.weight": (self.head_dim,)}
        if about.post_norms:
            extras |= {"post_attention_norm.weight": (self.width,), "post_ffw_norm.weight": (self.width,)}
        return extras

    def type_of(self, name: str) -> Type:
        """Choose the quantisation of a tensor."""
        if name.endswith(("norm.weight", "bias")) or name.startswith("rope_f"):
            return Type.F32
        for end, kind in self.types.items():
            if name.endswith(end):
                return kind
        return self.embedding if name in ("token_embd.weight", "output.weight") else self.matrices


def write_tiny(path: Path, model: TinyModel, metadata: Mapping[str, object] | None = None) -> Path:
    """Write the model to `path`; `metadata` replaces or adds keys (None leaves one out)."""
    writer = metadata_writer(path, model, metadata)
    random = np.random.default_rng(model.seed)
    for name, shape in model.shapes().items():
        values = _values(random, name, shape)
        kind = model.type_of(name)
        writer.add_tensor(name, _stored(values, kind, model.seed), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def metadata_writer(path: Path, model: TinyModel, metadata: Mapping[str, object] | None = None) -> gguf.GGUFWriter:
    """Begin a file with the model's metadata; tensors are still to be added."""
    writer = gguf.GGUFWriter(path, model.family)
    for key, value in (_metadata(model) | dict(metadata or {})).items():
        if value is not None:
            writer.add_key_value(key, value, *_gguf_type(value))
    return writer


def _values(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    if name.startswith("rope_f"):
        return random.uniform(1, 8, shape).astype(np.float32)
    if name.endswith("norm.weight"):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    scale = np.float32(shape[-1] ** -0.5)
    return random.standard_normal(shape, np.float32) * scale


def _stored(values: npt.NDArray[np.float32], kind: Type, seed: int) -> npt.NDArray[np.generic]:
    """Quantise, or draw quants of that size where ggml's package reads a format and cannot write it."""
    if kind is Type.F16:
        return values.astype(np.float16)
    if kind not in DRAWN:
        quantised: npt.NDArray[np.generic] = gguf.quants.quantize(values, kind)
        return quantised
    rows, columns = values.shape
    blocks = columns // FORMATS[DRAWN[kind]].weights
    return sized(random_rows(DRAWN[kind], seed=seed, rows=rows, blocks=blocks), DRAWN[kind], float(values.std()))


def _metadata(model: TinyModel) -> dict[str, object]:
    family = {
        "block_count": model.layers,
        "context_length": model.context_tokens,
        "embedding_length": model.width,
        "feed_forward_length": model.feed_forward,
        "attention.head_count": model.heads,
        "attention.head_count_kv": model.kv_heads,
        "attention.key_length": model.head_dim,
        "attention.value_length": model.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": model.rope_base,
        "rope.dimension_count": model.head_dim,
    }
    if model.window:
        family["attention.sliding_window"] = model.window
    return {f"{model.family}.{key}": value for key, value in family.items()} | {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": list(TOKENS),
        "tokenizer.ggml.token_type": [3] * len(CONTROL_TOKENS) + [1] * (len(TOKENS) - len(CONTROL_TOKENS)),
        "tokenizer.ggml.merges": list(MERGES),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def _gguf_type(value: object) -> tuple[gguf.GGUFValueType, ...]:
    match value:
        case bool():
            return (gguf.GGUFValueType.BOOL,)
        case int():
            return (gguf.GGUFValueType.UINT32,)
        case float():
            return (gguf.GGUFValueType.FLOAT32,)
        case list():
            items = {str: gguf.GGUFValueType.STRING, float: gguf.GGUFValueType.FLOAT32}
            return (gguf.GGUFValueType.ARRAY, items.get(type(value[0]), gguf.GGUFValueType.INT32))
        case _:
            return (gguf.GGUFValueType.STRING,)
