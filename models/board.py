"""The processor of the board this process runs on, and the profile that suits it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from models.core.board_profile import BoardProfile
from models.core.cpu import features

CPUINFO: Final = Path("proc/cpuinfo")
MAX_CPUINFO_BYTES: Final = 1024 * 1024  # some 300 processors
OVERRIDE: Final = "HEARTH_GRAPH_FORMS"


def board_profile(environ: Mapping[str, str], *, root: Path = Path("/")) -> BoardProfile:
    """Choose the forms of graphs by $HEARTH_GRAPH_FORMS, else by the processor.  Raises InvalidRequestError."""
    if text := environ.get(OVERRIDE, ""):
        return BoardProfile.parse(text)
    return BoardProfile.of(features(read_cpuinfo(root=root)))


def read_cpuinfo(*, root: Path = Path("/")) -> str:
    """Give what the kernel says of the processors; nothing where it says nothing."""
    try:
        with (root / CPUINFO).open("rb") as file:
            return file.read(MAX_CPUINFO_BYTES).decode(errors="replace")
    except OSError:  # a container without /proc; onnxruntime could not map weights there either
        return ""
