"""Converted graphs on disk, each in a directory of its own: there whole or not at all, and of use on one board only.

The directory's name says which GGUF, converter, runtime, processor and forms it is for; a seal inside, written last,
says the same and what the files were.  Whatever does not fit its seal is not loaded but built again.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from models.board import read_cpuinfo
from models.core.board_profile import BoardProfile
from models.core.cpu import identity
from models.core.graph_info import CONVERTER_VERSION, SCALES_FILE
from models.errors import CorruptStoreError
from models.files import open_regular, sync_directory, write_atomically

SEAL_FILE: Final = "seal.json"
MAX_SEAL_BYTES: Final = 64 * 1024
MAX_FILES: Final = 64
PAGE_BYTES: Final = 4096
SAMPLES: Final = 256  # pages of a file that are looked at: a megabyte, even of a file of gigabytes


class GraphCache:
    """The graphs of one directory, for this board, the runtime of that version and the forms of a profile."""

    def __init__(self, directory: Path, *, runtime: str, profile: BoardProfile) -> None:
        self.directory = directory
        board = f"{runtime}\n{profile}\n{os.uname().machine}\n{identity(read_cpuinfo())}"
        self._board = hashlib.sha256(board.encode()).hexdigest()[:16]

    def path(self, gguf: Path) -> Path:
        """Where the graph of a GGUF lies, if it is there."""
        return self.directory / f"{gguf.name}.v{CONVERTER_VERSION}-{self._board}"

    def others(self, gguf: Path) -> Iterator[Path]:
        """Yield the graphs of a GGUF that another converter, runtime or processor was to use, or in other forms."""
        for path in self.directory.glob(f"{gguf.name}.*"):
            if path != self.path(gguf):
                yield path

    def seal(self, graph: Path) -> None:
        """Write down what the files of a finished directory are, and close it to everybody else."""
        graph.chmod(0o700)
        files = {}
        for path in sorted(graph.iterdir()):
            with open_regular(path) as file:
                os.fsync(file.fileno())
                files[path.name] = _description(file)
        seal = {"board": self._board, "converter": CONVERTER_VERSION, "files": files}
        write_atomically(graph / SEAL_FILE, json.dumps(seal).encode())
        sync_directory(graph)

    def flaw(self, graph: Path) -> str | None:
        """Say why a directory is not to be loaded; None when it is sound.

        Checked: it and its files are our own, closed to others, plain files with one name; the seal is of this board
        and converter; sizes; SAMPLES pages spread over each file, which is all of a small one.  A bit that turned
        between them is not seen.
        """
        try:
            about = graph.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
                return "it is not a directory of our own that is closed to others"
            seal = _read_seal(graph / SEAL_FILE)
            match seal:
                case {"board": self._board, "converter": int(version), "files": dict(files)} if (
                    version == CONVERTER_VERSION and len(files) <= MAX_FILES
                ):
                    return _flaw_of_files(graph, files)
        except (OSError, CorruptStoreError, ValueError, RecursionError) as error:
            return str(error)
        return "its seal is of another board or version"


def _read_seal(path: Path) -> object:
    with open_regular(path) as file:
        return json.loads(file.read(MAX_SEAL_BYTES))


def _flaw_of_files(graph: Path, files: dict[str, Any]) -> str | None:
    found = {path.name for path in graph.iterdir()} - {SEAL_FILE, SCALES_FILE}
    if found != files.keys():
        return f"it should hold {', '.join(sorted(files))}; it holds {', '.join(sorted(found)) or 'nothing'}"
    for name, description in files.items():
        with open_regular(graph / name) as file:
            if _description(file) != description:
                return f"{name} is not what was written"
    return None


def _description(file: BinaryIO) -> list[int | str]:
    """Give a file's size and a digest of SAMPLES pages evenly spread over it, the first and the last among them."""
    size = os.fstat(file.fileno()).st_size
    pages = -(-size // PAGE_BYTES)
    digest = hashlib.sha256()
    for page in range(pages) if pages <= SAMPLES else [i * (pages - 1) // (SAMPLES - 1) for i in range(SAMPLES)]:
        digest.update(os.pread(file.fileno(), PAGE_BYTES, page * PAGE_BYTES))
    return [size, digest.hexdigest()]
