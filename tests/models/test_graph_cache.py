"""A graph on disk is loaded only if it is what was written, for this board."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from models.core.board_profile import EXACT_ONLY, BoardProfile
from models.core.graph_info import SCALES_FILE
from models.graph_cache import PAGE_BYTES, SAMPLES, SEAL_FILE, GraphCache

GGUF = Path("/models/sha256-abc")
SIZE = 3 * SAMPLES * PAGE_BYTES + 100


@pytest.fixture
def cache(tmp_path: Path) -> GraphCache:
    """A cache in an empty directory."""
    return GraphCache(tmp_path, runtime="1.2.3", profile=EXACT_ONLY)


@pytest.fixture
def graph(cache: GraphCache) -> Path:
    """A sealed graph of two files."""
    path = cache.path(GGUF)
    path.mkdir()
    (path / "small").write_bytes(b"small")
    (path / "large").write_bytes(b"large" + os.urandom(SIZE - 5))
    cache.seal(path)
    return path


def test_what_was_sealed_is_sound(cache: GraphCache, graph: Path) -> None:
    """Sealing closes it to others."""
    assert cache.flaw(graph) is None
    assert graph.stat().st_mode & 0o777 == 0o700
    assert GraphCache(cache.directory, runtime="1.2.3", profile=EXACT_ONLY).flaw(graph) is None


def test_another_runtime_has_another_graph(cache: GraphCache, graph: Path) -> None:
    """And finds the old one in its way."""
    newer = GraphCache(cache.directory, runtime="1.2.4", profile=EXACT_ONLY)
    assert newer.path(GGUF) != graph
    assert newer.flaw(graph) == "its seal is of another board or version"
    assert list(newer.others(GGUF)) == [graph]
    assert list(cache.others(GGUF)) == []


def test_other_forms_have_another_graph(cache: GraphCache, graph: Path) -> None:
    """Whoever chooses them gets what was chosen, not what was built before."""
    chosen = GraphCache(cache.directory, runtime="1.2.3", profile=BoardProfile.parse("int8/int8"))
    assert chosen.flaw(graph) == "its seal is of another board or version"
    assert list(chosen.others(GGUF)) == [graph]


def test_what_is_measured_later_is_not_sealed(cache: GraphCache, graph: Path) -> None:
    """The scales say of themselves whether they are sound."""
    for content in (b"measured", b"measured again"):
        (graph / SCALES_FILE).write_bytes(content)
        assert cache.flaw(graph) is None


def _overwrite(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(b"\0\1\2\3")


def _link(graph: Path) -> None:
    os.link(graph / "small", graph.parent / "elsewhere")


def _symlink(graph: Path) -> None:
    (graph / "small").rename(graph.parent / "elsewhere")
    (graph / "small").symlink_to(graph.parent / "elsewhere")


def _of_another_converter(graph: Path) -> None:
    seal = json.loads((graph / SEAL_FILE).read_text())
    (graph / SEAL_FILE).write_text(json.dumps(seal | {"converter": 1}))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda graph: os.truncate(graph / "large", SIZE - 1),
    "longer": lambda graph: os.truncate(graph / "large", SIZE + 1),
    "another beginning": lambda graph: _overwrite(graph / "large", 0),
    "another end": lambda graph: _overwrite(graph / "large", SIZE - 4),
    "zeros in the middle": lambda graph: (graph / "large").write_bytes(
        (graph / "large").read_bytes()[: SIZE // 2] + bytes(SIZE - SIZE // 2)
    ),
    "another small file": lambda graph: (graph / "small").write_bytes(b"smell"),
    "a file gone": lambda graph: (graph / "small").unlink(),
    "a file more": lambda graph: (graph / "more").touch(),
    "a hard link": _link,
    "a symbolic link": _symlink,
    "no seal": lambda graph: (graph / SEAL_FILE).unlink(),
    "a seal of garbage": lambda graph: (graph / SEAL_FILE).write_bytes(b"\xff{"),
    "a seal without end": lambda graph: (graph / SEAL_FILE).write_bytes(b"[" * 100_000),
    "a seal of another kind": lambda graph: (graph / SEAL_FILE).write_text('{"files": []}'),
    "another converter": _of_another_converter,
    "open to others": lambda graph: graph.chmod(0o755),
    "no directory": lambda graph: graph.rename(graph.parent / "moved"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_as_it_was_is_refused(damage: str, cache: GraphCache, graph: Path) -> None:
    """Cut, overwritten, planted or foreign: none of it reaches the runtime."""
    DAMAGES[damage](graph)
    assert cache.flaw(graph) is not None
