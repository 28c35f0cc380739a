"""The int8 form computes what the architecture says, within what eight bits for whole rows cost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType as Type

from models.core.board_profile import BoardProfile
from models.core.graph_info import (
    DATA_FILE,
    INT8_CACHE_FILE,
    INT8_CACHE_PREFILL_FILE,
    MODEL_FILE,
    PREFILL_DATA_FILE,
    PREFILL_FILE,
)
from models.engine import Engine
from models.gguf import GgufFile
from models.graph import convert
from models.int8_weights import int8_bytes
from models.session import open_session
from tests.models.int8_error import TOLERANCE, relative_error
from tests.models.reference import reference_logits
from tests.models.tiny import TOKENS, TinyModel, write_tiny

IDS = [int(token) for token in np.random.default_rng(7).integers(0, len(TOKENS), 140)]
INT8 = BoardProfile.parse("int8/int8")
EXACT_INT8 = BoardProfile.parse("exact/int8")
ALONE = {MODEL_FILE, DATA_FILE, INT8_CACHE_FILE, INT8_CACHE_PREFILL_FILE}  # of a graph in one form

MODELS = {
    "Q4_0": TinyModel(matrices=Type.Q4_0, embedding=Type.Q4_0),
    "Q4_1": TinyModel(matrices=Type.Q4_1, embedding=Type.Q4_1),
    "Q8_0": TinyModel(matrices=Type.Q8_0, embedding=Type.Q8_0),
    "a width that is no power of two": TinyModel(width=288, heads=6, kv_heads=3, head_dim=48, feed_forward=160),
    "untied": TinyModel(tied=False),
    "RoPE factors": TinyModel(rope_factors=True, rope_base=500_000.0),
    "a type for every tensor": TinyModel(
        types={"attn_q.weight": Type.Q4_0, "attn_k.weight": Type.Q8_0, "ffn_up.weight": Type.Q4_0}
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_architecture(name: str, tmp_path: Path) -> None:
    """For every token of a prompt, and for tokens one at a time."""
    path = write_tiny(tmp_path / "tiny.gguf", replace(MODELS[name], context_tokens=len(IDS)))
    expected = reference_logits(path, IDS)
    convert(path, tmp_path / "graph", profile=INT8)
    engine = Engine(tmp_path / "graph", threads=1, context_tokens=len(IDS))
    assert relative_error(engine.logits_for(IDS), expected) < TOLERANCE
    engine.append(0, 0, IDS[:130])
    decoded = np.array([engine.advance(0, [IDS[at]], [at])[0].copy() for at in range(130, len(IDS))])
    assert relative_error(decoded, expected[130:]) < TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_the_exact_form_goes_on_from_a_prompt_of_the_int8_form(name: str, tmp_path: Path) -> None:
    """Keys and values are of one kind: the prompt's by one graph, the answer's by the other."""
    path = write_tiny(tmp_path / "tiny.gguf", replace(MODELS[name], context_tokens=len(IDS)))
    expected = reference_logits(path, IDS)
    convert(path, tmp_path / "graph", profile=EXACT_INT8)
    engine = Engine(tmp_path / "graph", threads=1, context_tokens=len(IDS))
    prompt = engine.append(0, 0, IDS[:130])[0].copy()
    decoded = [engine.advance(0, [IDS[at]], [at])[0].copy() for at in range(130, len(IDS))]
    assert relative_error(np.array([prompt, *decoded]), expected[129:]) < TOLERANCE


def test_what_one_sequence_gets_does_not_depend_on_another(tmp_path: Path) -> None:
    """Two sequences in one run get the bits that each gets alone: nothing of a question shows in another's answer."""
    info = convert(write_tiny(tmp_path / "tiny.gguf", TinyModel()), tmp_path / "graph", profile=INT8)
    session = open_session(tmp_path / "graph", threads=1)

    def logits(tokens: list[int]) -> npt.NDArray[np.float32]:
        past = np.zeros((len(tokens), info.kv_heads, 8, info.head_dim), np.float32)
        names = [f"past.{layer}.{kind}" for layer in range(info.layers) for kind in ("key", "value")]
        inputs = {
            "input_ids": np.array(tokens, np.int64)[:, None],
            "seqlens_k": np.zeros(len(tokens), np.int32),
            "total_sequence_length": np.array(1, np.int32),
            "rows": np.arange(len(tokens), dtype=np.int64)[None],
        }
        (found,) = session.run(["logits"], inputs | dict.fromkeys(names, past))
        rows: npt.NDArray[np.float32] = found[0]
        return rows

    together = logits([5, 77])
    assert logits([5]).tobytes() == together[0].tobytes()
    assert logits([77]).tobytes() == together[1].tobytes()


