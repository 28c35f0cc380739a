"""What this board's hardware calls itself, and whether it is still the one the identity was made on."""

import logging
from pathlib import Path
from typing import Final

from mesh.certificates import write_private
from mesh.core.board import MAX_BYTES, MAX_CARDS, Board
from mesh.errors import MalformedError, StorageError

log = logging.getLogger(__name__)

DEVICE_TREE_SERIAL: Final = "proc/device-tree/serial-number"
PROCESSOR: Final = "proc/cpuinfo"
CARDS: Final = "sys/block"
MACHINE_ID: Final = "etc/machine-id"
MAX_FILE_BYTES: Final = 64 * 1024
DAMAGED: Final = "record of its board, which is damaged"


def read_board(raw_id: bytes, root: Path = Path("/")) -> Board:
    """Read the serial numbers of processor and SD cards below `root`; where there is none, the machine id."""
    folders = sorted((root / CARDS).glob("mmcblk*"))[:MAX_CARDS]
    cards = [serial for folder in folders if (serial := _serial(_text(folder / "device" / "cid")))]
    processor = _serial(_text(root / DEVICE_TREE_SERIAL)) or _serial(_processor_serial(_text(root / PROCESSOR)))
    return Board.of(raw_id, processor=processor, cards=cards, system=_serial(_text(root / MACHINE_ID)))


class HomeBoard:
    """The record, in one file, of the board that the identity was made on; `changed` names what is another one now."""

    def __init__(self, path: Path, now: Board) -> None:
        """Read the record; where there is none yet, this board is the one.  Errors: StorageError."""
        self._path = path
        self._now = now
        self.changed: tuple[str, ...] = ()
        try:
            with path.open("rb") as file:
                self.changed = Board.parse(file.read(MAX_BYTES + 1)).changed(now)
        except FileNotFoundError:
            self.accept()
        except MalformedError:
            self.changed = (DAMAGED,)
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        if self.changed:
            log.warning(
                "this node's identity was made on another %s: moved or copied? It signs nothing; hearth doctor",
                " and ".join(self.changed),
            )

    def accept(self) -> None:
        """Make this board the identity's.  Errors: StorageError."""
        try:
            write_private(self._path, self._now.to_bytes())
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror}") from error
        self.changed = ()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode(errors="replace")
    except OSError:  # most boards lack most of them
        return ""


def _processor_serial(text: str) -> str:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Serial":
            return value
    return ""


def _serial(text: str) -> str:
    """The number without padding; one that is all zeros is none."""
    serial = text.strip("\0 \t\r\n").lower()
    return serial if serial.strip("0") else ""
