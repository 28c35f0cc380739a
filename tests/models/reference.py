"""The llama architecture in plain float32 numpy, straight from a GGUF as ggml lays it out: the judge of graphs."""

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


def reference_logits(path: Path, ids: list[int]) -> Float32Array:
    """Logits after each token, (tokens, vocabulary)."""
    reader = gguf.GGUFReader(path)
    weights = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}

    def key(name: str) -> float:
        return float(reader.fields[f"llama.{name}"].contents())

    heads, kv_heads = int(key("attention.head_count")), int(key("attention.head_count_kv"))
    epsilon = key("attention.layer_norm_rms_epsilon")
    head_dim = int(key("embedding_length")) // heads
    if "llama.attention.key_length" in reader.fields:
        head_dim = int(key("attention.key_length"))
    frequencies = key("rope.freq_base") ** -(np.arange(0, head_dim, 2) / head_dim)
    angles = np.arange(len(ids))[:, None] * (frequencies / weights.get("rope_freqs.weight", 1.0))

    def norm(x: Float32Array, gains: str) -> Float32Array:
        normed: Float32Array = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weights[gains]
        return normed

    def rotate(x: Float32Array) -> Float32Array:
        """Rotate as ggml does, neighbours in pairs; x: (tokens, heads, head_dim)."""
        cosines, sines = np.cos(angles)[:, None], np.sin(angles)[:, None]
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack([even * cosines - odd * sines, even * sines + odd * cosines], -1).reshape(x.shape)

    mask = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
    x = weights["token_embd.weight"][ids]
    for layer in range(int(key("block_count"))):
        name = f"blk.{layer}."
        normed = norm(x, f"{name}attn_norm.weight")
        query, value_key, value = (
            (normed @ weights[f"{name}attn_{letter}.weight"].T).reshape(len(ids), -1, head_dim) for letter in "qkv"
        )
        query, value_key = rotate(query), rotate(value_key).repeat(heads // kv_heads, 1)
        scores = np.einsum("qhd,khd->hqk", query, value_key) * head_dim**-0.5 + mask
        attention = np.exp(scores - scores.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", attention, value.repeat(heads // kv_heads, 1)).reshape(len(ids), -1)
        x = x + attended @ weights[f"{name}attn_output.weight"].T
        normed = norm(x, f"{name}ffn_norm.weight")
        gate, up = (normed @ weights[f"{name}ffn_{part}.weight"].T for part in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{name}ffn_down.weight"].T
    head = weights.get("output.weight", weights["token_embd.weight"])
    logits: Float32Array = norm(x, "output_norm.weight") @ head.T
    return logits
