"""What a machine is called, from files as boards have them."""

import os
from pathlib import Path

import pytest

from device.board import Board, read_board

# Recorded from a Raspberry Pi 5, a Jetson Orin Nano, a laptop, and a board that nobody here has heard of.
PI = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n",
    "proc/meminfo": "MemTotal:        8256144 kB\nMemFree:          313860 kB\n",
}
JETSON = {"proc/device-tree/model": "NVIDIA Jetson Orin Nano\0", "proc/cpuinfo": "CPU part\t: 0xd42\n"}
LAPTOP = {
    "proc/cpuinfo": "processor\t: 0\nmodel\t\t: 140\nmodel name\t: 11th Gen Intel(R) Core(TM) i5-1135G7 @ 2.40GHz\n",
    "proc/meminfo": "MemTotal:       16142640 kB\n",
}
UNKNOWN = {"proc/cpuinfo": "CPU part\t: 0xd99\n", "proc/meminfo": "MemTotal: plenty\n"}


@pytest.mark.parametrize(
    ("files", "model", "processor", "memory_bytes"),
    [
        pytest.param(PI, "Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76", 8_454_291_456, id="Raspberry Pi 5"),
        pytest.param(JETSON, "NVIDIA Jetson Orin Nano", "Cortex-A78AE", 0, id="Jetson"),
        pytest.param(LAPTOP, "", "11th Gen Intel(R) Core(TM) i5-1135G7 @ 2.40GHz", 16_530_063_360, id="laptop"),
        pytest.param(UNKNOWN, "", "ARM part 0xd99", 0, id="unknown"),
        pytest.param({}, "", "", 0, id="nothing"),
    ],
)
def test_a_board(tmp_path: Path, files: dict[str, str], model: str, processor: str, memory_bytes: int) -> None:
    """As people call it; what the kernel does not say is left out."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    cores = len(os.sched_getaffinity(0))
    assert read_board(tmp_path) == Board(model=model, processor=processor, cores=cores, memory_bytes=memory_bytes)


def test_this_machine() -> None:
    """Whatever runs this has cores and memory."""
    board = read_board()
    assert board.cores >= 1
    assert board.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
