"""The smallest memory in which our engine keeps its speed, as the kernel bounds it: a control group of its own.

Pages of the model's file count as well, for whoever reads them first: they are dropped from the kernel's cache before.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from models.errors import ModelsError
from models.store import StoredModel
from tests.bench.contestants import Ours
from tests.bench.contests import of_the_file
from tests.bench.prompts import Prompt, Prompts
from tests.bench.rows import Row
from tests.bench.shelf import File, Shelf

ROOTS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),  # version 1
    (Path("/sys/fs/cgroup"), "memory.max"),  # version 2
)
FACTORS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0)  # of the file
MEGABYTE = 1_000_000
KEPT = 0.95  # of the speed
TRIES = 3
PROMPT_TOKENS = 16
LOADING_S = 90.0
SLOWER = 3  # than that, nobody waits for it


class NoMemoryLimitError(Exception):
    """This machine lets nobody bound memory, or not us."""


async def rows(shelf: Shelf, file: File, model: StoredModel, prompts: Prompts) -> list[Row]:
    """Search for the smallest of FACTORS that keeps the speed; where there is none, stderr has the reason."""
    prompt, tokens = prompts.words(PROMPT_TOKENS), 16 if file.is_large else 48
    try:
        factor = await _smallest(shelf, model, prompt, tokens)
    except NoMemoryLimitError as error:
        sys.stderr.write(f"left out: the smallest memory limit ({error})\n")
        return []
    if factor is None:
        sys.stderr.write(f"left out: the smallest memory limit (even {FACTORS[-1]} times the file is too little)\n")
        return []
    name = f"{file.label}: smallest memory limit for {KEPT:.0%} of the speed"
    return [of_the_file(name, factor * model.size_bytes / 1e6, model.size_bytes, goal="<= 1.1x")]


async def _smallest(shelf: Shelf, model: StoredModel, prompt: Prompt, tokens: int) -> float | None:
    free = await _speed(shelf, model, prompt, tokens, limit_bytes=_machine_bytes())
    low, high = 0, len(FACTORS)
    while low < high:
        middle = (low + high) // 2
        limit = int(FACTORS[middle] * model.size_bytes)
        speed = await _speed(shelf, model, prompt, tokens, limit_bytes=limit, within_s=SLOWER * tokens / free)
        low, high = (low, middle) if speed >= KEPT * free else (middle + 1, high)
    return FACTORS[low] if low < len(FACTORS) else None


async def _speed(
    shelf: Shelf, model: StoredModel, prompt: Prompt, tokens: int, *, limit_bytes: int, within_s: float | None = None
) -> float:
    """Load and answer within a limit: the best of TRIES, 0 where that takes too much memory or time."""
    _forget_pages(path for path in shelf.folder.rglob("*") if path.is_file() and path.stat().st_size > MEGABYTE)
    async with AsyncExitStack() as ends:
        group = ends.enter_context(_group(limit_bytes))
        ours = Ours(shelf, model)
        ends.push_async_callback(ours.aclose)
        try:
            async with asyncio.timeout(LOADING_S):
                with _inside(group):  # what is started meanwhile stays inside
                    await ours.answer([prompt], tokens=2)
            speeds = []
            for _ in range(TRIES):
                async with asyncio.timeout(within_s):
                    speeds.append((await ours.answer([prompt], tokens=tokens)).tokens_per_s)
            return max(speeds)
        except (TimeoutError, ModelsError) as error:
            if str(error):  # not too slow, but refused: then the row says what is reckoned, not what would do
                sys.stderr.write(f"a limit of {limit_bytes / MEGABYTE:.0f} MB: {error}\n")
            return 0.0


@contextmanager
def _group(limit_bytes: int) -> Iterator[Path]:
    """Make a control group, and remove it when it is empty again.  Raises NoMemoryLimitError."""
    root, setting = _root()
    group = root / f"hearth-bench-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoMemoryLimitError(f"{group}: {error.strerror}") from error
    try:
        (group / setting).write_text(str(limit_bytes))
        yield group
    finally:
        group.rmdir()


@contextmanager
def _inside(group: Path) -> Iterator[None]:
    """Have this process be in a group.  Should memory end, the kernel takes the engine: it asks for that itself."""
    before = group.parent / _own_group(group.parent)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (before / "cgroup.procs").write_text(str(os.getpid()))


def _root() -> tuple[Path, str]:
    for root, setting in ROOTS:
        if (root / "memory.limit_in_bytes").exists() or "memory" in _read(root / "cgroup.subtree_control").split():
            return root, setting
    raise NoMemoryLimitError("no control group here bounds memory")


def _own_group(root: Path) -> str:
    """Where this process is, below `root`.  Source: cgroups(7), /proc/self/cgroup (number:controllers:path)."""
    controller = root.name if root.name == "memory" else ""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path.lstrip("/")
    raise NoMemoryLimitError("this process is in no control group")


def _forget_pages(files: Iterable[Path]) -> None:
    for path in files:
        with path.open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
