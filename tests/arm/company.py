"""In which company a token has the logits that it has alone: `python -m tests.arm.company GGUF GRAPHS`.

What the engine finds out before its first guess (docs/adr/0017), here at many places of a text; and whether sequences
side by side change each other.  GRAPHS is the folder where a worker of this board has left the model's graph.  Prints
one JSON object.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from models.board import board_profile
from models.core.company import TRIED, company_of
from models.engine import Engine
from models.gguf import GgufFile
from models.graph_cache import GraphCache
from models.key_value_scales import KeyValueScales
from models.session import RUNTIME_VERSION
from models.tokenizer import Tokenizer

TEXT: Final = "The lamp in the tower turns all night, and the ships that pass see it turn, and the keeper counts them."
PLACES: Final = range(20, 32)  # three times around a block of keys
CONTEXT_TOKENS: Final = 64
THREADS: Final = 1


@dataclass(frozen=True, kw_only=True)
class Company:
    """What was found.

    form: of the graph; blocks: at each place, the block of keys that a run must not fill (models.core.company: 1 any
    company will do, 0 none does); side_by_side: at how many places a token has its logits beside another sequence too.
    """

    form: str
    blocks: list[int]
    side_by_side: int

    def __str__(self) -> str:
        guesses = {1: "guesses are used", 0: "no guesses are used"}.get(self.blocks[0], "guesses end before a block")
        kinds = "" if len(set(self.blocks)) == 1 else f", but elsewhere it is found otherwise: {self.blocks}"
        beside = f"{self.side_by_side} of {len(self.blocks)} tokens are the same beside another sequence"
        return f"{self.form} form: {guesses}{kinds}; {beside}"


def explore(engine: Engine, ids: list[int], form: str) -> Company:
    """Try each place; the engine has two slots."""

    def compute(held: int, tokens: Sequence[int]) -> list[bytes]:
        return [row.tobytes() for row in engine.append(0, held, tokens, rows=len(tokens))]

    blocks, alike, machine = [], 0, os.uname().machine
    for slot in (0, 1):
        engine.append(slot, 0, ids[: PLACES.stop])
    for held in PLACES:
        blocks.append(company_of(compute, held, ids[held : held + TRIED], machine=machine).block)
        engine.append(0, 0, ids[:held])
        [alone] = compute(held, ids[held : held + 1])
        together = engine.advance(0, [ids[held], ids[5]], [held, 5])
        alike += alone == together[0].tobytes()
    return Company(form=form, blocks=blocks, side_by_side=alike)


def main(gguf: Path, graphs: Path) -> None:
    """Open the graph as this board's worker does, and compare."""
    profile = board_profile(os.environ)
    graph = GraphCache(graphs, runtime=RUNTIME_VERSION, profile=profile).path(gguf)
    with GgufFile.open(gguf) as file:
        ids = Tokenizer.from_gguf(file).encode_text(TEXT)
    scales = KeyValueScales.load(graph)
    engine = Engine(graph, threads=THREADS, context_tokens=CONTEXT_TOKENS, slots=2, scales=scales)
    sys.stdout.write(json.dumps(asdict(explore(engine, ids, str(profile.decode)))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
