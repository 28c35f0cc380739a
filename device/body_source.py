"""A request's body, which comes in the loop, as something that a thread reads."""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator
from typing import Final

from device.errors import RequestTooSlowError

GATHER_BYTES: Final = 1024 * 1024  # handed over at a time: large writes spare a card
SILENCE_S: Final = 60.0  # of a stick that hangs


class BodySource:
    """Pieces of a body, read by one thread; no more than GATHER_BYTES and a piece are held.

    Made in the loop; `read` blocks, and belongs in a thread.  Raises RequestTooSlowError after `silence_s` without a
    byte, and what the pieces raise.
    """

    def __init__(self, pieces: AsyncIterator[bytes], *, silence_s: float = SILENCE_S) -> None:
        self._pieces = pieces
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._held = memoryview(b"")
        self._pending: concurrent.futures.Future[bytes] | None = None
        self._closed = threading.Event()

    def read(self, size: int, /) -> bytes:
        """Give at most `size` bytes; nothing at the end of the body."""
        if not self._held:
            if self._closed.is_set():  # what had come meanwhile would be handed out before a cancellation is heard
                raise concurrent.futures.CancelledError
            self._pending = asyncio.run_coroutine_threadsafe(self._gather(), self._loop)
            if self._closed.is_set():
                self._pending.cancel()
            self._held = memoryview(self._pending.result())
        piece, self._held = self._held[:size], self._held[size:]
        return bytes(piece)

    def close(self) -> None:
        """Let nobody wait for the rest any more: a read that waits ends with CancelledError."""
        self._closed.set()
        if self._pending is not None:
            self._pending.cancel()

    async def _gather(self) -> bytes:
        gathered = bytearray()
        while len(gathered) < GATHER_BYTES:
            try:
                async with asyncio.timeout(self._silence_s):
                    gathered += await anext(self._pieces)
            except StopAsyncIteration:
                break
            except TimeoutError as error:
                raise RequestTooSlowError(f"nothing came of the body for {self._silence_s:.0f} s") from error
        return bytes(gathered)
