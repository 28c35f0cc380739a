"""How the daemon's memory is given out, where the C library's own way is slow for what a daemon does.

glibc gives the top of its heap back at once and takes large buffers from the kernel one by one.  asyncio asks for
256 KiB at each read of a socket and gives most of it back: 30 us of mapping, clearing and unmapping in place of 4.  A
chunk of a model on its way through a node is copied a few times, a quarter of a megabyte each: two thirds of the time
went into the kernel's pages.
"""

import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1  # malloc.h
M_MMAP_THRESHOLD: Final = -3
KEPT_BYTES: Final = 8 * 1024 * 1024  # free at the top of the heap
FROM_HEAP_BYTES: Final = 2 * 1024 * 1024  # larger buffers still come from the kernel


def keep_buffers() -> None:
    """Have read buffers come from memory that the process keeps; another C library than glibc stays as it is."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, FROM_HEAP_BYTES)
