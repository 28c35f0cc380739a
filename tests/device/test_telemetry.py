"""Figures from /proc."""

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
