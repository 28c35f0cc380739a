"""What a board without a clock battery believes after a power cut."""

from pathlib import Path

from tests.mesh_lab.net import LabError


def in_1970() -> dict[str, str]:
    """The environment in which it is the first morning of 1970, and monotonic time is as it is."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        raise LabError("libfaketime is not installed")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": "@1970-01-01 00:10:00",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "TZ": "UTC",
    }
