"""What the daemon uses and what the machine has left, from /proc."""

import os
from pathlib import Path

from device.api import Memory


def memory(proc: Path = Path("/proc")) -> Memory:
    """Resident bytes of this process and available bytes of the machine; 0 where the kernel does not say.

    Source: proc(5), /proc/self/statm (pages; the second is the resident set) and MemAvailable of /proc/meminfo (kB).
    """
    return Memory(rss_bytes=_resident_bytes(proc), available_bytes=_available_bytes(proc))


def _resident_bytes(proc: Path) -> int:
    try:
        return int((proc / "self" / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _available_bytes(proc: Path) -> int:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
