"""Packed graphs compute the very same numbers, and need no memory of their own for their weights."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from gguf import GGMLQuantizationType as Type

from models.core.board_profile import BoardProfile
from models.core.graph_info import (
    DATA_FILE,
    INT8_CACHE_FILE,
    INT8_CACHE_PREFILL_FILE,
    MODEL_FILE,
    PACKED_FILES,
    PREFILL_DATA_FILE,
    PREFILL_FILE,
)
from models.engine import Engine
from models.errors import NotEnoughSpaceError
from models.gguf import GgufFile
from models.graph import convert
from models.key_value_scales import KeyValueScales
from models.packing import pack
from tests.models.large import write_large
from tests.models.tiny import TOKENS, TinyModel, write_tiny

IDS = [int(token) for token in np.random.default_rng(5).integers(0, len(TOKENS), 40)]


def _logits(graph: Path) -> npt.NDArray[np.float32]:
    """Logits of a prompt and of single tokens, which go through other kernels."""
    engine = Engine(graph, threads=1, context_tokens=64)
    prompt = engine.logits_for(IDS)
    return np.vstack([prompt, *(engine.advance(0, [token], [len(IDS)]).copy() for token in IDS[:5])])


@pytest.mark.parametrize("kind", [Type.Q4_0, Type.Q4_1, Type.Q8_0, Type.F16, Type.F32], ids=lambda kind: kind.name)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_the_numbers_are_the_same(kind: Type, tied: bool, tmp_path: Path) -> None:  # noqa: FBT001  a parameter
    """To the last bit, whatever the tensors' type."""
    convert(write_tiny(tmp_path / "tiny.gguf", TinyModel(matrices=kind, embedding=kind, tied=tied)), tmp_path / "graph")
    expected = _logits(tmp_path / "graph")
    pack(tmp_path / "graph")
    alone = {MODEL_FILE, INT8_CACHE_FILE, INT8_CACHE_PREFILL_FILE}
    packed = {PACKED_FILES[file] for file in alone}
    assert {path.name for path in (tmp_path / "graph").iterdir()} == {DATA_FILE, *alone, *packed}
    np.testing.assert_array_equal(expected, _logits(tmp_path / "graph"))


def test_prompts_are_computed_as_before_too(tmp_path: Path) -> None:
    """By the graph that is made for them, which is packed beside the other."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(width=128, heads=8, context_tokens=256))
    convert(path, tmp_path / "graph", profile=BoardProfile.parse("exact/int8"))
    logits = []
    for packed in (False, True):
        if packed:
            pack(tmp_path / "graph", data=PREFILL_DATA_FILE)
        assert packed == (tmp_path / "graph" / PACKED_FILES[PREFILL_FILE]).exists()
        engine = Engine(tmp_path / "graph", threads=1, context_tokens=256)
        logits.append(engine.append(0, 0, IDS * 4)[0].copy())
        assert engine._prefill is not None
        assert engine._prefill.takes(len(IDS))
    np.testing.assert_array_equal(logits[0], logits[1])


@pytest.mark.parametrize("profile", ["exact/exact", "exact/int8", "int8/int8"])
def test_all_graphs_share_what_is_packed_once(profile: str, tmp_path: Path) -> None:
    """With keys and values as int8 or float32, prompts and single tokens: the same bits, from the same packed bytes."""
    graph = tmp_path / "graph"
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(width=128, heads=8, context_tokens=256))
    info = convert(path, graph, profile=BoardProfile.parse(profile))
    scales = KeyValueScales(np.full((info.layers, 2, info.kv_heads, info.head_dim), 0.05, np.float32))
    files = [file for file in (DATA_FILE, PREFILL_DATA_FILE) if (graph / file).exists()]

    def found() -> list[npt.NDArray[np.float32]]:
        logits = []
        for one in (None, scales):
            engine = Engine(graph, threads=1, context_tokens=256, scales=one)
            logits.append(engine.append(0, 0, IDS * 4)[0].copy())
            logits.append(engine.advance(0, [IDS[0]], [160])[0].copy())
        return logits

    expected = found()
    for data in files:
        pack(graph, data=data)
    graphs = {path.name for path in graph.iterdir()} & PACKED_FILES.keys()
    assert {path.name for path in graph.iterdir()} == {*files, *graphs, *(PACKED_FILES[file] for file in graphs)}
    for file in graphs:  # the session opens these alone
        (graph / file).write_bytes(b"")
    np.testing.assert_array_equal(expected, found())
    for data in files:
        named = [_packed_at(graph, file, data) for file in graphs]
        assert all(one <= max(named, key=len) for one in named)


def _packed_at(graph: Path, file: str, data: str) -> set[str]:
    """Where a graph says that the packed bytes of a data file are."""
    model = onnx.load(graph / PACKED_FILES[file], load_external_data=False)
    entries = [{entry.key: entry.value for entry in tensor.external_data} for tensor in model.graph.initializer]
    return {
        value
        for entry in entries
        for key, value in entry.items()
        if entry["location"] == data and key.startswith("prepacked_")
    }


def test_matrices_that_differ_in_their_scales_alone_are_not_mistaken(tmp_path: Path) -> None:
    """The runtime knows a packed matrix by a digest: it must cover more than the quants."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(matrices=Type.Q4_0))
    with GgufFile.open(path) as file:
        first, second = (file.tensors[f"blk.{layer}.attn_output.weight"] for layer in (0, 1))
        blocks = file.data(first.name).copy().reshape(-1, 18)
    scales = blocks[:, :2].copy().view("<f2")
    blocks[:, :2] = (scales * np.float16(-2)).view(np.uint8)
    content = bytearray(path.read_bytes())
    content[second.offset : second.offset + second.nbytes] = blocks.tobytes()
    path.write_bytes(content)
    convert(path, tmp_path / "graph")
    expected = _logits(tmp_path / "graph")
    pack(tmp_path / "graph")
    np.testing.assert_array_equal(expected, _logits(tmp_path / "graph"))


