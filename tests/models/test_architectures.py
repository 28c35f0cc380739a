"""Every supported family gives the logits that it says, and that llama.cpp gives for it."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from models.architecture import FAMILIES
from models.core.board_profile import BoardProfile
from models.engine import Engine
from models.graph import convert
from tests.models.int8_error import TOLERANCE, relative_error
from tests.models.perplexity import furthest_from_llama_cpp
from tests.models.reference import reference_logits
from tests.models.tiny import TOKENS, TinyModel, write_tiny

IDS = [TOKENS.index(chr(letter)) for letter in np.random.default_rng(7).integers(ord("a"), ord("z") + 1, 60)]
EXACT = 1e-5  # relative rms error: float32 sums in another order
TOLD = 24  # tokens that llama.cpp is asked about, one by one
LLAMA_CPP = 0.02  # nats; it keeps keys and values as float16
WINDOW = 8


def model_of(family: str, kind: Type) -> TinyModel:
    """A model of a family, with as many layers as its periods need, and what its rotations may have."""
    return TinyModel(
        family=family,
        layers=7,
        matrices=kind,
        embedding=kind,
        window=WINDOW if FAMILIES[family].window_period else 0,
        rope_base=50_000.0,
        rope_factors=family == "llama" or FAMILIES[family].long_rope,
    )


def write(path: Path, family: str, kind: Type) -> Path:
    """Write it, with metadata that only some families have."""
    scaling = (
        {"type": "longrope", "attn_factor": 1.2, "original_context_length": 512} if FAMILIES[family].long_rope else {}
    )
    return write_tiny(path, model_of(family, kind), {f"{family}.rope.scaling.{key}": scaling[key] for key in scaling})


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_architecture(family: str, tmp_path: Path) -> None:
    """For a prompt in one run, for tokens one at a time, and for a prompt in pieces."""
    path = write(tmp_path / "tiny.gguf", family, Type.F32)
    expected = reference_logits(path, IDS)
    convert(path, tmp_path / "graph")
    engine = Engine(tmp_path / "graph", threads=1, context_tokens=64)
    assert relative_error(engine.logits_for(IDS), expected) < EXACT
    engine.append(0, 0, IDS[:20])
    piece = engine.append(0, 20, IDS[20:50])[0].copy()
    decoded = [engine.advance(0, [IDS[at]], [at])[0].copy() for at in range(50, len(IDS))]
    assert relative_error(np.array([piece, *decoded]), expected[49:]) < EXACT


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("profile", ["exact/exact", "exact/int8", "int8/int8"])
def test_quantised_models_have_the_forms_that_they_can(family: str, profile: str, tmp_path: Path) -> None:
    """Where the state's rotation does not commute with the norms there is the exact form alone, whatever is asked."""
    path = write(tmp_path / "tiny.gguf", family, Type.Q4_1)
    expected = reference_logits(path, IDS)
    convert(path, tmp_path / "graph", profile=BoardProfile.parse(profile))
    engine = Engine(tmp_path / "graph", threads=1, context_tokens=64)
    prompt = engine.append(0, 0, IDS[:50])[0].copy()
    decoded = [engine.advance(0, [IDS[at]], [at])[0].copy() for at in range(50, len(IDS))]
    assert relative_error(np.array([prompt, *decoded]), expected[49:]) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_says_the_same(family: str, tmp_path: Path) -> None:
    """Of each token of a text, how likely it was after those before it."""
    path = write(tmp_path / "tiny.gguf", family, Type.F32)
    assert furthest_from_llama_cpp(path, tmp_path / "graph", IDS[:TOLD]) < LLAMA_CPP
