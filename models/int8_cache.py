"""Graphs that keep keys and values as int8, made from one that keeps them as float32: other attention nodes, no more.

A number of the cache is round(value / scale), with a scale for each channel of each key-value head.  The scales come
from outside, as inputs scale.N.key|value (1, kv heads, 1, head size): they are measured after a graph is written.
Queries and products stay float32.  Source: onnxruntime's GroupQueryAttention, k_quant_type PER_CHANNEL.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ATTENTION = "GroupQueryAttention"
CONTRIB = "com.microsoft"
SCALE_INPUTS_AT = 12  # k_scale and v_scale, behind four inputs that our graphs leave out
BITS = 8
KINDS = ("key", "value")


def for_decoding(graph: onnx.GraphProto) -> onnx.GraphProto:
    """Have the runtime itself write and read int8: the fastest for one token, and half as fast for a prompt."""
    made = onnx.GraphProto()
    made.CopyFrom(graph)
    _narrow(made)
    for node in made.node:
        if node.op_type == ATTENTION:
            scales = [f"scale.{past.removeprefix('past.')}" for past in node.input[3:5]]
            node.input.extend([""] * (SCALE_INPUTS_AT - len(node.input)) + scales)
            quantised = {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL", "kv_cache_bit_width": BITS}
            node.attribute.extend(helper.make_attribute(key, value) for key, value in quantised.items())
    return made


def for_prompts(graph: onnx.GraphProto) -> onnx.GraphProto:
    """Compute keys and values only, those of a prompt's tokens, over float32 products.

    The outputs are new.N.key|value (batch, tokens, kv heads, head size) int8, for the caller to put into the cache.
    Each token sees its own and all others as the cache will give them: so it matters not how a prompt is cut into runs.
    """
    made = onnx.GraphProto()
    made.CopyFrom(graph)
    _narrow(made)
    past = next(value for value in made.input if value.name.startswith("past."))
    _, kv_heads, _, head_dim = (dimension.dim_value for dimension in past.type.tensor_type.shape.dim)
    constants = {
        "cache.tokens_axis": np.array([2], np.int64),
        "cache.beginning": np.array([0], np.int64),
        "cache.least": np.array(-(2 ** (BITS - 1)), np.float32),
        "cache.most": np.array(2 ** (BITS - 1) - 1, np.float32),
        "cache.heads": np.array([0, 0, kv_heads, head_dim], np.int64),
        "cache.row": np.array([0, 0, kv_heads * head_dim], np.int64),
        "cache.one": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["cache.count"], start=1, end=2),
        helper.make_node("Cast", ["total_sequence_length"], ["cache.stop"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["cache.stop", "cache.one"], ["cache.stops"]),
        helper.make_node("Sub", ["cache.stops", "cache.count"], ["cache.held"]),
    ]
    kept = []
    for node in made.node:
        if node.op_type == ATTENTION:
            heads = next(attribute.i for attribute in node.attribute if attribute.name == "num_heads")
            widths = [head_dim * count for count in (heads, kv_heads, kv_heads)]
            constants["cache.widths"] = np.array(widths, np.int64)
            kept += [output.removeprefix("present.") for output in node.output[1:]]
            nodes += _attention_over_rounded(node)
        else:
            nodes.append(node)
    outputs = [
        helper.make_tensor_value_info(f"new.{name}", TensorProto.INT8, ["batch", "tokens", kv_heads, head_dim])
        for name in kept
    ]
    inputs = [value for value in made.input if value.name != "rows"]
    initializers = [*made.initializer, *(numpy_helper.from_array(array, name) for name, array in constants.items())]
    needed = {value.name for value in outputs}
    alive = []
    for node in reversed(nodes):  # logits are nobody's business here
        if needed.intersection(node.output):
            needed.update(node.input)
            alive.append(node)
    used = [tensor for tensor in initializers if tensor.name in needed]
    return helper.make_graph(alive[::-1], made.name, inputs, outputs, used)


def _narrow(graph: onnx.GraphProto) -> None:
    """Make the cache int8 and add its scales to the inputs."""
    for value in (*graph.input, *graph.output):
        if value.name.startswith(("past.", "present.")):
            value.type.tensor_type.elem_type = TensorProto.INT8
    for value in [value for value in graph.input if value.name.startswith("past.")]:
        _, kv_heads, _, head_dim = (dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        name, shape = value.name.replace("past.", "scale.", 1), [1, kv_heads, 1, head_dim]
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _attention_over_rounded(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Round what is new, widen what is held, and attend to both."""
    name, (packed, *others), (key, value, seqlens, total, *rotations) = node.name, node.input[:3], node.input[3:9]
    rows = [packed, *others]
    if not others[0]:
        rows = [f"{name}.{letter}" for letter in "qkv"]
        yield helper.make_node("Split", [packed, "cache.widths"], rows, axis=-1)
    turned = [f"{name}.query", f"{name}.key", rows[2]] if rotations else rows
    for row, result in zip(rows[:2], turned[:2], strict=True):
        if rotations:
            yield helper.make_node("RotaryEmbedding", [row, "cache.held", *rotations], [result], domain=CONTRIB)
    seen, held = [], []
    for row, past, kind in zip(turned[1:], (key, value), KINDS, strict=True):
        layer = past.removeprefix("past.")
        made = f"{name}.{kind}."
        yield helper.make_node("Transpose", [f"scale.{layer}"], [f"{made}scale"], perm=[0, 2, 1, 3])
        yield helper.make_node("Reshape", [row, "cache.heads"], [f"{made}cut"])
        yield helper.make_node("Div", [f"{made}cut", f"{made}scale"], [f"{made}exact"])
        yield helper.make_node("Round", [f"{made}exact"], [f"{made}whole"])
        yield helper.make_node("Clip", [f"{made}whole", "cache.least", "cache.most"], [f"{made}steps"])
        yield helper.make_node("Cast", [f"{made}steps"], [f"new.{layer}"], to=TensorProto.INT8)
        yield helper.make_node("Mul", [f"{made}steps", f"{made}scale"], [f"{made}rounded"])
        yield helper.make_node("Reshape", [f"{made}rounded", "cache.row"], [f"{made}seen"])
        yield helper.make_node("Slice", [past, "cache.beginning", "cache.held", "cache.tokens_axis"], [f"{made}before"])
        yield helper.make_node("Cast", [f"{made}before"], [f"{made}wide"], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [f"{made}wide", f"scale.{layer}"], [f"{made}held"])
        seen.append(f"{made}seen")
        held.append(f"{made}held")
    attention = helper.make_node(
        ATTENTION,
        [turned[0], *seen, *held, seqlens, total],
        [node.output[0], f"{name}.keys", f"{name}.values"],
        name=name,
    )
    attention.domain = node.domain
    attention.attribute.extend(attribute for attribute in node.attribute if attribute.name != "do_rotary")
    yield attention
