"""A new identity for this node: the old one is put aside, with everything that belongs to it, and never lost.

It is asked for by a file and carried out at the next start, before anything is opened: whenever the power fails,
either the request is still there, and the rest is moved then, or everything is in its place.
"""

import logging
import os
import re
from pathlib import Path
from typing import Final

from mesh.certificates import write_private
from mesh.errors import StorageError

log = logging.getLogger(__name__)

REQUEST: Final = "replace"
ASIDE: Final = re.compile(r"replaced-([1-9][0-9]{0,8})", re.ASCII)


def request(directory: Path) -> Path:
    """Ask for a new identity at the next start; return where the old one will be.  Errors: StorageError."""
    try:
        aside = directory / f"replaced-{_next_number(directory)}"
        write_private(directory / REQUEST, aside.name.encode())
    except OSError as error:
        raise StorageError(f"{directory} cannot be written: {error.strerror}") from error
    return aside


def carry_out(directory: Path) -> None:
    """Put the old identity aside if that was asked for.  Errors: StorageError; it goes on at the next start then."""
    try:
        name = (directory / REQUEST).read_text(errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"{directory / REQUEST} cannot be read: {error.strerror}") from error
    try:
        aside = directory / (name if ASIDE.fullmatch(name) else f"replaced-{_next_number(directory)}")
        aside.mkdir(mode=0o700, exist_ok=True)
        for path in sorted(directory.iterdir()):
            if path.name != REQUEST and not ASIDE.fullmatch(path.name):
                path.rename(aside / path.name)
        _sync(aside)
        _sync(directory)
        (directory / REQUEST).unlink()
        _sync(directory)
    except OSError as error:
        raise StorageError(f"the old identity cannot be put aside in {directory}: {error.strerror}") from error
    log.warning("this node gets a new identity; the old one is kept in %s", aside)


def _next_number(directory: Path) -> int:
    taken = [int(match[1]) for path in directory.iterdir() if (match := ASIDE.fullmatch(path.name))]
    return 1 + max(taken, default=0)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
