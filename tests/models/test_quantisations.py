"""Every quantisation a GGUF may have gives the logits that the architecture, and llama.cpp, give for it."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from models.core.block_formats import FORMATS, PLAIN
from models.core.board_profile import BoardProfile
from models.engine import Engine
from models.graph import convert
from tests.models.int8_error import TOLERANCE, relative_error
from tests.models.perplexity import furthest_from_llama_cpp
from tests.models.reference import reference_logits
from tests.models.tiny import TOKENS, TinyModel, write_tiny

# Small letters: llama.cpp says nothing of tokens that end a text, or are no text.
IDS = [TOKENS.index(chr(letter)) for letter in np.random.default_rng(7).integers(ord("a"), ord("z") + 1, 60)]
INT8 = BoardProfile.parse("int8/int8")
ACTIVATIONS = 0.04  # relative rms error of the logits that activations in eight bits cost
TOLD = 24  # tokens that llama.cpp is asked about, one by one
LLAMA_CPP = 0.2  # nats that a log-probability may differ: both sides round activations, each in its own way


def model_of(kind: Type) -> TinyModel:
    """A model with all its matrices in one format: wide enough for superblocks."""
    return TinyModel(width=256, heads=16, kv_heads=8, feed_forward=512, matrices=kind, embedding=kind)


@pytest.mark.parametrize("kind", [Type(kind) for kind in (*FORMATS, *PLAIN)], ids=lambda kind: kind.name)
def test_logits_are_those_of_the_architecture(kind: Type, tmp_path: Path) -> None:
    """In the exact form, and, of what is quantised, in the int8 form."""
    path = write_tiny(tmp_path / "tiny.gguf", model_of(kind))
    expected = reference_logits(path, IDS)
    convert(path, tmp_path / "graph")
    exact = Engine(tmp_path / "graph", threads=1, context_tokens=64).logits_for(IDS)
    assert relative_error(exact, expected) < (1e-5 if kind in PLAIN else ACTIVATIONS)
    if kind in FORMATS:
        convert(path, tmp_path / "int8", profile=INT8)
        rounded = Engine(tmp_path / "int8", threads=1, context_tokens=64).logits_for(IDS)
        assert relative_error(rounded, expected) < TOLERANCE


def test_formats_of_one_input_stand_side_by_side(tmp_path: Path) -> None:
    """As in Q4_K_M files: what meets the offsets is made once for each size of block and of quants."""
    kinds = {"attn_q.weight": Type.Q4_K, "attn_k.weight": Type.Q5_K, "attn_v.weight": Type.Q6_K}
    kinds |= {"ffn_gate.weight": Type.Q4_1, "ffn_up.weight": Type.Q2_K, "ffn_down.weight": Type.Q5_1}
    model = TinyModel(width=256, heads=16, kv_heads=8, feed_forward=512, matrices=Type.Q4_K, types=kinds)
    path = write_tiny(tmp_path / "tiny.gguf", model)
    convert(path, tmp_path / "graph")
    logits = Engine(tmp_path / "graph", threads=1, context_tokens=64).logits_for(IDS)
    assert relative_error(logits, reference_logits(path, IDS)) < ACTIVATIONS


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Type(kind) for kind in (*FORMATS, *PLAIN)], ids=lambda kind: kind.name)
def test_llama_cpp_says_the_same(kind: Type, tmp_path: Path) -> None:
    """Of each token of a text, how likely it was after those before it."""
    path = write_tiny(tmp_path / "tiny.gguf", model_of(kind))
    assert furthest_from_llama_cpp(path, tmp_path / "graph", IDS[:TOLD]) < LLAMA_CPP