@pytest.mark.parametrize("profile", [INT8, EXACT_INT8], ids=str)
def test_the_same_file_gives_the_same_bytes(profile: BoardProfile, tmp_path: Path) -> None:
    """Both graphs and their data depend on nothing but the file and the profile."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel())
    convert(path, tmp_path / "one", profile=profile)
    convert(path, tmp_path / "two", profile=profile)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_second_form_shares_what_is_the_same(tmp_path: Path) -> None:
    """Embedding and rotations are in the model's own data; the int8 matrices take a byte a weight."""
    convert(write_tiny(tmp_path / "tiny.gguf", TinyModel()), tmp_path / "graph", profile=EXACT_INT8)
    assert _files(tmp_path / "graph") == ALONE | {PREFILL_FILE, PREFILL_DATA_FILE}
    with GgufFile.open(tmp_path / "tiny.gguf") as gguf:
        bound = int8_bytes(gguf)
    assert 0 < (tmp_path / "graph" / PREFILL_DATA_FILE).stat().st_size <= bound


def test_a_full_disk_costs_the_second_form_only(tmp_path: Path) -> None:
    """Where the room is needed for other things, prompts go through the one graph."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel())
    convert(path, tmp_path / "graph", profile=EXACT_INT8, spare_bytes=2**60)
    assert _files(tmp_path / "graph") == ALONE


@pytest.mark.parametrize("kind", [Type.F16, Type.F32])
@pytest.mark.parametrize("profile", [INT8, EXACT_INT8], ids=str)
def test_whoever_keeps_wide_matrices_wants_them_exact(kind: Type, profile: BoardProfile, tmp_path: Path) -> None:
    """One matrix of 16 or 32 bits, and the model has the exact form alone."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(types={"ffn_down.weight": kind}))
    convert(path, tmp_path / "graph", profile=profile)
    convert(path, tmp_path / "exact")
    assert _files(tmp_path / "graph") == ALONE
    assert (tmp_path / "exact" / DATA_FILE).read_bytes() == (tmp_path / "graph" / DATA_FILE).read_bytes()


def test_progress_comes_to_an_end_once(tmp_path: Path) -> None:
    """The done part grows over both forms and ends at 1."""
    heard: list[float] = []
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel())
    convert(path, tmp_path / "graph", profile=EXACT_INT8, progress=heard.append)
    assert sorted(heard) == heard
    assert pytest.approx(1, abs=0.2) == heard[-1]


def test_a_hostile_files_scales_do_no_harm(tmp_path: Path) -> None:
    """Infinities in the weights give a graph that loads; what it says is nobody's business."""
    path = write_tiny(
        tmp_path / "tiny.gguf", TinyModel(matrices=Type.Q8_0, embedding=Type.Q8_0, context_tokens=len(IDS))
    )
    data = path.read_bytes()
    half = len(data) // 4 * 2
    path.write_bytes(data[:half] + b"\x00\x7c" * ((len(data) - half) // 2))
    convert(path, tmp_path / "graph", profile=INT8)
    Engine(tmp_path / "graph", threads=1, context_tokens=len(IDS)).append(0, 0, IDS)
