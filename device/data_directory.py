"""The one directory that holds everything a node owns: made private, held by one daemon at a time."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from device.errors import AlreadyRunningError, DataDirectoryError

LOCK_NAME: Final = "lock"
RUN_NAME: Final = "run.json"
# sockaddr_un holds 108 bytes, the last one zero.
MAX_SOCKET_PATH_BYTES: Final = 107

_HINTS: Final[Mapping[int, str]] = {
    errno.ENOSPC: "free some space on that disk (hearth models rm NAME), or choose another directory with --data DIR",
    errno.EDQUOT: "free some of your quota, or choose another directory with --data DIR",
    errno.EROFS: "the disk is mounted read-only: mount it writable, or choose another directory with --data DIR",
}


class DataDirectory:
    """The directory at `path`, held from `with` to its end.

    Raises AlreadyRunningError when another process holds it, DataDirectoryError when it cannot be made, locked or
    written.  Nothing in it is changed in either case.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._take_lock()
            # What another run left in it may be longer; a full disk shows here, before anything is started.
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            os.fsync(self._lock)
        except OSError as error:
            self._release()
            raise unusable(self.path, error) from error
        except AlreadyRunningError:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            (self.path / RUN_NAME).unlink()
        self._release()

    def write_run_file(self, facts: Mapping[str, object]) -> None:
        """Say where this run is to be found (process id, ports actually taken), whole or not at all."""
        write_atomically(self.path / RUN_NAME, json.dumps(facts, indent=1).encode() + b"\n")

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._lock, 20, 0).decode(errors="replace").strip() or "unknown"
            raise AlreadyRunningError(f"another hearth (process {holder}) runs on {self.path}") from error

    def _release(self) -> None:
        # The file stays: removing it would let two daemons lock two files of the same name.
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def unusable(path: Path, error: OSError) -> DataDirectoryError:
    """Say that `path` cannot be used and why, with the hint that fits the reason."""
    translated = DataDirectoryError(f"the data directory {path} cannot be used: {os.strerror(error.errno or 0)}")
    translated.hint = _HINTS.get(error.errno or 0, translated.hint)
    return translated


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by a private file with `content`; after a power cut either the old or the new is there."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, not a path
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)  # noqa: PTH105  mkstemp gives a str
        finally:
            with contextlib.suppress(OSError):  # in its place it has that name no more
                os.unlink(name)  # noqa: PTH108  same
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise unusable(path.parent, error) from error


def bind_unix_socket(path: Path, *, mode: int = 0o600) -> socket.socket:
    """Bind and listen at `path` in place of what an earlier run left there.

    Only the holder of the data directory's lock may call this: no living daemon's socket is taken away.  The socket
    is made under another name and renamed, so that at no moment anyone else may connect.
    Raises DataDirectoryError.
    """
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    if len(os.fsencode(hidden)) > MAX_SOCKET_PATH_BYTES:
        longest = MAX_SOCKET_PATH_BYTES - len(os.fsencode(hidden.name)) - 1
        error = DataDirectoryError(f"the path {path.parent} is too long for a socket: at most {longest} bytes")
        error.hint = "choose a shorter directory with --data DIR"
        raise error
    if path.exists() and not path.is_socket():
        raise DataDirectoryError(f"{path} is no socket; it was left as it is")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        hidden.unlink(missing_ok=True)
        listener.bind(os.fspath(hidden))
        hidden.chmod(mode)
        listener.listen(128)
        hidden.replace(path)
    except OSError as error:
        listener.close()
        raise unusable(path.parent, error) from error
    return listener
