"""The supported families in plain float32 numpy, straight from a GGUF as ggml lays it out: the judge of graphs."""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from models.architecture import FAMILIES

Float32Array = npt.NDArray[np.float32]


def reference_logits(path: Path, ids: list[int]) -> Float32Array:
    """Logits after each token, (tokens, vocabulary)."""
    return _Decoder(path).logits(ids)


class _Decoder:
    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self._fields = reader.fields
        self._name = str(reader.fields["general.architecture"].contents())
        self._family = FAMILIES[self._name]
        self._weights: Mapping[str, Float32Array] = {
            tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors
        }
        self._heads, self._kv_heads = int(self._key("attention.head_count")), int(self._key("attention.head_count_kv"))
        self._head_dim = int(self._key("attention.key_length", self._key("embedding_length") / self._heads))
        if self._family.fused:
            self._weights = {**self._weights, **self._cut()}

    def logits(self, ids: list[int]) -> Float32Array:
        family, weights = self._family, self._weights
        x = weights["token_embd.weight"][ids]
        if family.scaled:
            x = x * np.sqrt(np.float32(x.shape[-1]))
        for layer in range(int(self._key("block_count"))):
            name = f"blk.{layer}."
            attended = self._attention(layer, self._norm(x, f"{name}attn_norm.weight"))
            x = x + (self._norm(attended, f"{name}post_attention_norm.weight") if family.post_norms else attended)
            normed = self._norm(x, f"{name}ffn_norm.weight")
            gate, up = (normed @ weights[f"{name}ffn_{part}.weight"].T for part in ("gate", "up"))
            opened = _gelu(gate) if family.gelu else 0.5 * gate * (1 + np.tanh(gate / 2))
            made = (opened * up) @ weights[f"{name}ffn_down.weight"].T
            x = x + (self._norm(made, f"{name}post_ffw_norm.weight") if family.post_norms else made)
        head = weights.get("output.weight", weights["token_embd.weight"])
        logits: Float32Array = self._norm(x, "output_norm.weight") @ head.T
        return logits

    def _cut(self) -> dict[str, Float32Array]:
        """Cut what is one tensor into what it is in other families."""
        queries, keys = self._heads * self._head_dim, self._kv_heads * self._head_dim
        cut = dict[str, Float32Array]()
        for layer in range(int(self._key("block_count"))):
            name = f"blk.{layer}."
            parts = np.split(self._weights[f"{name}attn_qkv.weight"], [queries, queries + keys])
            cut |= {f"{name}attn_{letter}.weight": part for letter, part in zip("qkv", parts, strict=True)}
            gate, up = np.split(self._weights[f"{name}ffn_up.weight"], 2)
            cut |= {f"{name}ffn_gate.weight": gate, f"{name}ffn_up.weight": up}
        return cut

    def _attention(self, layer: int, normed: Float32Array) -> Float32Array:
        name, tokens, family = f"blk.{layer}.", len(normed), self._family
        query, key, value = (
            (
                normed @ self._weights[f"{name}attn_{letter}.weight"].T
                + (self._weights[f"{name}attn_{letter}.bias"] if family.biased else 0)
            ).reshape(tokens, -1, self._head_dim)
            for letter in "qkv"
        )
        if family.head_norms:
            query, key = self._norm(query, f"{name}attn_q_norm.weight"), self._norm(key, f"{name}attn_k_norm.weight")
        window = int(self._key("attention.sliding_window", 0)) if family.window_period else 0
        if family.window_period and layer % family.window_period == family.window_period - 1:
            window = 0
        if not family.plain_period or (layer + 1) % family.plain_period:
            query, key = (self._turned(x, in_window=window > 0) for x in (query, key))
        groups = self._heads // self._kv_heads
        scores = np.einsum("qhd,khd->hqk", query, key.repeat(groups, 1)) * self._head_dim**-0.5
        ages = np.arange(tokens)[:, None] - np.arange(tokens)
        scores = np.where((ages < 0) | ((window > 0) & (ages >= window)), -np.inf, scores)
        attention = np.exp(scores - scores.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", attention, value.repeat(groups, 1)).reshape(tokens, -1)
        made: Float32Array = attended @ self._weights[f"{name}attn_output.weight"].T
        return made

    def _turned(self, x: Float32Array, *, in_window: bool) -> Float32Array:
        """Rotate as ggml does; x: (tokens, heads, head_dim)."""
        base = 10_000.0 if in_window else self._key("rope.freq_base")
        frequencies = base ** -(np.arange(0, self._head_dim, 2) / self._head_dim)
        if not in_window:
            factors = "rope_factors_short.weight" if self._family.long_rope else "rope_freqs.weight"
            frequencies = frequencies / self._weights.get(factors, np.float32(1))
            frequencies = frequencies / self._key("rope.scaling.factor", 1.0)
        angles = np.arange(len(x))[:, None] * frequencies
        gain = self._key("rope.scaling.attn_factor", 1.0)
        cosines, sines = (gain * turned[:, None].astype(np.float32) for turned in (np.cos(angles), np.sin(angles)))
        if self._family.interleaved:
            even, odd = x[..., 0::2], x[..., 1::2]
            return np.stack([even * cosines - odd * sines, even * sines + odd * cosines], -1).reshape(x.shape)
        first, second = np.split(x, 2, -1)
        return np.concatenate([first * cosines - second * sines, first * sines + second * cosines], -1)

    def _norm(self, x: Float32Array, gains: str) -> Float32Array:
        epsilon = self._key("attention.layer_norm_rms_epsilon")
        normed: Float32Array = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * self._weights[gains]
        return normed

    def _key(self, name: str, default: float | None = None) -> float:
        field = self._fields.get(f"{self._name}.{name}")
        if field is None and default is not None:
            return default
        return float(self._fields[f"{self._name}.{name}"].contents())


def _gelu(x: Float32Array) -> Float32Array:
    opened: Float32Array = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return opened
