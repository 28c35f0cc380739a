"""Which file system a directory is on, as the kernel lists it."""

import pytest

from device.core.mounts import filesystem_of, largest_file

MOUNTINFO = """\
22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw
36 22 0:31 / /run rw,nosuid - tmpfs tmpfs rw,size=400k
99 22 8:1 / /media/a\\040stick rw,nosuid,nodev shared:7 master:2 - vfat /dev/sda1 rw,fmask=0022
100 22 8:2 / /media/b rw - exfat /dev/sda2 rw
a line that is none
"""


@pytest.mark.parametrize(
    ("device", "kind", "most"),
    [("8:1", "vfat", 4_294_967_295), ("8:2", "exfat", None), ("179:2", "ext4", None), ("7:7", "", None)],
)
def test_the_file_system_of_a_device(device: str, kind: str, most: int | None) -> None:
    """FAT alone bounds a file; one that is not listed bounds nothing."""
    assert filesystem_of(MOUNTINFO, device) == kind
    assert largest_file(kind) == most
