"""Which forms of a model's graph suit a processor, from what the kernel says of it.

The exact form (MatMulNBits over the file's own quants) needs instructions that add up products of bytes: without
them onnxruntime multiplies in float32, twelve times slower on ARM.  The int8 form runs everywhere, but on x86 without
such instructions its sums of pairs saturate at 16 bits.  Source: onnxruntime's guide to quantization, "reduce_range";
docs/adr/0021.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from models.errors import InvalidRequestError

DOT_PRODUCTS: Final = frozenset({"asimddp", "avx_vnni", "avx512_vnni"})
ARM_VECTORS: Final = "asimd"


class GraphForm(StrEnum):
    """How the weights of a graph's layers are multiplied."""

    EXACT = "exact"
    """The file's own quants, in blocks."""
    INT8 = "int8"
    """Eight bits, with one scale for each output."""


@dataclass(frozen=True, kw_only=True)
class BoardProfile:
    """The forms that a board uses: for tokens one at a time, and for prompts."""

    decode: GraphForm
    prefill: GraphForm

    @classmethod
    def of(cls, features: frozenset[str]) -> Self:
        """Choose for a processor with these features."""
        if features & DOT_PRODUCTS:
            return cls(decode=GraphForm.EXACT, prefill=GraphForm.INT8)
        form = GraphForm.INT8 if ARM_VECTORS in features else GraphForm.EXACT
        return cls(decode=form, prefill=form)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `decode/prefill`, such as exact/int8.  Raises InvalidRequestError."""
        match text.split("/"):
            case [("exact" | "int8") as decode, ("exact" | "int8") as prefill] if (decode, prefill) != (
                "int8",
                "exact",
            ):
                return cls(decode=GraphForm(decode), prefill=GraphForm(prefill))
        raise InvalidRequestError(f"forms of the graph: exact/exact, exact/int8 or int8/int8, not {text[:40]!r}")

    def __str__(self) -> str:
        return f"{self.decode}/{self.prefill}"


EXACT_ONLY: Final = BoardProfile(decode=GraphForm.EXACT, prefill=GraphForm.EXACT)
