"""The boards whose processors are emulated, and what Linux says of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Board:
    """A kind of board: qemu's name of its processor, and what stands in its /proc/cpuinfo."""

    name: str
    cpu: str
    variant: int
    part: int
    revision: int
    features: str

    @property
    def cpuinfo(self) -> str:
        """What its kernel writes into /proc/cpuinfo: four cores."""
        core = (
            "BogoMIPS\t: 38.40\n"
            f"Features\t: {self.features}\n"
            "CPU implementer\t: 0x41\n"
            "CPU architecture: 8\n"
            f"CPU variant\t: {self.variant:#x}\n"
            f"CPU part\t: {self.part:#x}\n"
            f"CPU revision\t: {self.revision}\n\n"
        )
        return "".join(f"processor\t: {number}\n{core}" for number in range(4))


BOARDS: Final = (
    Board(
        name="Raspberry Pi 3, Zero 2 W",
        cpu="cortex-a53",
        variant=0,
        part=0xD03,
        revision=4,
        features="fp asimd evtstrm crc32 cpuid",
    ),
    Board(
        name="Raspberry Pi 4",
        cpu="cortex-a72",
        variant=0,
        part=0xD08,
        revision=3,
        features="fp asimd evtstrm crc32 cpuid",
    ),
    Board(
        name="Raspberry Pi 5",
        cpu="cortex-a76",
        variant=4,
        part=0xD0B,
        revision=1,
        features=("fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"),
    ),
)


def write_cpuinfo(board: Board, root: Path) -> None:
    """Put the board's /proc/cpuinfo where qemu finds it before this machine's."""
    (root / "proc").mkdir()
    (root / "proc" / "cpuinfo").write_text(board.cpuinfo)
