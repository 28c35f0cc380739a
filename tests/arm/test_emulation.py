"""The interpreter that runs on a board's processor."""

import sys
from pathlib import Path

import pytest

from tests.arm.boards import BOARDS
from tests.arm.emulation import EmulatorMissingError, as_interpreter, emulated_python
from tests.arm.userland import Userland

USERLAND = Userland(Path("/debian"), Path("/wheels"))


def test_the_program_starts_the_boards_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On its processor, with its root, its /proc/cpuinfo, the wheels and this checkout."""
    qemu = tmp_path / "bin" / "qemu-aarch64-static"
    qemu.parent.mkdir()
    qemu.touch(0o755)
    monkeypatch.setenv("PATH", str(qemu.parent))
    for board in BOARDS:
        folder = tmp_path / board.cpu
        program = emulated_python(board, USERLAND, folder)
        assert program.read_text().splitlines()[-1] == (
            f'exec {qemu} -cpu {board.cpu} -L "{folder}/root" "{folder}/venv/bin/python3" "$@"'
        )
        assert (folder / "root" / "usr").readlink() == Path("/debian/usr")
        assert (folder / "root" / "proc" / "cpuinfo").read_text().count("Features\t: fp asimd") == 4
        paths = (folder / "venv" / "lib" / "python3.13" / "site-packages" / "hearthmesh.pth").read_text()
        assert paths.splitlines()[0] == "/wheels"
        assert (Path(paths.splitlines()[1]) / "models" / "worker.py").is_file()


def test_only_the_last_board_has_dot_products() -> None:
    """Which is why there are three."""
    assert [board.cpu for board in BOARDS if "asimddp" in board.cpuinfo] == ["cortex-a76"]


def test_a_missing_emulator_is_named_with_the_command_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is begun."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorMissingError, match="sudo apt install qemu-user-static"):
        emulated_python(BOARDS[0], USERLAND, tmp_path / "board")
    assert list(tmp_path.iterdir()) == []


def test_the_interpreter_is_lent() -> None:
    """And given back."""
    ours = sys.executable
    with as_interpreter(Path("/other")):
        assert sys.executable == "/other"
    assert sys.executable == ours
