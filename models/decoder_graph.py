"""The nodes of a decoder over the file's own quants, in the order they run.

Weights keep ggml's quants, in MatMulNBits' form; what formats with minima have besides meets the sums of x's blocks in
further columns (see core.quantization). F16, BF16 and F32 matrices are multiplied as float32: whoever keeps them that
wide wants them exact, and onnxruntime has no faster exact kernel for the CPU.
Inputs: input_ids (batch, tokens), seqlens_k (batch) = tokens held after this run - 1, total_sequence_length,
rows (1, wanted) = flat indices of the tokens whose logits are wanted, past.N.key|value (batch, kv heads, room,
head size); outputs: logits (1, wanted, vocabulary) and present.N.key|value, which may share the memory of past.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from models.architecture import WINDOW_ROPE_BASE, DecoderConfig
from models.core.block_formats import BlockFormat
from models.core.quantization import offset_spread, rope_tables
from models.errors import CorruptModelError
from models.gguf import GgufFile
from models.weights import Matrix, Part, WeightsWriter

CONTRIB = "com.microsoft"
PRODUCT_BYTES = 64 * 1024 * 1024  # of quants multiplied in one product: the runtime packs each of them in memory
PRODUCT_ROWS = 1024  # whole pages, whatever the length of a row
SCALE_BYTES = 4
INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level; level 1 (float32) is fourteen times slower


class DecoderGraph:
    """Builds the nodes in the order they run; a value is known by its name."""

    def __init__(
        self, gguf: GgufFile, config: DecoderConfig, weights: WeightsWriter, *, with_logits: bool = True
    ) -> None:
        """with_logits: False for a graph that only fills the cache; it takes no `rows`."""
        self._gguf = gguf
        self._config = config
        self._weights = weights
        self._with_logits = with_logits
        self._nodes: list[onnx.NodeProto] = []
        self._extended: dict[tuple[str, str], str] = {}  # activations with what meets the offsets of a form behind them
        self._shared: set[str] = set()  # constants that several nodes read

    def build(self) -> onnx.GraphProto:
        """Put the whole graph together, once."""
        config = self._config
        self._constants()
        embedding = self._weights.matrix("embedding", (self._part("token_embd.weight"),))
        hidden, delta = self._scaled(self._embed(embedding)), ""
        for layer in range(config.layers):
            hidden, delta = self._layer(layer, hidden, delta)
        if self._with_logits:
            final, _ = self._norm("final_norm", hidden, delta, "output_norm.weight")
            self._logits(final, embedding)
        key_values = [(f"{layer}.{kind}") for layer in range(config.layers) for kind in ("key", "value")]
        shape = ["batch", config.kv_heads, "room", config.head_dim]
        wanted_rows, logits = [], []
        if self._with_logits:
            wanted_rows = [helper.make_tensor_value_info("rows", TensorProto.INT64, [1, "wanted"])]
            logits = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "wanted", config.vocabulary])]
        inputs = [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, []),
            *wanted_rows,
            *(helper.make_tensor_value_info(f"past.{name}", TensorProto.FLOAT, shape) for name in key_values),
        ]
        outputs = [
            *logits,
            *(helper.make_tensor_value_info(f"present.{name}", TensorProto.FLOAT, shape) for name in key_values),
        ]
        return helper.make_graph(self._nodes, "decoder", inputs, outputs, self._weights.initializers)

    def _constants(self) -> None:
        config = self._config
        name = config.rope_factors
        factors = self._gguf.floats(name) if name in self._gguf.tensors else None
        if factors is not None and not (np.isfinite(factors).all() and (factors > 0).all()):
            raise CorruptModelError(f"tensor {name!r} holds a factor that is not positive")
        if config.rope_factor != 1.0:
            factors = (np.float32(1) if factors is None else factors) * np.full(
                config.head_dim // 2, config.rope_factor, np.float32
            )
        self._rotations("rope", config.rope_base, factors)
        if config.window:
            self._rotations("window_rope", WINDOW_ROPE_BASE, None)
        self._weights.constant("last_axis", np.array([-1], np.int64))

    def _rotations(self, name: str, base: float, factors: npt.NDArray[np.float32] | None) -> None:
        config = self._config
        cosines, sines = rope_tables(
            positions=config.context_tokens, head_dim=config.head_dim, base=base, factors=factors
        )
        gain = np.float32(config.rope_gain)
        self._weights.constant(f"{name}.cosines", cosines * gain)
        self._weights.constant(f"{name}.sines", sines * gain)

    def _part(self, name: str, rope_heads: int | None = None) -> Part:
        return Part(info=self._gguf.tensors[name], rope_heads=rope_heads)

    def _node(
        self, operator: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: float | str
    ) -> str:
        """Add a node; return its first output's name."""
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs[0]

    def _layer(self, layer: int, hidden: str, delta: str) -> tuple[str, str]:
        """Add a decoder layer; hidden and delta are the residual stream and what is still to be added to it."""
        source, name = f"blk.{layer}.", f"layers.{layer}."
        normed, hidden = self._norm(f"{name}attention_norm", hidden, delta, f"{source}attn_norm.weight")
        attended = self._attention(layer, normed)
        if layer == self._config.layers - 1:
            if not self._with_logits:
                return hidden, ""  # the last keys and values are there
            # Past the last attention only the wanted rows matter: a prefill needs one of hundreds.
            attended = self._wanted_rows(f"{name}attended", attended, self._config.attention_width)
            hidden = self._wanted_rows(f"{name}hidden", hidden, self._config.width)
        delta = self._to_state(f"{name}output", attended, self._part(f"{source}attn_output.weight"))
        delta = self._post_norm(f"{name}attention_post_norm", delta, f"{source}post_attention_norm.weight")
        normed, hidden = self._norm(f"{name}feed_forward_norm", hidden, delta, f"{source}ffn_norm.weight")
        gate, up = self._gate_up(layer, normed)
        if self._config.family.gelu:
            opened = self._node("FastGelu", [gate], [f"{name}gelu"], CONTRIB)
        else:
            opened = self._node("QuickGelu", [gate], [f"{name}silu"], CONTRIB, alpha=1.0)
        product = self._node("Mul", [opened, up], [f"{name}product"])
        delta = self._to_state(f"{name}down", product, self._part(f"{source}ffn_down.weight"))
        return hidden, self._post_norm(f"{name}feed_forward_post_norm", delta, f"{source}post_ffw_norm.weight")

    def _attention(self, layer: int, normed: str) -> str:
        config, name, window = self._config, f"layers.{layer}.", self._config.window_of(layer)
        rope = "window_rope" if window else "rope"
        rotations = [f"{rope}.cosines", f"{rope}.sines"] if config.is_rotated(layer) else []
        return self._node(
            "GroupQueryAttention",
            [
                *self._query_key_value(layer, normed),
                f"past.{layer}.key",
                f"past.{layer}.value",
                "seqlens_k",
                "total_sequence_length",
                *rotations,
            ],
            [f"{name}attention", f"present.{layer}.key", f"present.{layer}.value"],
            CONTRIB,
            num_heads=config.heads,
            kv_num_heads=config.kv_heads,
            do_rotary=1 if rotations else 0,
            scale=config.query_scale,
            **({"local_window_size": window} if window else {}),
        )

    def _query_key_value(self, layer: int, normed: str) -> tuple[str, str, str]:
        """Name queries, keys and values; all three packed are the first, and the others empty."""
        config, source, name = self._config, f"blk.{layer}.", f"layers.{layer}."
        interleaved = config.family.interleaved
        parts: tuple[Part, ...] = (
            (self._part(f"{source}attn_qkv.weight"),)
            if config.family.fused
            else (
                self._part(f"{source}attn_q.weight", config.heads if interleaved else None),
                self._part(f"{source}attn_k.weight", config.kv_heads if interleaved else None),
                self._part(f"{source}attn_v.weight"),
            )
        )
        gains = f"{source}attn_norm.weight"
        if self._is_one_matrix(parts):
            packed = self._from_state(f"{name}qkv", normed, parts, gains)
            packed = self._biased(packed, *(f"{source}attn_{letter}.bias" for letter in "qkv"))
            if not config.family.head_norms:
                return packed, "", ""
            widths = self._shared_constant("qkv.widths", self._widths)
            query, key, value = (f"{name}{letter}" for letter in "qkv")
            self._nodes.append(helper.make_node("Split", [packed, widths], [query, key, value], name=query, axis=-1))
        else:
            query, key, value = (
                self._biased(self._from_state(f"{name}{letter}", normed, (part,), gains), f"{source}attn_{letter}.bias")
                for letter, part in zip("qkv", parts, strict=True)
            )
        return (
            self._head_norm(query, f"{source}attn_q_norm.weight"),
            self._head_norm(key, f"{source}attn_k_norm.weight"),
            value,
        )

    def _widths(self) -> npt.NDArray[np.int64]:
        config = self._config
        return np.array([config.attention_width, config.kv_width, config.kv_width], np.int64)

    def _biased(self, x: str, *biases: str) -> str:
        """Add the tensors of these names, one after another, if the architecture has them."""
        if not self._config.family.biased:
            return x
        bias = self._weights.constant(f"{x}.bias", np.concatenate([self._gguf.floats(one) for one in biases]))
        return self._node("Add", [x, bias], [f"{x}.biased"])

    def _head_norm(self, x: str, gains: str) -> str:
        """Normalise each head of x (batch, tokens, heads * head size), if the architecture does."""
        if not self._config.family.head_norms:
            return x
        heads = self._shared_constant("heads", lambda: np.array([0, 0, -1, self._config.head_dim], np.int64))
        cut = self._node("Reshape", [x, heads], [f"{x}.heads"])
        gain = self._weights.constant(f"{x}.gain", self._gguf.floats(gains))
        normed = self._normalised(f"{x}.normed", cut, gain)
        return self._node("Reshape", [normed, self._whole()], [f"{x}.flat"])

    def _post_norm(self, name: str, delta: str, gains: str) -> str:
        """Normalise what is added to the state, if the architecture does."""
        if not self._config.family.post_norms:
            return delta
        gain = self._weights.constant(f"{name}.gain", self._gguf.floats(gains))
        return self._normalised(name, delta, gain)

    def _normalised(self, name: str, x: str, gain: str) -> str:
        """Divide x by the root of its mean square, along its last axis, and multiply it by the gains."""
        return self._node("SimplifiedLayerNormalization", [x, gain], [name], axis=-1, epsilon=self._config.epsilon)

    def _scaled(self, embedded: str) -> str:
        if not self._config.family.scaled:
            return embedded
        root = self._weights.constant("embedded.root", np.array(self._config.width**0.5, np.float32))
        return self._node("Mul", [embedded, root], ["embedded.state"])

    def _gate_up(self, layer: int, normed: str) -> tuple[str, str]:
        source, name = f"blk.{layer}.", f"layers.{layer}."
        names = ("up",) if self._config.family.fused else ("gate", "up")
        parts = tuple(self._part(f"{source}ffn_{kind}.weight") for kind in names)
        gains = f"{source}ffn_norm.weight"
        if not self._is_one_matrix(parts):
            gate, up = (
                self._from_state(f"{name}{kind}", normed, (part,), gains)
                for kind, part in zip(("gate", "up"), parts, strict=True)
            )
            return gate, up
        product = self._from_state(f"{name}gate_up", normed, parts, gains)
        self._node("Split", [product], [f"{name}gate", f"{name}up"], axis=-1, num_outputs=2)
        return f"{name}gate", f"{name}up"

    def _is_one_matrix(self, parts: tuple[Part, ...]) -> bool:
        """Whether `parts` can be multiplied in one product."""
        return len({part.info.type for part in parts}) == 1

    def _from_state(self, name: str, normed: str, parts: tuple[Part, ...], gains: str) -> str:  # noqa: ARG002  other forms fold them in
        """Multiply a normalised hidden state; gains: the tensor of its norm's."""
        return self._matmul(name, normed, self._weights.matrix(name, parts))

    def _to_state(self, name: str, x: str, part: Part) -> str:
        """Multiply to what is added to the hidden state."""
        return self._matmul(name, x, self._weights.matrix(name, (part,)))

    def _logits(self, final: str, embedding: Matrix) -> str:
        # A tied head is the embedding read the other way: one initializer serves both.
        head = embedding
        if "output.weight" in self._gguf.tensors:
            head = self._weights.matrix("head", (self._part("output.weight"),))
        return self._matmul("logits", final, head)

    def _norm(self, name: str, hidden: str, delta: str, gains: str) -> tuple[str, str]:
        """Add RMS normalisation of hidden + delta; return the normed value and the sum."""
        gain = self._gain(name, gains)
        if not delta:
            return self._normalised(name, hidden, gain), hidden
        total = f"{name}.sum"
        self._node(
            "SkipSimplifiedLayerNormalization",
            [hidden, delta, gain],
            [name, "", "", total],
            CONTRIB,
            epsilon=self._config.epsilon,
        )
        return name, total

    def _gain(self, name: str, gains: str) -> str:
        return self._weights.constant(f"{name}.gain", self._gguf.floats(gains))

    def _wanted_rows(self, name: str, x: str, width: int) -> str:
        shape = self._weights.constant(f"{name}.shape", np.array([-1, width], np.int64))
        flat = self._node("Reshape", [x, shape], [f"{name}.flat"])
        return self._node("Gather", [flat, "rows"], [f"{name}.wanted"], axis=0)

    def _embed(self, matrix: Matrix) -> str:
        if matrix.scales is None:
            rows = self._node("Gather", [matrix.values, "input_ids"], ["embedded.rows"], axis=0)
            return self._node("Cast", [rows], ["embedded"], to=TensorProto.FLOAT)
        bits, block = matrix.format.bits, matrix.format.block
        row_bytes = (matrix.columns + matrix.offset_columns) * bits // 8
        quants = self._weights.view(matrix.values, "embedding.rows", (matrix.rows, row_bytes))
        gather = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
        embedded = self._node(
            "GatherBlockQuantized", [quants, "input_ids", matrix.scales], ["embedded.scaled"], CONTRIB, **gather
        )
        if not matrix.offset_columns:
            return embedded
        ends = self._weights.constant("embedding.ends", np.array([matrix.columns, matrix.offset_columns], np.int64))
        self._node("Split", [embedded, ends], ["embedded.quants", "embedded.digits"], axis=-1)
        spread = self._spread(matrix)
        offsets = self._node("FusedMatMul", ["embedded.digits", spread], ["embedded.offsets"], CONTRIB, transB=1)
        cut = self._node("Reshape", ["embedded.quants", self._cut(block)], ["embedded.cut"])
        columns = self._node("Unsqueeze", [offsets, "last_axis"], ["embedded.columns"])
        shifted = self._node("Add", [cut, columns], ["embedded.shifted"])
        return self._node("Reshape", [shifted, self._whole()], ["embedded"])

    def _matmul(self, name: str, x: str, matrix: Matrix) -> str:
        """Multiply x (..., columns) by the matrix transposed; return the name of (..., rows)."""
        if matrix.scales is None:
            values = matrix.values
            if matrix.type.name == "F16":
                values = self._node("Cast", [values], [f"{name}.widened"], to=TensorProto.FLOAT)
            return self._node("FusedMatMul", [x, values], [name], CONTRIB, transB=1)
        if matrix.offset_columns:
            x = self._extend(x, matrix)
        stored = matrix.format
        blocks, block_bytes = (matrix.columns + matrix.offset_columns) // stored.block, stored.block * stored.bits // 8
        parts = -(-matrix.rows * blocks * block_bytes // PRODUCT_BYTES)
        if parts == 1:
            return self._product_of_rows(name, [x, matrix.values, matrix.scales], matrix, matrix.rows)
        step = -(-matrix.rows // parts // PRODUCT_ROWS) * PRODUCT_ROWS
        products = []
        for first in range(0, matrix.rows, step):
            rows, part = min(step, matrix.rows - first), f"{name}.from_{first}"
            values = self._weights.view(
                matrix.values, f"{part}.quants", (rows, blocks, block_bytes), start=first * blocks * block_bytes
            )
            scales = self._weights.view(
                matrix.scales, f"{part}.scales", (rows, blocks), start=first * blocks * SCALE_BYTES
            )
            products.append(self._product_of_rows(part, [x, values, scales], matrix, rows))
        return self._node("Concat", products, [name], axis=-1)

    def _product_of_rows(self, name: str, inputs: list[str], matrix: Matrix, rows: int) -> str:
        """Multiply by some rows of a quantised matrix; inputs: x, their quants, their scales."""
        attributes = {
            "N": rows,
            "K": matrix.columns + matrix.offset_columns,
            "bits": matrix.format.bits,
            "block_size": matrix.format.block,
            "accuracy_level": INT8_ACTIVATIONS,
        }
        return self._node("MatMulNBits", inputs, [name], CONTRIB, **attributes)

    def _extend(self, x: str, matrix: Matrix) -> str:
        """Put behind x (..., columns) what meets a matrix' offsets: the sums of its blocks, once for each digit."""
        form = _form(matrix.format)
        if (x, form) not in self._extended:
            cut = self._node("Reshape", [x, self._cut(matrix.format.block)], [f"{x}.{form}.cut"])
            sums = self._node("ReduceSum", [cut, "last_axis"], [f"{x}.{form}.sums"], keepdims=0)
            spread = self._node("MatMul", [sums, self._spread(matrix)], [f"{x}.{form}.spread"])
            self._extended[x, form] = self._node("Concat", [x, spread], [f"{x}.{form}.extended"], axis=-1)
        return self._extended[x, form]

    def _spread(self, matrix: Matrix) -> str:
        """Name the constant that spreads the sums of a row's blocks; one serves all rows of a length and form."""
        name = f"spread.{_form(matrix.format)}.{matrix.columns}"
        return self._shared_constant(name, lambda: offset_spread(matrix.format, matrix.columns))

    def _cut(self, block: int) -> str:
        """Name the constant that is the shape of x in blocks."""
        return self._shared_constant(f"blocks.{block}", lambda: np.array([0, 0, -1, block], np.int64))

    def _whole(self) -> str:
        """Name the constant that is the shape of x in one piece again."""
        return self._shared_constant("whole", lambda: np.array([0, 0, -1], np.int64))

    def _shared_constant(self, name: str, make: Callable[[], npt.NDArray[Any]]) -> str:
        if name not in self._shared:
            self._shared.add(name)
            self._weights.constant(name, make())
        return name


def _form(stored: BlockFormat) -> str:
    return f"int{stored.bits}x{stored.block}"
