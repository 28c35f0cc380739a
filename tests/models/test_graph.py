"""Graphs compute what the architecture says, for every tensor type, and are the same bytes every time."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from models.core.graph_info import DATA_FILE, INT8_CACHE_FILE, MODEL_FILE
from models.decoder_graph import PRODUCT_BYTES
from models.engine import Engine
from models.errors import CorruptModelError, UnsupportedModelError
from models.gguf import GgufFile
from models.graph import convert
from models.packing import pack
from tests.models.large import write_large
from tests.models.memory import peak_growth_bytes
from tests.models.reference import reference_logits
from tests.models.tiny import TOKENS, TinyModel, write_tiny

IDS = [int(token) for token in np.random.default_rng(7).integers(0, len(TOKENS), 40)]
# Relative rms error of the logits: float32 sums in another order; int8 activations in blocks of 32.
EXACT, INT8 = 1e-5, 0.03

MODELS = {
    "Q4_0": (TinyModel(matrices=Type.Q4_0, embedding=Type.Q4_0), INT8),
    "Q4_1": (TinyModel(matrices=Type.Q4_1, embedding=Type.Q4_1), INT8),
    "Q8_0": (TinyModel(matrices=Type.Q8_0, embedding=Type.Q8_0), INT8),
    "F16": (TinyModel(matrices=Type.F16, embedding=Type.F16), EXACT),
    "F32": (TinyModel(matrices=Type.F32, embedding=Type.F32), EXACT),
    "F32 untied": (TinyModel(matrices=Type.F32, embedding=Type.F32, tied=False), EXACT),
    "F32 with RoPE factors": (
        TinyModel(matrices=Type.F32, embedding=Type.F32, rope_factors=True, rope_base=500_000.0),
        EXACT,
    ),
    "F32, heads narrower than the model": (
        TinyModel(matrices=Type.F32, embedding=Type.F32, head_dim=32, kv_heads=1),
        EXACT,
    ),
    "Q8_0 embedding, Q4_1 head": (
        TinyModel(matrices=Type.Q4_1, tied=False, types={"output.weight": Type.Q4_1, "token_embd.weight": Type.Q8_0}),
        INT8,
    ),
    "a type for every tensor": (
        TinyModel(
            types={
                "attn_q.weight": Type.Q4_0,
                "attn_k.weight": Type.Q8_0,
                "attn_v.weight": Type.F16,
                "attn_output.weight": Type.F32,
                "ffn_gate.weight": Type.Q4_1,
                "ffn_up.weight": Type.Q4_0,
            }
        ),
        INT8,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_architecture(name: str, tmp_path: Path) -> None:
    """A prompt in one run gives the reference's logits, within what int8 activations cost."""
    model, tolerance = MODELS[name]
    path = write_tiny(tmp_path / "tiny.gguf", model)
    expected = reference_logits(path, IDS)
    convert(path, tmp_path / "graph")
    logits = Engine(tmp_path / "graph", threads=1, context_tokens=64).logits_for(IDS)
    assert expected.shape == logits.shape
    assert np.sqrt(np.mean((logits - expected) ** 2) / np.mean(expected**2)) < tolerance


