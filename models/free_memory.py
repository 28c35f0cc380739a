"""How much memory this process may still use: what the board has left, and what its control groups leave it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from models.core.memory_need import Group, available_bytes, parse_group

MEMINFO: Final = Path("/proc/meminfo")
GROUPS_OF_PROCESS: Final = Path("/proc/self/cgroup")
GROUPS: Final = Path("/sys/fs/cgroup")
MAX_DEPTH: Final = 32
V1_FILES: Final = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
V2_FILES: Final = ("memory.max", "memory.current", "memory.stat")


def free_bytes() -> int | None:
    """Give what this process may still use; None where the system does not say."""
    return available_bytes(_text(MEMINFO), groups_of(_text(GROUPS_OF_PROCESS), GROUPS))


def groups_of(memberships: str, root: Path) -> Iterator[Group]:
    """Yield the groups with a memory limit that a process is in, from its own up to the outermost.

    memberships: /proc/PID/cgroup.  Inside a container a path may name what is not to be seen there: its own group is
    the root then.
    """
    for line in memberships.splitlines():
        match line.split(":", 2):
            case [_, "memory", path]:
                yield from _limits(root / "memory", path, V1_FILES)
            case ["0", "", path]:
                yield from _limits(root, path, V2_FILES)


def _limits(root: Path, path: str, names: tuple[str, str, str]) -> Iterator[Group]:
    relative = PurePosixPath(path.lstrip("/"))
    for step in [relative, *relative.parents][:MAX_DEPTH]:
        if ".." not in step.parts:
            limit, used, statistics = (_text(root / step / name) for name in names)
            group = parse_group(limit, used, statistics)
            if group is not None:
                yield group


def _text(path: Path) -> str:
    """Give what a file of the kernel says; nothing where there is none."""
    with suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace")
    return ""
