"""What the daemon uses and what the machine has left, from /proc."""

import os
from pathlib import Path

from device.api import Memory


def memory(proc: Path = Path("/proc"), *, engine_pid: int | None = None) -> Memory:
    """Resident bytes of this process and the engine's, available bytes of the machine; 0 where the kernel does not say.

    Source: proc(5), /proc/PID/statm (pages; the second is the resident set, the third its part that files stand behind)
    and MemAvailable of /proc/meminfo (kB).
    """
    resident, of_files = (0, 0) if engine_pid is None else _resident_bytes(proc / str(engine_pid))
    return Memory(
        rss_bytes=_resident_bytes(proc / "self")[0],
        available_bytes=_available_bytes(proc),
        engine_anonymous_bytes=max(0, resident - of_files),
        engine_file_bytes=of_files,
    )


def _resident_bytes(process: Path) -> tuple[int, int]:
    """All of it, and the part of files."""
    try:
        _, resident, of_files, *_ = (process / "statm").read_text().split()
        return int(resident) * os.sysconf("SC_PAGE_SIZE"), int(of_files) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0, 0


def _available_bytes(proc: Path) -> int:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
