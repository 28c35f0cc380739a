"""Which control groups count, with trees of files as the kernel shows them."""

from pathlib import Path

import pytest

from models.free_memory import free_bytes, groups_of


def _group(folder: Path, names: tuple[str, str], limit: str) -> None:
    folder.mkdir(parents=True)
    (folder / names[0]).write_text(limit)
    (folder / names[1]).write_text("10\n")
    (folder / "memory.stat").write_text("")


def _limits(memberships: str, root: Path) -> list[int]:
    return [group.limit_bytes for group in groups_of(memberships, root)]


def test_every_group_above_counts(tmp_path: Path) -> None:
    """A service's limit, and that of the slice around it; one without a limit is left out."""
    names = ("memory.max", "memory.current")
    _group(tmp_path / "system.slice", names, "3000\n")
    _group(tmp_path / "system.slice" / "hearth.service", names, "1000\n")
    _group(tmp_path / "system.slice" / "hearth.service" / "inner", names, "max\n")
    assert _limits("0::/system.slice/hearth.service/inner\n", tmp_path) == [1000, 3000]


def test_groups_of_the_first_version(tmp_path: Path) -> None:
    """Where the memory controller has a tree of its own."""
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    _group(tmp_path / "memory", names, "9223372036854771712\n")
    _group(tmp_path / "memory" / "docker" / "abc", names, "2000\n")
    memberships = "5:devices:/docker/abc\n4:memory:/docker/abc\n0::/\n"
    assert _limits(memberships, tmp_path) == [2000, 9223372036854771712]


@pytest.mark.parametrize("path", ["/gone/from/here", "/../outside", "/../../outside", ""])
def test_a_path_that_is_not_to_be_seen_is_the_root_of_a_container(path: str, tmp_path: Path) -> None:
    """What is outside is not read."""
    names = ("memory.max", "memory.current")
    _group(tmp_path / "outside", names, "1\n")
    _group(tmp_path / "inside", names, "2000\n")
    assert _limits(f"0::{path}\n", tmp_path / "inside") == [2000]


def test_this_machine_says_what_is_free() -> None:
    """Some, and not more than it has."""
    free = free_bytes()
    assert free is not None
    total = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1]) * 1024
    assert 0 < free <= total


def test_lines_that_are_none_are_left_out(tmp_path: Path) -> None:
    """Whatever else a kernel may list."""
    assert _limits("", tmp_path) == []
    assert _limits("nonsense\n1:name=systemd:/x\n", tmp_path) == []
