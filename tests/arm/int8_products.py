"""How long matrix products take with 8-bit weights: `python -m tests.arm.int8_products ROWSxCOLUMNSxTIMES...`.

One row of activations, quantised as it comes, times weights with a scale for each row: onnxruntime has had this kernel
for every processor for years, with dot products in hardware and without.  Prints the processor's seconds of all of it
together, which a busy machine hardly changes.
"""

import sys
import time
from typing import Final

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

REPEATS: Final = 5
THREADS: Final = 1


def main(shapes: list[str]) -> None:
    """Time each product, once unmeasured, and print the sum of the shortest times."""
    random = np.random.default_rng(0)
    total = 0.0
    for shape in shapes:
        rows, columns, times = map(int, shape.split("x"))
        session = _product(random, rows, columns)
        activations = {"x": random.standard_normal((1, columns), np.float32)}
        session.run(None, activations)
        total += times * min(_seconds(session, activations) for _ in range(REPEATS))
    sys.stdout.write(f"{total}\n")


def _seconds(session: ort.InferenceSession, inputs: dict[str, np.ndarray]) -> float:
    started = time.process_time()
    session.run(None, inputs)
    return time.process_time() - started


def _product(random: np.random.Generator, rows: int, columns: int) -> ort.InferenceSession:
    weights = random.integers(-127, 128, (columns, rows), np.int8)
    graph = helper.make_graph(
        [helper.make_node("DynamicQuantizeMatMul", ["x", "weights", "scales"], ["y"], domain="com.microsoft")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, rows])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.ones(rows, np.float32), "scales")],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main(sys.argv[1:])
