"""What the kernel says of the memory.  Format: proc(5), /proc/meminfo."""

import re

_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d{1,15}) kB$", re.MULTILINE | re.ASCII)


def available_bytes(meminfo: str) -> int | None:
    """Read how much a program can take without making others swap; None where that is not said."""
    found = _AVAILABLE.search(meminfo)
    return None if found is None else int(found[1]) * 1024
