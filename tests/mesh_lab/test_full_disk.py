"""A disk that is full while the community changes."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh_lab.net import TOOLS, Lab
from tests.mesh_lab.nodes import Node, all_linked, living, settle, start_all

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", "mount", *TOOLS)]

DISK = "4m"


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """Mount a disk of a few megabytes at a path."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "hearthlab", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more fits; return the file that takes the room."""
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (64 * 1024, 1024, 1):
            with contextlib.suppress(OSError):
                while file.write(os.urandom(size)):
                    pass
    return filling


def test_a_full_disk_costs_no_link_and_loses_nothing(lab: Lab, tmp_path: Path) -> None:
    """What cannot be written is not believed either; the node talks on, and catches up once there is room."""
    machines = [lab.namespace(name) for name in ("anna", "ben", "carl")]
    lab.lan(*machines)
    with small_disk(tmp_path / "ben"):
        anna, ben, carl = (Node(each, tmp_path / each.name.rpartition("-")[2]) for each in machines)
        settle(anna, ben)
        with living(anna, ben, carl):
            start_all(anna, ben, carl)
            all_linked(anna, ben)
            filling = fill(ben.data_dir)
            assert carl.ask("join", words=anna.ask("offer")) == "anna"
            all_linked(anna, carl)
            for one, other in ((anna, ben), (ben, anna)):
                assert one.tells(other, 20, every_s=0.02).all_heard_once_in_order()
            ben.until(lambda: "cannot be written" in ben.log() or "full" in ben.log(), "in need of room")
            assert ben.view["members"] == ["anna", "ben"]
            filling.unlink()
            ben.until(lambda: ben.view["members"] == ["anna", "ben", "carl"], "of one mind", within_s=90)
            all_linked(anna, ben, carl, within_s=90)
            assert carl.tells(ben, 3).all_heard_once_in_order()
            ben.kill()
            ben.start()
            all_linked(anna, ben, carl)
