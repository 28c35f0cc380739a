"""Files handled so that a power cut, a full disk or a planted link costs nothing.

Writing is always: temporary file, fsync, rename, fsync of the directory.  Reading opens regular files with one
name only.  Everything here blocks and belongs in a thread when the file is large.
"""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from models.errors import (
    ChecksumMismatchError,
    CorruptStoreError,
    DiskFullError,
    NotEnoughSpaceError,
    StoreWriteError,
)

CHUNK_BYTES: Final = 1024 * 1024
SPARE_BYTES: Final = 16 * 1024 * 1024  # what a copy leaves free, so that logs and databases can still be written

_PLAIN: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # for what was put there instead of a plain file


class Source(Protocol):
    """Anything that bytes are read from; nothing at its end."""

    def read(self, size: int, /) -> bytes:
        """Give at most `size` bytes."""
        ...


BytesDone = Callable[[int], None]
"""Called after every chunk with the bytes done so far; whatever it raises ends the work."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translate what the disk refuses: DiskFullError, StoreWriteError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"the disk filled up while {path} was written; what was there is unchanged") from error
        reason = error.strerror or str(error)
        raise StoreWriteError(f"cannot write {path}: {reason}; what was there is unchanged") from error


def require_space(directory: Path, needed_bytes: int) -> None:
    """Refuse before the first byte what will not fit.  Raises NotEnoughSpaceError."""
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory).free
    if free < needed_bytes + SPARE_BYTES:
        raise NotEnoughSpaceError(needed_bytes + SPARE_BYTES, free, str(directory))


def sync_directory(path: Path) -> None:
    """Make the renames inside a directory outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes, *, by_way_of: Path | None = None) -> None:
    """Put a small file in place as a whole, or leave what was there.  Raises DiskFullError, StoreWriteError.

    by_way_of: the folder on the same disk where a power cut may leave a part of it; None for the file's own.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=by_way_of or path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        sync_directory(path.parent)


def open_regular(path: Path, *, size: int | None = None) -> BinaryIO:
    """Open a file that is a regular one under this name only, and of `size` bytes if that is given.

    A symbolic link, a second hard link, a device or another size raise CorruptStoreError; so does its absence.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _PLAIN)
    except OSError as error:
        raise CorruptStoreError(f"cannot open {path}: {error.strerror}") from error
    about = _require_plain(descriptor, path)
    if size is not None and about.st_size != size:
        os.close(descriptor)
        raise CorruptStoreError(f"{path} has {about.st_size} bytes, {size} were stored")
    return os.fdopen(descriptor, "rb")


def open_for_update(path: Path) -> int:
    """Open a plain file to be read and written in place, empty if it is new, and return its descriptor.

    A symbolic link, a second hard link or a device raise CorruptStoreError; also DiskFullError, StoreWriteError.
    """
    with writing(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _PLAIN, 0o600)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
                raise CorruptStoreError(f"{path} is not a plain file with one name") from error
            raise
    _require_plain(descriptor, path)
    return descriptor


def copy_verified(source: Source, target: Path, *, sha256: str, size: int, done: BytesDone) -> None:
    """Copy `size` bytes into `target`, which appears only if they hash to `sha256`.

    Raises ChecksumMismatchError when they do not, and when there are more or fewer; DiskFullError,
    StoreWriteError.  In every case but success `target` is as it was.
    """
    arriving = target.with_name(f".{target.name}.arriving")  # one name a target: a leftover is overwritten
    digest, copied = hashlib.sha256(), 0
    try:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            arriving.unlink(missing_ok=True)
            file = arriving.open("xb", buffering=0)  # else closing it writes the rest, on a disk that may be full
        with file:
            for chunk in _poured(source, file, target, size=size, done=done):
                digest.update(chunk)
                copied += len(chunk)
            _require_promised(target, copied == size and digest.hexdigest() == sha256)
            with writing(target):
                os.fsync(file.fileno())
        with writing(target):
            arriving.replace(target)
            sync_directory(target.parent)
    except BaseException:
        with suppress(OSError):
            arriving.unlink()
        raise


def append(source: Source, target: Path, *, start: int, size: int, done: BytesDone) -> None:
    """Put all of a source, `size` bytes, behind the first `start` of a file, in place of what else is there.

    Raises ChecksumMismatchError when there are more or fewer: the file ends at `start` then; DiskFullError,
    StoreWriteError, CorruptStoreError.  What is there when this returns outlives a power cut.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_for_update(target), "r+b", buffering=0) as file:
        try:
            with writing(target):
                file.truncate(start)
                file.seek(start)
            copied = sum(map(len, _poured(source, file, target, size=size, done=done)))
            _require_promised(target, copied == size)
            with writing(target):
                os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                file.truncate(start)
            raise


def _poured(source: Source, file: FileIO, target: Path, *, size: int, done: BytesDone) -> Iterator[bytes]:
    """Write all of a source, but no more than one byte beyond `size`; yield each piece when it is written."""
    copied = 0
    while chunk := source.read(min(CHUNK_BYTES, size + 1 - copied)):
        rest = memoryview(chunk)
        while rest:
            with writing(target):
                rest = rest[file.write(rest) :]
        copied += len(chunk)
        yield chunk
        done(copied)


def matches(path: Path, sha256: str, *, done: BytesDone) -> bool:
    """Whether a file's content hashes to `sha256`."""
    digest, read = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            read += len(chunk)
            done(read)
    return digest.hexdigest() == sha256


def _require_plain(descriptor: int, path: Path) -> os.stat_result:
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
        os.close(descriptor)
        raise CorruptStoreError(f"{path} is not a plain file with one name")
    return about


def _require_promised(target: Path, kept: bool) -> None:  # noqa: FBT001  the condition is the point
    if not kept:
        raise ChecksumMismatchError(f"{target.name}: what arrived is not the file that was promised")
