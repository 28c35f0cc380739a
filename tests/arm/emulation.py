"""An interpreter that is a program of this machine to whoever starts it, and runs on a board's processor."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.arm.boards import Board, write_cpuinfo
from tests.arm.userland import PYTHON, Userland

QEMU: Final = "qemu-aarch64-static"
REPOSITORY: Final = Path(__file__).resolve().parents[2]


class EmulatorMissingError(Exception):
    """There is no emulator on this machine."""


def emulated_python(board: Board, userland: Userland, folder: Path) -> Path:
    """Make, inside `folder`, the board's root and a virtual environment with the lock's wheels and this checkout.

    Returns the program to start in place of a Python.  qemu looks for every absolute path under the root first, and on
    this machine where there is none: nothing is mounted, nobody need be root.  Raises EmulatorMissingError.
    """
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise EmulatorMissingError(f"{QEMU} is missing: sudo apt install qemu-user-static")
    root, environment = folder / "root", folder / "venv"
    root.mkdir(parents=True)
    for name in ("usr", "lib"):
        (root / name).symlink_to(userland.root / name)
    write_cpuinfo(board, root)
    packages = environment / "lib" / f"python{PYTHON}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "hearthmesh.pth").write_text(f"{userland.wheels}\n{REPOSITORY}\n")
    (environment / "bin").mkdir()
    (environment / "pyvenv.cfg").write_text(f"home = {userland.python.parent}\n")
    interpreter = environment / "bin" / "python3"
    interpreter.symlink_to(userland.python)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec {qemu} -cpu {board.cpu} -L "{root}" "{interpreter}" "$@"\n')
    program.chmod(0o755)
    return program


@contextmanager
def as_interpreter(program: Path) -> Iterator[None]:
    """Have workers started with another interpreter than the one that runs this."""
    ours = sys.executable
    sys.executable = str(program)
    try:
        yield
    finally:
        sys.executable = ours
