"""The int8 form of a graph: for prompts, and for boards whose processors cannot add up bytes.

Same inputs, outputs and keys and values as the exact form.  Every product of a layer is one of int8 matrices, with a
scale for each output; the hidden state is turned by an orthogonal matrix (core.rotation), so that its normalised form
has no outliers and one fixed scale serves all tokens.  What meets the other products, attention and the
feed-forward's middle, is turned in blocks of 32 and has a scale for each token.  No sequence's numbers depend on
another's.
"""

import numpy as np

from models.architecture import DecoderConfig
from models.core.rotation import BLOCK, Rotation, hadamard
from models.decoder_graph import CONTRIB, DecoderGraph
from models.gguf import GgufFile
from models.int8_weights import Int8Matrix, Int8WeightsWriter
from models.weights import Matrix, Part

MAX_QUANT = 127
ZERO_POINT = 128
STATE_BOUND = 4.0  # of a coordinate of the normalised state, whose mean square is 1; the little beyond is cut
TINY = 1e-30  # a token of nothing but zeros has a scale all the same


class Int8DecoderGraph(DecoderGraph):
    """Builds the int8 form of a model for which `has_int8_form` says yes."""

    def __init__(
        self,
        gguf: GgufFile,
        config: DecoderConfig,
        weights: Int8WeightsWriter,
        rotation: Rotation,
        *,
        with_logits: bool = True,
    ) -> None:
        super().__init__(gguf, config, weights, with_logits=with_logits)
        self._int8 = weights
        self._rotation = rotation
        self._bytes: dict[str, str] = {}  # normalised states that are quantised already

    def _constants(self) -> None:
        super()._constants()
        self._weights.constant("hadamard", hadamard(BLOCK))
        self._weights.constant("ones", np.ones(self._config.width, np.float32))
        self._weights.constant("one", np.array(1, np.float32))
        self._weights.constant("zero_point", np.array(ZERO_POINT, np.uint8))
        self._weights.constant("state_step", np.array(STATE_BOUND / MAX_QUANT, np.float32))
        self._weights.constant("quant", np.array(1 / MAX_QUANT, np.float32))
        self._weights.constant("tiny", np.array(TINY, np.float32))

    def _embed(self, matrix: Matrix) -> str:
        """Turn the embedded tokens, factor by factor."""
        embedded, rotation = super()._embed(matrix), self._rotation
        signs = self._weights.constant("rotation.signs", rotation.signs)
        cut = self._weights.constant(
            "rotation.cut", np.array([0, 0, len(rotation.left), len(rotation.right)], np.int64)
        )
        x = self._node("Mul", [embedded, signs], ["embedded.signed"])
        x = self._node("Reshape", [x, cut], ["embedded.factors"])
        x = self._node("MatMul", [x, self._weights.constant("rotation.right", rotation.right)], ["embedded.right"])
        x = self._node("MatMul", [self._weights.constant("rotation.left", rotation.left), x], ["embedded.left"])
        return self._node("Reshape", [x, self._whole()], ["embedded.turned"])

    def _gain(self, name: str, gains: str) -> str:  # noqa: ARG002  the gains are in the weights
        return "ones"

    def _is_one_matrix(self, parts: tuple[Part, ...]) -> bool:  # noqa: ARG002  whatever they were, they become int8
        return True

    def _from_state(self, name: str, normed: str, parts: tuple[Part, ...], gains: str) -> str:
        if normed not in self._bytes:
            inputs = [normed, "state_step", "zero_point"]
            self._bytes[normed] = self._node("QuantizeLinear", inputs, [f"{normed}.bytes"])
        matrix = self._int8.from_state(name, parts, self._gguf.floats(gains))
        return self._product(name, self._bytes[normed], "state_step", matrix)

    def _to_state(self, name: str, x: str, part: Part) -> str:
        cut = self._node("Reshape", [x, self._cut(BLOCK)], [f"{x}.cut"])
        spread = self._node("MatMul", [cut, "hadamard"], [f"{x}.spread"])
        even = self._node("Reshape", [spread, self._whole()], [f"{x}.even"])
        return self._product_by_token(name, even, self._int8.to_state(name, part))

    def _logits(self, final: str, embedding: Matrix) -> str:  # noqa: ARG002  a head of its own is in the form of the layers
        tensors = self._gguf.tensors
        head = self._part("output.weight" if "output.weight" in tensors else "token_embd.weight")
        matrix = self._int8.from_state("logits", (head,), self._gguf.floats("output_norm.weight"))
        return self._product_by_token("logits", final, matrix)

    def _product_by_token(self, name: str, x: str, matrix: Int8Matrix) -> str:
        """Multiply with a scale for each token: its greatest coordinate is the greatest quant."""
        magnitudes = self._node("Abs", [x], [f"{x}.magnitudes"])
        greatest = self._node("ReduceMax", [magnitudes, "last_axis"], [f"{x}.greatest"], keepdims=1)
        step = self._node("Mul", [greatest, "quant"], [f"{x}.exact_step"])
        step = self._node("Max", [step, "tiny"], [f"{x}.step"])
        steps = self._node("Div", [x, step], [f"{x}.steps"])
        quants = self._node("QuantizeLinear", [steps, "one", "zero_point"], [f"{x}.bytes"])
        product = self._product(f"{name}.steps", quants, "one", matrix)
        return self._node("Mul", [product, step], [name])

    def _product(self, name: str, quants: str, step: str, matrix: Int8Matrix) -> str:
        inputs = [quants, matrix.values, step, matrix.scales, "zero_point"]
        return self._node("MatMulIntegerToFloat", inputs, [name], CONTRIB)