WEIGHTY = TinyModel(
    layers=8, width=1024, heads=16, kv_heads=16, head_dim=64, feed_forward=2048, matrices=Type.Q4_0, embedding=Type.Q4_0
)
LOAD = """
import ctypes, re, sys
from pathlib import Path
from models.engine import Engine

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

before = anonymous()
engine = Engine(Path(sys.argv[1]), threads=1, context_tokens=64)
engine.append(0, 0, [1, 2, 3])
ctypes.CDLL(None).malloc_trim(0)
print(anonymous() - before)
"""


def _anonymous_bytes(graph: Path) -> int:
    """What loading a graph and running it once takes of memory that only the process can use."""
    done = subprocess.run([sys.executable, "-c", LOAD, str(graph)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_weights_are_mapped(tmp_path: Path) -> None:
    """Loaded packed, a model takes less than a fifth of what it takes unpacked."""
    path = write_large(tmp_path / "large.gguf", WEIGHTY)
    convert(path, tmp_path / "graph")
    unpacked = _anonymous_bytes(tmp_path / "graph")
    pack(tmp_path / "graph")
    packed = _anonymous_bytes(tmp_path / "graph")
    assert unpacked > path.stat().st_size
    assert packed < unpacked / 5


def _interrupt(done: float) -> None:
    if done > 0.5:
        raise KeyboardInterrupt


@pytest.mark.parametrize("interrupted", [True, False])
def test_where_it_fails_the_graph_is_as_it_was(interrupted: bool, tmp_path: Path) -> None:  # noqa: FBT001  a parameter
    """Broken off half way, or without room on the disk, it leaves no file and no byte more."""
    graph = tmp_path / "graph"
    convert(write_tiny(tmp_path / "tiny.gguf", TinyModel()), graph)
    before = {path.name: path.read_bytes() for path in graph.iterdir()}
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            pack(graph, progress=_interrupt)
    else:
        with pytest.raises(NotEnoughSpaceError):
            pack(graph, spare_bytes=2**60)
    assert before == {path.name: path.read_bytes() for path in graph.iterdir()}


def test_progress_rises_to_one(tmp_path: Path) -> None:
    """Progress is a rising part of the whole, and the whole at the end."""
    convert(write_tiny(tmp_path / "tiny.gguf", TinyModel()), tmp_path / "graph")
    heard: list[float] = []
    pack(tmp_path / "graph", progress=heard.append)
    assert sorted(heard) == heard
    assert heard[-1] == 1.0
