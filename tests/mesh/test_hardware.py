"""Serial numbers, read from trees recorded on real boards, and the record of the board an identity was made on."""

from pathlib import Path

import pytest

from mesh.core.board import Board
from mesh.errors import StorageError
from mesh.hardware import DAMAGED, HomeBoard, read_board

NODE = bytes(range(32))
CID = "035344534c33324780b7c5e3e9014b00"
RASPBERRY = {
    "proc/device-tree/serial-number": "10000000deadbeef\0",
    "proc/cpuinfo": "processor\t: 0\n\nRevision\t: c03115\nSerial\t\t: 10000000deadbeef\nModel\t\t: Raspberry Pi 4\n",
    "sys/block/mmcblk0/device/cid": f"{CID}\n",
    "etc/machine-id": "5ad0f7a5c53f4c3ab3a9f1f7d2e6b001\n",
}
LAPTOP = {
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\n",
    "sys/block/nvme0n1/device/model": "SSD\n",
    "etc/machine-id": "5ad0f7a5c53f4c3ab3a9f1f7d2e6b001\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write a recorded tree."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_raspberry_pi_is_known_by_processor_and_card(tmp_path: Path) -> None:
    """Padding and case do not matter; older kernels tell the number in cpuinfo only."""
    expected = Board.of(NODE, processor="10000000deadbeef", cards=[CID], system="")
    assert read_board(NODE, tree(tmp_path, RASPBERRY)) == expected
    (tmp_path / "proc/device-tree/serial-number").unlink()
    assert read_board(NODE, tmp_path) == expected
    (tmp_path / "proc/cpuinfo").write_text("Serial : 0000000000000000\n")  # a board without a number
    assert read_board(NODE, tmp_path) == Board.of(NODE, processor="", cards=[CID], system="")


def test_a_laptop_is_known_by_its_installation(tmp_path: Path) -> None:
    """There is no number that every user may read."""
    expected = Board.of(NODE, processor="", cards=[], system="5ad0f7a5c53f4c3ab3a9f1f7d2e6b001")
    assert read_board(NODE, tree(tmp_path, LAPTOP)) == expected
    assert read_board(NODE, tmp_path / "empty") == Board()


def test_the_first_start_makes_the_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """From then on another board is noticed, until it is accepted."""
    path = tmp_path / "board"
    here = Board.of(NODE, processor="1", cards=["c"], system="")
    there = Board.of(NODE, processor="2", cards=["c"], system="")
    assert HomeBoard(path, here).changed == ()
    assert HomeBoard(path, here).changed == ()
    assert HomeBoard(path, there).changed == ("board",)
    assert "moved or copied" in caplog.text
    moved = HomeBoard(path, there)
    moved.accept()
    assert moved.changed == HomeBoard(path, there).changed == ()
    assert HomeBoard(path, here).changed == ("board",)


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    """It might be a copy's: the owner is asked."""
    path = tmp_path / "board"
    path.write_bytes(b"\xff" * 5000)
    assert HomeBoard(path, Board()).changed == (DAMAGED,)


def test_a_record_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """With what is at fault."""
    with pytest.raises(StorageError, match="cannot be read"):
        HomeBoard(tmp_path, Board())
    with pytest.raises(StorageError, match="cannot be written"):
        HomeBoard(tmp_path / "absent" / "board", Board())
