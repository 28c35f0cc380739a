"""A llama-architecture GGUF as an ONNX graph of onnxruntime's own operators, without torch and without loss.

Weights keep ggml's quants. Q4_0 and Q8_0 are exactly MatMulNBits' form; Q4_1 has a minimum for each block besides,
which meets the sums of x's blocks in further columns (see core.quantization). F16 and F32 matrices are multiplied as
float32: whoever keeps them that wide wants them exact, and onnxruntime has no faster exact kernel for the CPU.
Inputs: input_ids (batch, tokens), seqlens_k (batch) = tokens held after this run - 1, total_sequence_length,
rows (1, wanted) = flat indices of the tokens whose logits are wanted, past.N.key|value (batch, kv heads, room,
head size); outputs: logits (1, wanted, vocabulary) and present.N.key|value, which may share the memory of past.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from models.architecture import LlamaConfig
from models.core.graph_info import DATA_FILE, MODEL_FILE, GraphInfo
from models.core.quantization import BLOCK, offset_spread, rope_tables
from models.errors import CorruptModelError
from models.gguf import GgufFile
from models.weights import Matrix, Part, WeightsWriter

CONTRIB = "com.microsoft"
PRODUCT_BYTES = 64 * 1024 * 1024  # of quants multiplied in one product: the runtime packs each of them in memory
PRODUCT_ROWS = 1024  # whole pages, whatever the length of a row
SCALE_BYTES = 4
INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level; level 1 (float32) is fourteen times slower


def convert(gguf_path: Path, out_dir: Path, *, progress: Callable[[float], None] | None = None) -> GraphInfo:
    """Write model.onnx and model.onnx.data into `out_dir`, which appears complete or not at all.

    The same file gives the same bytes. `progress` hears the done part, 0 to 1. One writer at a time per `out_dir`.
    Raises CorruptModelError, UnsupportedModelError; OSError where the disk refuses.
    """
    with GgufFile.open(gguf_path) as gguf:
        config = LlamaConfig.from_gguf(gguf)
        partial = out_dir.with_name(f".{out_dir.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # what a crash left
        partial.mkdir(parents=True)
        try:
            info = _write(gguf, config, partial, progress)
            shutil.rmtree(out_dir, ignore_errors=True)
            partial.rename(out_dir)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    _sync(out_dir.parent)
    return info


def _write(gguf: GgufFile, config: LlamaConfig, folder: Path, progress: Callable[[float], None] | None) -> GraphInfo:
    info = GraphInfo(
        layers=config.layers,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        vocabulary=config.vocabulary,
        context_tokens=config.context_tokens,
    )
    with (folder / DATA_FILE).open("wb") as file:
        weights = WeightsWriter(gguf, file, progress=progress)
        graph = _LlamaGraph(gguf, config, weights).build()
        file.flush()
        os.fsync(file.fileno())
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(CONTRIB, 1)], ir_version=10
    )
    helper.set_model_props(model, {key: str(value) for key, value in asdict(info).items()})
    with (folder / MODEL_FILE).open("wb") as file:
        file.write(model.SerializeToString(deterministic=True))
        file.flush()
        os.fsync(file.fileno())
    _sync(folder)
    return info


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _LlamaGraph:
    """Builds the nodes in the order they run; a value is known by its name."""

    def __init__(self, gguf: GgufFile, config: LlamaConfig, weights: WeightsWriter) -> None:
        self._gguf = gguf
        self._config = config
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._extended: dict[str, str] = {}  # activations with what meets the offsets behind them
        self._spreads: dict[int, str] = {}

    def build(self) -> onnx.GraphProto:
        config = self._config
        self._constants()
        # A tied head is the embedding read the other way: one initializer serves both.
        embedding = self._weights.matrix("embedding", (self._part("token_embd.weight"),))
        head = embedding
        if "output.weight" in self._gguf.tensors:
            head = self._weights.matrix("head", (self._part("output.weight"),))
        hidden, delta = self._embed(embedding), ""
        for layer in range(config.layers):
            hidden, delta = self._layer(layer, hidden, delta)
        final, _ = self._norm("final_norm", hidden, delta, "output_norm.weight")
        self._matmul("logits", final, head)
        key_values = [(f"{layer}.{kind}") for layer in range(config.layers) for kind in ("key", "value")]
        shape = ["batch", config.kv_heads, "room", config.head_dim]
        inputs = [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, []),
            helper.make_tensor_value_info("rows", TensorProto.INT64, [1, "wanted"]),
            *(helper.make_tensor_value_info(f"past.{name}", TensorProto.FLOAT, shape) for name in key_values),
        ]
        outputs = [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "wanted", config.vocabulary]),
            *(helper.make_tensor_value_info(f"present.{name}", TensorProto.FLOAT, shape) for name in key_values),
        ]
        return helper.make_graph(self._nodes, "llama", inputs, outputs, self._weights.initializers)

    def _constants(self) -> None:
        config = self._config
        factors = self._gguf.floats("rope_freqs.weight") if "rope_freqs.weight" in self._gguf.tensors else None
        if factors is not None and not (np.isfinite(factors).all() and (factors > 0).all()):
            raise CorruptModelError("tensor 'rope_freqs.weight' holds a factor that is not positive")
        cosines, sines = rope_tables(
            positions=config.context_tokens, head_dim=config.head_dim, base=config.rope_base, factors=factors
        )
        self._weights.constant("rope.cosines", cosines)
        self._weights.constant("rope.sines", sines)
        self._weights.constant("last_axis", np.array([-1], np.int64))
        self._weights.constant("blocks", np.array([0, 0, -1, BLOCK], np.int64))

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
            # Past the last attention only the wanted rows matter: a prefill needs one of hundreds.
            attended = self._wanted_rows(f"{name}attended", attended, self._config.attention_width)
            hidden = self._wanted_rows(f"{name}hidden", hidden, self._config.width)
        output = self._weights.matrix(f"{name}output", (self._part(f"{source}attn_output.weight"),))
        delta = self._matmul(f"{name}output", attended, output)
        normed, hidden = self._norm(f"{name}feed_forward_norm", hidden, delta, f"{source}ffn_norm.weight")
        gate, up = self._stacked(
            f"{name}gate_up",
            normed,
            (self._part(f"{source}ffn_gate.weight"), self._part(f"{source}ffn_up.weight")),
        )
        silu = self._node("QuickGelu", [gate], [f"{name}silu"], CONTRIB, alpha=1.0)
        product = self._node("Mul", [silu, up], [f"{name}product"])
        down = self._weights.matrix(f"{name}down", (self._part(f"{source}ffn_down.weight"),))
        return hidden, self._matmul(f"{name}down", product, down)

    def _attention(self, layer: int, normed: str) -> str:
        config, source, name = self._config, f"blk.{layer}.", f"layers.{layer}."
        parts = (
            self._part(f"{source}attn_q.weight", config.heads),
            self._part(f"{source}attn_k.weight", config.kv_heads),
            self._part(f"{source}attn_v.weight"),
        )
        if len({part.info.type for part in parts}) == 1:
            packed = self._matmul(f"{name}qkv", normed, self._weights.matrix(f"{name}qkv", parts))
            query_key_value = [packed, "", ""]
        else:
            query_key_value = [
                self._matmul(f"{name}{letter}", normed, self._weights.matrix(f"{name}{letter}", (part,)))
                for letter, part in zip("qkv", parts, strict=True)
            ]
        return self._node(
            "GroupQueryAttention",
            [
                *query_key_value,
                f"past.{layer}.key",
                f"past.{layer}.value",
                "seqlens_k",
                "total_sequence_length",
                "rope.cosines",
                "rope.sines",
            ],
            [f"{name}attention", f"present.{layer}.key", f"present.{layer}.value"],
            CONTRIB,
            num_heads=config.heads,
            kv_num_heads=config.kv_heads,
            do_rotary=1,
            scale=config.head_dim**-0.5,
        )

    def _stacked(self, name: str, x: str, parts: tuple[Part, Part]) -> tuple[str, str]:
        """Multiply by two matrices, in one product where they are of one type."""
        first, second = parts
        outputs = (f"{name}.0", f"{name}.1")
        if first.info.type is second.info.type:
            product = self._matmul(name, x, self._weights.matrix(name, parts))
            self._node("Split", [product], list(outputs), axis=-1, num_outputs=2)
        else:
            for output, part in zip(outputs, parts, strict=True):
                self._matmul(output, x, self._weights.matrix(output, (part,)))
        return outputs

    def _norm(self, name: str, hidden: str, delta: str, gains: str) -> tuple[str, str]:
        """Add RMS normalisation of hidden + delta; return the normed value and the sum."""
        gain = self._weights.constant(f"{name}.gain", self._gguf.floats(gains))
        epsilon = self._config.epsilon
        if not delta:
            normed = self._node("SimplifiedLayerNormalization", [hidden, gain], [name], axis=-1, epsilon=epsilon)
            return normed, hidden
        total = f"{name}.sum"
        self._node(
            "SkipSimplifiedLayerNormalization", [hidden, delta, gain], [name, "", "", total], CONTRIB, epsilon=epsilon
        )
        return name, total

    def _wanted_rows(self, name: str, x: str, width: int) -> str:
        shape = self._weights.constant(f"{name}.shape", np.array([-1, width], np.int64))
        flat = self._node("Reshape", [x, shape], [f"{name}.flat"])
        return self._node("Gather", [flat, "rows"], [f"{name}.wanted"], axis=0)

    def _embed(self, matrix: Matrix) -> str:
        if matrix.scales is None:
            rows = self._node("Gather", [matrix.values, "input_ids"], ["embedded.rows"], axis=0)
            return self._node("Cast", [rows], ["embedded"], to=TensorProto.FLOAT)
        row_bytes = (matrix.columns + matrix.offset_columns) * matrix.bits // 8
        quants = self._weights.view(matrix.values, "embedding.rows", (matrix.rows, row_bytes))
        gather = {"bits": matrix.bits, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        embedded = self._node(
            "GatherBlockQuantized", [quants, "input_ids", matrix.scales], ["embedded.scaled"], CONTRIB, **gather
        )
        if not matrix.offset_columns:
            return embedded
        ends = self._weights.constant("embedding.ends", np.array([matrix.columns, matrix.offset_columns], np.int64))
        self._node("Split", [embedded, ends], ["embedded.quants", "embedded.digits"], axis=-1)
        spread = self._spread(matrix.columns)
        offsets = self._node("FusedMatMul", ["embedded.digits", spread], ["embedded.offsets"], CONTRIB, transB=1)
        cut = self._node("Reshape", ["embedded.quants", "blocks"], ["embedded.cut"])
        columns = self._node("Unsqueeze", [offsets, "last_axis"], ["embedded.columns"])
        shifted = self._node("Add", [cut, columns], ["embedded.shifted"])
        whole = self._weights.constant("embedded.whole", np.array([0, 0, -1], np.int64))
        return self._node("Reshape", [shifted, whole], ["embedded"])

    def _matmul(self, name: str, x: str, matrix: Matrix) -> str:
        """Multiply x (..., columns) by the matrix transposed; return the name of (..., rows)."""
        if matrix.scales is None:
            values = matrix.values
            if matrix.type.name == "F16":
                values = self._node("Cast", [values], [f"{name}.widened"], to=TensorProto.FLOAT)
            return self._node("FusedMatMul", [x, values], [name], CONTRIB, transB=1)
        if matrix.offset_columns:
            x = self._extend(x, matrix.columns)
        blocks, block_bytes = (matrix.columns + matrix.offset_columns) // BLOCK, BLOCK * matrix.bits // 8
        parts = -(-matrix.rows * blocks * block_bytes // PRODUCT_BYTES)
        if parts == 1:
            return self._product(name, [x, matrix.values, matrix.scales], matrix, matrix.rows)
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
            products.append(self._product(part, [x, values, scales], matrix, rows))
        return self._node("Concat", products, [name], axis=-1)

    def _product(self, name: str, inputs: list[str], matrix: Matrix, rows: int) -> str:
        """Multiply by some rows of a quantised matrix; inputs: x, their quants, their scales."""
        attributes = {
            "N": rows,
            "K": matrix.columns + matrix.offset_columns,
            "bits": matrix.bits,
            "block_size": BLOCK,
            "accuracy_level": INT8_ACTIVATIONS,
        }
        return self._node("MatMulNBits", inputs, [name], CONTRIB, **attributes)

    def _extend(self, x: str, columns: int) -> str:
        """Put behind x (..., columns) what meets the offsets of Q4_1: the sums of its blocks, once for each digit."""
        if x not in self._extended:
            cut = self._node("Reshape", [x, "blocks"], [f"{x}.cut"])
            sums = self._node("ReduceSum", [cut, "last_axis"], [f"{x}.sums"], keepdims=0)
            spread = self._node("MatMul", [sums, self._spread(columns)], [f"{x}.spread"])
            self._extended[x] = self._node("Concat", [x, spread], [f"{x}.extended"], axis=-1)
        return self._extended[x]

    def _spread(self, columns: int) -> str:
        """Name the constant that spreads the sums of a row's blocks; one serves all rows of a length."""
        if columns not in self._spreads:
            spread = offset_spread(columns // BLOCK)
            self._spreads[columns] = self._weights.constant(f"spread.{columns}", spread)
        return self._spreads[columns]
