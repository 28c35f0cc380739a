"""What the C library does with memory that is freed.

glibc gives the top of its heap back at once and takes large buffers from the kernel one by one.  A chunk on its way
through a node is copied a few times, a quarter of a megabyte each: without this, two thirds of the time went into pages
that the kernel cleared and mapped, again and again.
"""

import ctypes
from typing import Final

TRIM_THRESHOLD: Final = -1  # mallopt(3), malloc.h
MMAP_THRESHOLD: Final = -3
KEPT_BYTES: Final = 8 * 1024 * 1024  # free at the top of the heap
FROM_HEAP_BYTES: Final = 2 * 1024 * 1024  # larger buffers still come from the kernel


def keep_freed_memory() -> None:
    """Let a few megabytes of freed memory stay with the process; without effect where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(MMAP_THRESHOLD, FROM_HEAP_BYTES)
