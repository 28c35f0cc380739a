"""docs/models.md's tables, made of what the converter knows: `python -m tests.models.models_document` writes them."""

from pathlib import Path
from typing import Final

from models.architecture import FAMILIES, Family
from models.core.block_formats import FORMATS, PLAIN
from models.core.quantization import offset_columns

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- made of the converter: begin -->", "<!-- made of the converter: end -->"
SCALE_BITS: Final = 32


def tables() -> str:
    """Write both tables."""
    return "\n".join([*_architectures(), "", *_quantisations()])


def document() -> str:
    """Give the document with its tables as they are now."""
    text = DOCUMENT.read_text()
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n{tables()}\n{text[text.index(END) :]}"


def _architectures() -> list[str]:
    rows = [f"| `{name}` | {_traits(family)} | {_forms(family)} |" for name, family in FAMILIES.items()]
    return ["| architecture | beside llama's layers | int8 form |", "|---|---|---|", *rows]


def _traits(family: Family) -> str:
    traits = {
        "biases of queries, keys and values": family.biased,
        "normalised heads": family.head_norms,
        "normalised sums": family.post_norms,
        "GELU": family.gelu,
        "scaled embeddings": family.scaled,
        "fused matrices": family.fused,
        "rotations of short texts": family.long_rope,
        f"a window in all but every {family.window_period}th layer": family.window_period,
        f"no rotations in every {family.plain_period}th layer": family.plain_period,
    }
    return ", ".join(name for name, there in traits.items() if there) or "nothing"


def _forms(family: Family) -> str:
    return "no: norms of sums do not commute with its rotation" if family.post_norms else "yes"


def _quantisations() -> list[str]:
    rows = []
    for kind, stored in FORMATS.items():
        columns = 16 * stored.weights
        wide = (columns + offset_columns(stored, columns)) / columns
        ours = wide * (stored.bits + SCALE_BITS / stored.block)
        theirs = 8 * stored.nbytes / stored.weights
        exact = "offsets to 1/3150 of a row's greatest" if stored.bits == 4 else "offsets to 1/64770"
        rows.append(
            f"| {kind.name} | {theirs:.2f} | {stored.bits} bits in blocks of {stored.block}: {ours:.2f} |"
            f" {exact if stored.has_offsets else 'every weight'} |"
        )
    plain = [f"| {kind.name} | {8 * nbytes} | float32: 32 | every weight |" for kind, (_, nbytes) in PLAIN.items()]
    return ["| quantisation | bits a weight | in the graph | exact |", "|---|---|---|---|", *rows, *plain]


if __name__ == "__main__":
    DOCUMENT.write_text(document())
