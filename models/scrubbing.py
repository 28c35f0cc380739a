"""Blobs read again from beginning to end, to find what a card has lost since they were written.

Read in large pieces, in order, and dropped from the page cache behind: what else the board needs of its memory stays
there.  Everything here blocks; `at_low_priority` gives it a thread that others come before.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeVar

from models.core.hash_tree import CHUNK_BYTES, KnownTree
from models.core.manifest import Blob
from models.errors import CorruptStoreError
from models.files import BytesDone, open_regular
from models.store import ModelStore

PIECE_BYTES: Final = 4 * 1024 * 1024  # a multiple of a chunk
LOWEST_PRIORITY: Final = 19  # of the processor; the kernel takes that of the disk from it

Result = TypeVar("Result")


@dataclass(frozen=True)
class Scrubbed:
    """What a blob was found to be.

    chunks: the indexes of its damaged chunks of CHUNK_BYTES, ascending; None where no hash tree says which.
    """

    sound: bool
    chunks: tuple[int, ...] | None = None


def scrub(
    store: ModelStore, blob: Blob, *, tree: KnownTree | None = None, done: BytesDone = lambda _: None
) -> Scrubbed:
    """Compare a blob with its SHA-256, and set it aside where it is not the one that was stored.

    tree: its whole hash tree, if that is known.  One that lies aside is looked at there, and put back where it is
    sound after all.  What is no plain file of its size is damaged too, and so is what is not there.
    Raises StoreWriteError.
    """
    path, aside = store.blob_path(blob.sha256), store.aside_path(blob.sha256)
    is_aside = not os.path.lexists(path)
    try:
        file = open_regular(aside if is_aside else path)
    except CorruptStoreError:  # none, or a link
        found = Scrubbed(sound=False)
    else:
        with file:
            found = _read(file, blob, tree, done)
    if is_aside and found.sound:
        store.put_back(blob.sha256)
    elif not is_aside and not found.sound:
        store.set_aside(blob.sha256)
    return found


def _read(file: BinaryIO, blob: Blob, tree: KnownTree | None, done: BytesDone) -> Scrubbed:
    digest, read, damaged = hashlib.sha256(), 0, []
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    while read < blob.size:
        piece, readable = _piece(file, read, min(PIECE_BYTES, blob.size - read))
        digest.update(piece)
        if tree is not None:
            chunks = _chunks_of(piece, read)
            damaged += [index for index, chunk in chunks if not tree.fits_chunk(index, chunk)]
        if not readable and tree is None:
            return Scrubbed(sound=False)
        os.posix_fadvise(file.fileno(), read, len(piece), os.POSIX_FADV_DONTNEED)
        read += len(piece)
        done(read)
    sound = digest.hexdigest() == blob.sha256 and not os.pread(file.fileno(), 1, blob.size)
    return Scrubbed(sound=sound, chunks=None if sound or tree is None else tuple(damaged))


def _piece(file: BinaryIO, at: int, size: int) -> tuple[bytes, bool]:
    """Read a piece; what the card does not give counts as zeros, and chunk by chunk, so that its neighbours count."""
    with suppress(OSError):
        data = os.pread(file.fileno(), size, at)
        if len(data) == size:
            return data, True
    piece, readable = bytearray(), True
    for begin in range(at, at + size, CHUNK_BYTES):
        length = min(CHUNK_BYTES, at + size - begin)
        data = b""
        with suppress(OSError):
            data = os.pread(file.fileno(), length, begin)
        readable = readable and len(data) == length
        piece += data.ljust(length, b"\0")
    return bytes(piece), readable


def _chunks_of(piece: bytes, begin: int) -> Iterator[tuple[int, memoryview]]:
    """Yield the chunks of a piece that begins so far into the blob, with their indexes."""
    view = memoryview(piece)
    for at in range(0, len(piece), CHUNK_BYTES):
        yield (begin + at) // CHUNK_BYTES, view[at : at + CHUNK_BYTES]


async def at_low_priority(work: Callable[[BytesDone], Result], *, done: BytesDone, name: str) -> Result:
    """Run blocking work in a thread of its own that everything else comes before.

    work: told what to call now and then with the bytes done, which ends it once the caller is cancelled, and is waited
    for.  `done` hears them in the loop.
    """
    loop, outcome = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    stop = threading.Event()

    def tell(count: int) -> None:
        if stop.is_set():
            raise _StoppedError
        loop.call_soon_threadsafe(done, count)

    def run() -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)  # of this thread alone
        try:
            result = work(tell)
        except BaseException as error:  # noqa: BLE001  whoever waits must hear of it
            loop.call_soon_threadsafe(_fail, outcome, error)
        else:
            loop.call_soon_threadsafe(_end, outcome, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        return await asyncio.shield(outcome)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([outcome])
        raise


class _StoppedError(Exception):
    """Ends work whose caller was cancelled."""


def _end(outcome: "asyncio.Future[Result]", result: Result) -> None:
    outcome.set_result(result)


def _fail(outcome: "asyncio.Future[Result]", error: BaseException) -> None:
    outcome.set_exception(error)
    outcome.exception()  # looked at, should its caller have been cancelled
