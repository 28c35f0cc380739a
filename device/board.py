"""What board this is, as people call it, from what the kernel says of it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MODEL: Final = "proc/device-tree/model"
PROCESSOR: Final = "proc/cpuinfo"
MEMORY: Final = "proc/meminfo"
MAX_FILE_BYTES: Final = 256 * 1024  # a large machine's cpuinfo, cut after its first processors
# On ARM the kernel gives numbers.  Source: Linux, arch/arm64/include/asm/cputype.h; those of Raspberry Pi and Jetson.
ARM_PARTS: Final = {
    0xD03: "Cortex-A53",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD0B: "Cortex-A76",
    0xD42: "Cortex-A78AE",
}


@dataclass(frozen=True, kw_only=True)
class Board:
    """A machine.  model: of a board that says it, else empty; cores: that this process may use."""

    model: str
    processor: str
    cores: int
    memory_bytes: int


def read_board(root: Path = Path("/")) -> Board:
    """Read it below `root`; what the kernel does not say is empty or 0."""
    return Board(
        model=_text(root / MODEL).strip("\0 \n"),
        processor=_processor(_text(root / PROCESSOR)),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=_kilobytes(_text(root / MEMORY)) * 1024,
    )


def _processor(text: str) -> str:
    if named := re.search(r"^model name\s*: *(.+)$", text, re.MULTILINE):
        return named[1].strip()
    if part := re.search(r"^CPU part\s*: *0x([0-9a-f]{1,4})$", text, re.MULTILINE):
        return ARM_PARTS.get(int(part[1], 16), f"ARM part 0x{part[1]}")
    return ""


def _kilobytes(text: str) -> int:
    found = re.search(r"^MemTotal:\s+(\d{1,15}) kB$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode(errors="replace")
    except OSError:  # few machines have all of them
        return ""