def _digest(folder: Path) -> str:
    files = (MODEL_FILE, INT8_CACHE_FILE, DATA_FILE)
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in files)).hexdigest()


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    """Conversion depends on nothing but the file's content."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel())
    again = tmp_path / "elsewhere.gguf"
    again.write_bytes(path.read_bytes())
    assert convert(path, tmp_path / "one") == convert(again, tmp_path / "two" / "deeper")
    assert _digest(tmp_path / "one") == _digest(tmp_path / "two" / "deeper")


def test_a_second_conversion_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """An existing graph is replaced, and nothing else is left in the folder."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(seed=1))
    convert(path, tmp_path / "out" / "graph")
    before = _digest(tmp_path / "out" / "graph")
    convert(write_tiny(path, TinyModel(seed=2)), tmp_path / "out" / "graph")
    assert before != _digest(tmp_path / "out" / "graph")
    assert [tmp_path / "out" / "graph"] == list((tmp_path / "out").iterdir())


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    """When the converter stops half way, no graph and no partial file stay."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel())

    def stop(done: float) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(path, tmp_path / "out" / "graph", progress=stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_progress_rises_to_one(tmp_path: Path) -> None:
    """Progress is a rising part of the whole, and the whole at the end."""
    heard: list[float] = []
    convert(write_tiny(tmp_path / "tiny.gguf", TinyModel(rope_factors=True)), tmp_path / "graph", progress=heard.append)
    assert sorted(heard) == heard
    assert heard[-1] == 1.0


@pytest.mark.parametrize(
    ("metadata", "error", "named"),
    [
        ({"general.architecture": "mamba"}, UnsupportedModelError, "'mamba' is not supported; supported: llama"),
        ({"llama.rope.scaling.type": "yarn"}, UnsupportedModelError, "rope.scaling.type = 'yarn'"),
        ({"llama.rope.scaling.type": "longrope"}, UnsupportedModelError, "rope.scaling.type = 'longrope'"),
        ({"llama.expert_count": 8}, UnsupportedModelError, "expert_count = 8"),
        ({"llama.rope.dimension_count": 8}, UnsupportedModelError, "rope.dimension_count"),
        ({"llama.block_count": 1}, UnsupportedModelError, "'blk.1.attn_norm.weight' is not part"),
        ({"llama.block_count": 3}, CorruptModelError, "3 layers, but only 20 tensors"),
        ({"llama.block_count": 0}, CorruptModelError, "block_count is 0"),
        ({"llama.block_count": [2, 2]}, CorruptModelError, "block_count is array"),
        ({"llama.embedding_length": 32}, CorruptModelError, "has the shape"),
        ({"llama.embedding_length": None}, CorruptModelError, "embedding_length is None"),
        ({"llama.attention.head_count_kv": 3}, CorruptModelError, "4 heads cannot share 3"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, CorruptModelError, "epsilon is nan"),
        ({"llama.rope.freq_base": 0.0}, CorruptModelError, "freq_base is 0.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_models_that_cannot_be_built_are_named(
    metadata: dict[str, object], error: type[Exception], named: str, tmp_path: Path
) -> None:
    """What the graph cannot compute is refused with its name, never computed wrongly."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(), metadata)
    with pytest.raises(error) as caught:
        convert(path, tmp_path / "graph")
    assert named in str(caught.value)
    assert not (tmp_path / "graph").exists()


@pytest.mark.parametrize("missing", ["token_embd.weight", "blk.0.ffn_norm.weight"])
def test_a_missing_tensor_is_named(missing: str, tmp_path: Path) -> None:
    """A file without a tensor the architecture needs is corrupt."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(rope_factors=True))
    content = path.read_bytes()
    path.write_bytes(content.replace(missing.encode(), missing.replace("w", "v").encode()))
    with pytest.raises(CorruptModelError, match=f"no tensor '{missing}'"):
        convert(path, tmp_path / "graph")


def test_factors_that_divide_by_zero_are_refused(tmp_path: Path) -> None:
    """RoPE factors are positive numbers."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(rope_factors=True))
    with GgufFile.open(path) as file:
        info = file.tensors["rope_freqs.weight"]
    content = bytearray(path.read_bytes())
    content[info.offset : info.offset + info.nbytes] = bytes(info.nbytes)
    path.write_bytes(content)
    with pytest.raises(CorruptModelError, match="not positive"):
        convert(path, tmp_path / "graph")


def test_a_matrix_too_large_for_one_product_is_multiplied_in_parts(tmp_path: Path) -> None:
    """As a large vocabulary's head is: the runtime packs a product's weights in memory."""
    rows = PRODUCT_BYTES // 1024 + 5000
    model = TinyModel(layers=1, width=1024, vocabulary=rows, matrices=Type.F32, embedding=Type.Q8_0)
    path = write_large(tmp_path / "large.gguf", model)
    expected = reference_logits(path, IDS[:3])
    convert(path, tmp_path / "graph")
    logits = Engine(tmp_path / "graph", threads=1, context_tokens=64).logits_for(IDS[:3])
    assert expected.shape == logits.shape
    assert np.sqrt(np.mean((logits - expected) ** 2) / np.mean(expected**2)) < INT8


def test_memory_stays_small(tmp_path: Path) -> None:
    """Conversion holds slices of a file, and packing one matrix, however many there are."""
    small = TinyModel(layers=4, width=1024, heads=16, kv_heads=16, head_dim=64, feed_forward=2048, matrices=Type.Q8_0)
    large = replace(small, layers=16)
    growths = {}
    for name, model in (("warm", small), ("small", small), ("large", large)):
        path = write_large(tmp_path / f"{name}.gguf", model)

        def work(path: Path = path) -> None:
            convert(path, path.with_suffix(".graph"))
            pack(path.with_suffix(".graph"))

        growths[name] = peak_growth_bytes(work)
    assert path.stat().st_size > 150e6
    assert growths["large"] < growths["small"] + 16e6
    assert growths["large"] < 64e6
