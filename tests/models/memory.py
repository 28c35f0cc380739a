"""How much memory a stretch of code needs at its peak."""

import re
from collections.abc import Callable
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def peak_growth_bytes(work: Callable[[], object]) -> int:
    """Run `work`; return how far its peak of resident anonymous and file memory rose above the start."""
    CLEAR_REFS.write_text("5", encoding="ascii")  # forget the peak so far.  Source: proc(5)
    before = _kilobytes("VmRSS")
    work()
    return (_kilobytes("VmHWM") - before) * 1024


def _kilobytes(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found
    return int(found[1])
