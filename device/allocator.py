"""How the daemon's memory is given out, where the C library's own way is slow for what a daemon does."""

import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1  # malloc.h
M_MMAP_THRESHOLD: Final = -3
KEPT_BYTES: Final = 1024 * 1024


def keep_buffers() -> None:
    """Have read buffers come from memory that the process keeps.

    asyncio takes 256 KiB for each read of a socket, of which it gives most back at once: with glibc's own thresholds
    the kernel maps, clears and unmaps those pages each time, 30 us in place of 4.  Another C library stays as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
