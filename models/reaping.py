"""Processes whose output nobody reads any more."""

import asyncio
from typing import Final

CHUNK_BYTES: Final = 64 * 1024


async def reap(process: asyncio.subprocess.Process) -> None:
    """Wait for a process that has ended or was killed, and throw away what it still had to say.

    asyncio's own `wait` ends with the pipes: a reader that has paused, because nobody reads, never sees theirs.
    Nothing may be reading them besides.
    """
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(CHUNK_BYTES):
            pass
    await process.wait()
