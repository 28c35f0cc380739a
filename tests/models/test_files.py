"""Files arrive whole or not at all, and links are never followed."""

import io
import os
from pathlib import Path

import pytest

from models.errors import (
    ChecksumMismatchError,
    CorruptStoreError,
    DiskFullError,
    NotEnoughSpaceError,
    StoreWriteError,
)
from models.files import (
    CHUNK_BYTES,
    copy_verified,
    matches,
    open_regular,
    require_space,
    write_atomically,
    writing,
)
from tests.models.files import names_in, sha256_of

DATA = bytes(range(256)) * (CHUNK_BYTES // 256) + b"and a little more"


def _copy(data: bytes, target: Path, *, size: int = len(DATA)) -> list[int]:
    heard: list[int] = []
    copy_verified(io.BytesIO(data), target, sha256=sha256_of(DATA), size=size, done=heard.append)
    return heard


def test_a_copy_appears_with_the_promised_content(tmp_path: Path) -> None:
    """What an earlier, interrupted copy left is no obstacle."""
    target = tmp_path / "new" / "blob"
    target.parent.mkdir()
    target.with_name(".blob.arriving").write_bytes(b"left by a power cut")
    assert _copy(DATA, target) == [CHUNK_BYTES, len(DATA)]
    assert target.read_bytes() == DATA
    assert names_in(target.parent) == ["blob"]
    assert matches(target, sha256_of(DATA), done=lambda _: None)


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b"", b"<html>log in</html>", DATA[:-1] + b"x"])
def test_other_content_leaves_what_was_there(data: bytes, tmp_path: Path) -> None:
    """Shorter, longer or changed: nothing appears, nothing stays behind."""
    target = tmp_path / "blob"
    target.write_bytes(b"before")
    with pytest.raises(ChecksumMismatchError):
        _copy(data, target)
    assert target.read_bytes() == b"before"
    assert names_in(tmp_path) == ["blob"]


def test_an_endless_source_is_read_no_further_than_promised(tmp_path: Path) -> None:
    """A bomb fills no disk."""
    with Path("/dev/zero").open("rb") as zeros, pytest.raises(ChecksumMismatchError):
        copy_verified(zeros, tmp_path / "blob", sha256=sha256_of(b""), size=5, done=lambda _: None)
    assert names_in(tmp_path) == []


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Whoever runs it: /sys takes no files even from root."""
    for target in (Path("/sys/hearth/blob"), tmp_path / "file" / "blob"):
        (tmp_path / "file").write_bytes(b"no directory")
        with pytest.raises(StoreWriteError, match="unchanged"):
            _copy(DATA, target)
        with pytest.raises(StoreWriteError, match="unchanged"):
            write_atomically(target, b"data")
        with pytest.raises(StoreWriteError):
            require_space(target.parent, 1)


def test_a_full_disk_has_its_own_error() -> None:
    """/dev/full refuses the way a full disk does."""
    full = Path("/dev/full")
    with pytest.raises(DiskFullError, match="/dev/full"), writing(full):
        full.write_bytes(b"x")


def test_too_little_space_is_said_before_the_first_byte(tmp_path: Path) -> None:
    """With both numbers and the directory."""
    with pytest.raises(NotEnoughSpaceError, match="MB are needed") as caught:
        require_space(tmp_path, 2**60)
    assert caught.value.needed_bytes > 2**60
    assert caught.value.directory == str(tmp_path)


def test_a_small_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """The old content or the new one, and nothing besides."""
    path = tmp_path / "names" / "a.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert names_in(path.parent) == ["a.json"]
    directory = tmp_path / "names" / "d.json"
    directory.mkdir()
    with pytest.raises(StoreWriteError):
        write_atomically(directory, b"new")
    assert names_in(path.parent) == ["a.json", "d.json"]


def test_a_small_file_can_be_put_together_elsewhere(tmp_path: Path) -> None:
    """Where nothing but whole files may lie."""
    (tmp_path / "sealed").mkdir()
    path = tmp_path / "sealed" / "scales"
    write_atomically(path, b"new", by_way_of=tmp_path)
    assert path.read_bytes() == b"new"
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreWriteError):
        write_atomically(path, b"new", by_way_of=tmp_path)
    assert (names_in(tmp_path), names_in(path.parent)) == (["sealed"], ["scales"])


def test_only_plain_files_with_one_name_are_opened(tmp_path: Path) -> None:
    """Symbolic links, hard links, pipes, devices, directories and other sizes are refused."""
    plain = tmp_path / "plain"
    plain.write_bytes(b"data")
    with open_regular(plain, size=4) as file:
        assert file.read() == b"data"
    (tmp_path / "symbolic").symlink_to(plain)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "symbolic", tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "absent"):
        with pytest.raises(CorruptStoreError):
            open_regular(path)
    with pytest.raises(CorruptStoreError, match="4 bytes, 5 were stored"):
        open_regular(plain, size=5)
    (tmp_path / "hard").hardlink_to(plain)
    with pytest.raises(CorruptStoreError, match="one name"):
        open_regular(plain)
