"""What a running process weighs and does, from /proc."""

import os
import re
from pathlib import Path


def resident_mb(pid: int) -> float:
    """Resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def anonymous_mb(pid: int) -> float:
    """Resident memory that no file stands behind, shared mappings too: what a board cannot take back.

    Source: proc(5), RssAnon and RssShmem.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", status, re.MULTILINE)
    if not found:
        raise AssertionError("every kernel since 4.5 says it")
    return sum(map(int, found)) * 1024 / 1e6


def children(pid: int) -> list[int]:
    """The processes that it started and that still run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def command_line(pid: int) -> list[str]:
    """What a process was started as."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]


def cpu_s(pid: int) -> float:
    """Processor time so far, of the process alone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
