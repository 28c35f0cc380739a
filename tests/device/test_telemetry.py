"""Figures from /proc."""

import os
import resource
from pathlib import Path

from device.api import Memory
from device.telemetry import memory


def test_the_figures_are_the_kernels() -> None:
    """The resident set is no larger than its own peak, and the machine has something left."""
    now = memory()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 1_000_000 < now.rss_bytes <= peak * 1.1
    assert now.available_bytes > 1_000_000


def test_a_kernel_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    """In a container without /proc, or with an odd one, the figures are 0."""
    assert memory(tmp_path) == Memory(rss_bytes=0, available_bytes=0)
    (tmp_path / "meminfo").write_text("MemTotal: 5 kB\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "statm").write_text("9\n")
    assert memory(tmp_path) == Memory(rss_bytes=0, available_bytes=0)


def test_the_memory_of_the_engines_process(tmp_path: Path) -> None:
    """Its own and that of files apart; nothing where it has just ended."""
    now = memory(engine_pid=os.getpid())
    assert now.engine_anonymous_bytes > 1_000_000
    assert now.engine_file_bytes > 1_000_000
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "statm").write_text("900 500 200 1 0 300 0\n")
    page = os.sysconf("SC_PAGE_SIZE")
    seen = memory(tmp_path, engine_pid=7)
    assert (seen.engine_anonymous_bytes, seen.engine_file_bytes) == (300 * page, 200 * page)
    assert memory(tmp_path, engine_pid=8) == Memory(rss_bytes=0, available_bytes=0)
