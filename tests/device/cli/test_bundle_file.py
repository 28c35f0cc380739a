"""The file on a stick: there whole or not at all."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.cli import bundle_file
from device.cli.bundle_file import BundleWriter, opened, target_of
from device.core.mounts import MAX_FAT_BYTES
from device.errors import BundleFileError


def test_it_appears_when_it_is_whole(tmp_path: Path) -> None:
    """Until then there is only what says that it is not."""
    target = tmp_path / "tiny.hearth.tar"
    with BundleWriter(target) as file:
        file.require_room(9_000_000)
        for _ in range(9):
            file.write(b"x" * 1_000_000)
        assert [path.name for path in tmp_path.iterdir()] == ["tiny.hearth.tar.partial"]
        file.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.hearth.tar"]
    assert target.stat().st_size == 9_000_000


def test_whoever_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    """Also where an earlier one left something: a stick was pulled out."""
    (tmp_path / "tiny.partial").write_bytes(b"left over")

    def interrupted() -> None:
        with BundleWriter(tmp_path / "tiny") as file:
            file.write(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """What is there may be somebody's only copy."""
    (tmp_path / "tiny").write_bytes(b"precious")
    with pytest.raises(BundleFileError, match="is there already") as raised, BundleWriter(tmp_path / "tiny"):
        pytest.fail("it was opened")
    assert raised.value.hint
    assert (tmp_path / "tiny").read_bytes() == b"precious"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With what may be the matter."""
    with pytest.raises(BundleFileError, match="gone") as raised, BundleWriter(tmp_path / "gone" / "tiny"):
        pytest.fail("it was opened")
    assert "stick" in raised.value.hint


def test_a_full_stick_is_said_before_the_first_byte(tmp_path: Path) -> None:
    """With what is free and what is needed."""
    with pytest.raises(BundleFileError, match=r"1000000\.0 TB are needed"), BundleWriter(tmp_path / "tiny") as file:
        file.require_room(10**18)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def fat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that the kernel calls a FAT file system."""
    device = tmp_path.stat().st_dev
    line = f"99 22 {os.major(device)}:{os.minor(device)} / {tmp_path} rw - vfat /dev/sda1 rw\n"
    (tmp_path / "mountinfo").write_text(line)
    monkeypatch.setattr(bundle_file, "MOUNTS", tmp_path / "mountinfo")
    yield tmp_path
    (tmp_path / "mountinfo").unlink()


def test_fat_takes_no_large_file(fat: Path) -> None:
    """That is said before the first byte too, with what to do."""
    with BundleWriter(fat / "tiny") as file:
        file.require_room(1_000_000)
        with pytest.raises(BundleFileError, match=r"does not take a file of 4\.3 GB") as raised:
            file.require_room(MAX_FAT_BYTES + 1)
    assert "exFAT" in raised.value.hint


def test_what_the_file_system_refuses_in_the_middle_is_said_as_that(tmp_path: Path) -> None:
    """As a FAT that the kernel does not call so would; nothing is left then either."""
    code = (
        "import sys, resource; from pathlib import Path\n"
        "from device.cli.bundle_file import BundleWriter\n"
        "from device.errors import BundleFileError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    with BundleWriter(Path(sys.argv[1])) as file:\n"
        "        file.write(b'x' * 20_000_000)\n"
        "except BundleFileError as error:\n"
        "    print(error)\n"
    )
    assert resource.RLIMIT_FSIZE >= 0
    said = subprocess.check_output([sys.executable, "-c", code, str(tmp_path / "tiny")], text=True)
    assert "does not take so large a file" in said
    assert list(tmp_path.iterdir()) == []


def test_a_directory_gets_a_file_with_the_models_name(tmp_path: Path) -> None:
    """A stick is a directory to whoever plugs it in."""
    assert target_of(tmp_path, "tiny") == tmp_path / "tiny.hearth.tar"
    assert target_of(tmp_path / "mine", "tiny") == tmp_path / "mine"


def test_a_file_is_read_in_pieces(tmp_path: Path) -> None:
    """With its size first."""
    (tmp_path / "tiny").write_bytes(b"x" * 2_500_000)
    with opened(tmp_path / "tiny") as (size, pieces):
        lengths = [len(piece) for piece in pieces]
    assert size == sum(lengths) == 2_500_000
    assert max(lengths) <= 1024 * 1024


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """None, a directory, a device, and one that becomes shorter meanwhile."""
    for path in (tmp_path / "gone", tmp_path, Path("/dev/null")):
        with pytest.raises(BundleFileError, match=str(path)), opened(path):
            pytest.fail("it was opened")
    (tmp_path / "tiny").write_bytes(b"x" * 2_500_000)
    with opened(tmp_path / "tiny") as (_, pieces):
        next(pieces)
        os.truncate(tmp_path / "tiny", 1_000_000)
        with pytest.raises(BundleFileError, match="became shorter"):
            list(pieces)
