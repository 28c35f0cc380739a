"""Which file system a directory is on, from the kernel's list of mounts."""

import re
from typing import Final

MAX_FAT_BYTES: Final = 2**32 - 1  # of a file; its length is four bytes there
FAT_TYPES: Final = frozenset({"vfat", "msdos", "umsdos"})
_LINE: Final = re.compile(r"\d+ \d+ (?P<device>\d+:\d+) .* - (?P<type>\S+) \S+ \S+", re.ASCII)


def filesystem_of(mountinfo: str, device: str) -> str:
    """Give the type of the file system of a device, "major:minor"; "" where it is not listed.

    mountinfo: /proc/self/mountinfo.  Source: proc_pid_mountinfo(5).
    """
    found = (_LINE.fullmatch(line) for line in mountinfo.splitlines())
    return next((one["type"] for one in found if one is not None and one["device"] == device), "")


def largest_file(filesystem: str) -> int | None:
    """Give how many bytes a file may have there; None where that is no matter."""
    return MAX_FAT_BYTES if filesystem in FAT_TYPES else None
