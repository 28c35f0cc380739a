"""The file that a bundle is written to or read from, with the rights of whoever typed the command.

A stick may be pulled out at any moment: the bundle is written beside its place, flushed as it goes, and renamed when
all of it is on the medium.  Blocks; a command has nothing else to do.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from device.core.mounts import filesystem_of, largest_file
from device.errors import BundleFileError
from device.wording import size

MOUNTS: Final = Path("/proc/self/mountinfo")
SUFFIX: Final = ".hearth.tar"
PARTIAL: Final = ".partial"
# Unwritten at most, so that progress is true, the end no long wait, and the daemon's patience with a slow stick enough.
FLUSH_BYTES: Final = 16 * 1024 * 1024
READ_BYTES: Final = 1024 * 1024


def target_of(file: Path, name: str) -> Path:
    """Give the file that is meant: a directory gets one with the model's name."""
    return file / f"{name}{SUFFIX}" if file.is_dir() else file


class BundleWriter:
    """A new file at `target`, which appears when `finish` returns, and is safe on its medium then.

    A context manager; without `finish` nothing stays.  Raises BundleFileError.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._partial = target.with_name(target.name + PARTIAL)
        self._unflushed = 0

    def __enter__(self) -> Self:
        if os.path.lexists(self._target):
            raise BundleFileError(f"{self._target} is there already", hint="choose another name, or remove it first")
        with _naming(self._partial, "written"):
            self._file: BinaryIO = self._partial.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with contextlib.suppress(OSError):  # renamed, or on a stick that is gone
            self._partial.unlink()

    def require_room(self, size_bytes: int) -> None:
        """Refuse before the first byte what will not fit.  Raises BundleFileError."""
        with _naming(self._partial, "written"):
            device = os.fstat(self._file.fileno()).st_dev
            free = shutil.disk_usage(self._target.parent).free
            mounts = MOUNTS.read_text(errors="replace")
        most = largest_file(filesystem_of(mounts, f"{os.major(device)}:{os.minor(device)}"))
        if most is not None and size_bytes > most:
            raise _too_large(self._target, size_bytes)
        if size_bytes > free:
            message = f"{self._target.parent} has {size(free)} free, {size(size_bytes)} are needed"
            raise BundleFileError(message, hint="free some space there, or choose another directory")

    def write(self, data: bytes) -> None:
        """Append; now and then wait until what was written is on the medium.  Raises BundleFileError."""
        with _naming(self._partial, "written"):
            self._file.write(data)
            self._unflushed += len(data)
            if self._unflushed >= FLUSH_BYTES:
                self._flush()

    def finish(self) -> None:
        """Put the file in its place, for good.  Raises BundleFileError."""
        with _naming(self._target, "written"):
            self._flush()
            self._partial.replace(self._target)
            directory = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _flush(self) -> None:
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._unflushed = 0


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Open a bundle to read: its size, and its bytes in pieces.  Raises BundleFileError, as the pieces do."""
    with _naming(path, "read"):
        file = path.open("rb")
    with file:
        with _naming(path, "read"):
            size_bytes = os.fstat(file.fileno()).st_size
            if not path.is_file():
                raise BundleFileError(f"{path} is no file", hint="name the bundle itself")
        yield size_bytes, _pieces(file, path, size_bytes)


def _pieces(file: BinaryIO, path: Path, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left:
        with _naming(path, "read"):
            piece = file.read(min(READ_BYTES, left))
        if not piece:
            raise BundleFileError(f"{path} became shorter while it was read", hint="is it still being copied? Wait")
        left -= len(piece)
        yield piece


@contextlib.contextmanager
def _naming(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise _too_large(path, None) from error
        hint = "is the stick still there, with room, and may this user use it?"
        raise BundleFileError(f"{path} cannot be {done}: {error.strerror or error}", hint=hint) from error


def _too_large(path: Path, size_bytes: int | None) -> BundleFileError:
    what = "so large a file" if size_bytes is None else f"a file of {size(size_bytes)}"
    return BundleFileError(
        f"the file system at {path.parent} does not take {what}; FAT32 ends at 4.3 GB",
        hint="format the stick as exFAT or ext4 (that erases it), or choose another directory",
    )
