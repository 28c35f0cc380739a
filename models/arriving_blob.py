"""One blob on its way here: its chunks at their places, which of them are there, and what is known of its hash tree.

    SHA.part   as long as the blob from the start, so that the disk cannot fill up half way
    SHA.have   a bitmap of chunks that were on the disk when it was written: bit i % 8 of byte i // 8 for chunk i
    SHA.tree   the pages known of the hash tree, each after the one above it

What costs a card its life is many small forced writes: data is forced out every 32 MiB or ten seconds, then the bitmap
that claims it.  A killed process loses nothing, as the kernel has what was written; a power cut loses what came since.
Neither the bitmap nor the data is believed when the work goes on: whatever lies in the file is hashed, and what fits
the tree is taken.

The SHA-256 of the whole goes on while chunks come, so that a large file need not be read again at the end, from a slow
card: whenever a chunk is there, up to two are hashed of those that follow what has been hashed, each read from the file
in its turn, once, after it was written and found right.  Just written, it is still in the kernel's memory.  What comes
out of order is caught up with in that way, or at the end.  Nothing is kept of it over a restart: looking at what lies
there begins it anew.
"""

import errno
import hashlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from models.core.hash_tree import CHUNK_BYTES, PAGE_BYTES, Bytes, Geometry, KnownTree, PageId, record
from models.core.manifest import Blob
from models.errors import ChecksumMismatchError, CorruptStoreError, NotWholeError
from models.files import BytesDone, open_for_update, open_regular, write_atomically, writing

SYNC_BYTES: Final = 32 * 1024 * 1024
SYNC_S: Final = 10.0
HASHED_AT_ONCE: Final = 2  # chunks for one that came: more than come are hashed, and nobody waits for long
CLOSED: Final = -1  # no file's number: that of a closed one may soon be another file's

log = logging.getLogger(__name__)


class ArrivingBlob:
    """A blob's files while it arrives.  Methods block, and may be called from several threads."""

    def __init__(self, directory: Path, blob: Blob, root: bytes, *, clock: Callable[[], float]) -> None:
        """Open the files, or begin them; `root` is 32 bytes, `clock` gives monotonic seconds.

        Call `check` next.  Raises DiskFullError when the blob will not fit, StoreWriteError, CorruptStoreError for
        a file that is none of ours, ChecksumMismatchError for a root that cannot be that of this blob.
        """
        self.blob = blob
        self.path = directory / f"{blob.sha256}.part"
        self._have_path = directory / f"{blob.sha256}.have"
        self._tree_path = directory / f"{blob.sha256}.tree"
        self._clock = clock
        self.tree = self._read_tree(root)
        chunks = self.tree.geometry.chunks
        self._have = bytearray(-(-chunks // 8))
        self._unchecked: set[int] = set()  # data lies there, and the page that it could be checked by is not known
        self._bytes_here = 0
        self._unsynced_bytes = 0
        self._synced_at = clock()
        self._lock = threading.Lock()  # of what is noted, never held while the disk works
        self._syncing = threading.Lock()
        self._digest = hashlib.sha256()
        self._hashed = 0  # the chunks that are in it
        self._hash_at_end = False
        self._hashing = threading.Lock()
        self._data = self._reserve()
        try:
            self._pages = open_for_update(self._tree_path)
        except BaseException:
            os.close(self._data)
            raise

    @property
    def bytes_here(self) -> int:
        """How many bytes are here and verified."""
        return self._bytes_here

    @property
    def is_whole(self) -> bool:
        """Whether every chunk is here."""
        return self._bytes_here == self.blob.size

    def have(self) -> bytes:
        """Return the bitmap of chunks that are here."""
        with self._lock:
            return bytes(self._have)

    def has(self, index: int) -> bool:
        """Whether a chunk is here."""
        return 0 <= index < self.tree.geometry.chunks and bool(self._have[index // 8] >> index % 8 & 1)

    def check(self, *, done: BytesDone = lambda _: None) -> None:
        """Hash what lies in the file and take what belongs there; what cannot be checked yet is tried once it can.

        What the disk cannot read is not here.  done: called with the bytes looked at.
        """
        looked_at = 0
        for index in self._written():
            if self.tree.leaf(index) is None:
                self._unchecked.add(index)
            else:
                self._take_if_right(index)
            looked_at += self.tree.geometry.chunk_bytes(index)
            done(looked_at)
        self.sync()

    def add_page(self, page: PageId, data: bytes) -> list[int]:
        """Take a page of the hash tree and keep it; return the chunks that were here and can be checked by it now.

        Raises ChecksumMismatchError for one that is wrong or not asked for yet, DiskFullError, StoreWriteError.
        """
        with self._lock:
            if self.tree.page(page) == data:
                return []
            self.tree.add_page(page, data)
            written = record(page, data)
            with writing(self._tree_path):
                _write_all_at(self._pages, written, self._pages_end)
            self._pages_end += len(written)
            found = [index for index in self.tree.geometry.chunks_under(page) if index in self._unchecked]
            found = [index for index in found if self.tree.leaf(index) is not None]
            self._unchecked.difference_update(found)
        return [index for index in found if self._take_if_right(index)]

    def write_chunk(self, index: int, data: Bytes) -> bool:
        """Verify a chunk and write it to its place; return whether it was new.

        Raises ChecksumMismatchError, before anything is written; DiskFullError, StoreWriteError: what was here is kept.
        """
        if not self.tree.fits_chunk(index, data):
            raise ChecksumMismatchError(
                f"chunk {index} of blob {self.blob.sha256[:12]} is not what the tree says of it"
            )
        return self.write_verified(index, data)

    def write_verified(self, index: int, data: Bytes) -> bool:
        """Write a chunk that `tree.fits_chunk` has just found right; return whether it was new.

        Raises DiskFullError, StoreWriteError: what was here is kept.
        """
        if self.has(index):
            return False
        with writing(self.path):
            _write_all_at(self._data, data, index * CHUNK_BYTES)
        new = self._note(index)
        if self._unsynced_bytes >= SYNC_BYTES or self._clock() - self._synced_at >= SYNC_S:
            self.sync()
        return new

    def read_chunk(self, index: int) -> bytes | None:
        """Read a chunk for somebody else; None when it is not here.  Raises CorruptStoreError."""
        return self._read(index) if self.has(index) else None

    def adopt(self, source: BinaryIO, tree: KnownTree) -> list[int]:
        """Copy from another blob that is here whatever chunks both have, at whatever places; return which.

        source: the other blob, `tree`: what is known of its tree.  Each chunk is verified like one that comes from
        afar; one that has changed on the disk, or cannot be read, is left out.  Raises DiskFullError, StoreWriteError.
        """
        places = {tree.leaf(index): index for index in range(tree.geometry.chunks)}
        places.pop(None, None)
        adopted = []
        for index in range(self.tree.geometry.chunks):
            place = places.get(self.tree.leaf(index))
            if place is None or self.has(index):
                continue
            try:
                source.seek(place * CHUNK_BYTES)
                data = source.read(self.tree.geometry.chunk_bytes(index))
            except OSError as error:
                log.warning("a chunk of another model cannot be read, and comes from afar: %s", error.strerror)
                continue
            if self.tree.fits_chunk(index, data) and self.write_chunk(index, data):
                adopted.append(index)
        return adopted

    def sha256(self, *, done: BytesDone = lambda _: None) -> str:
        """Return the SHA-256 of the whole file in hexadecimal, after hashing what has not been yet.

        It is that of what was read from the file, every chunk once, after it had been written; what happens to a chunk
        on the disk after its turn, it does not tell: that is found as in any blob of the store, by scrubbing.
        done: called with the bytes hashed.  Raises NotWholeError, CorruptStoreError.
        """
        if not self.is_whole:
            raise NotWholeError(f"{self.blob.size - self.bytes_here} bytes of {self.blob.sha256[:12]} are missing")
        with self._hashing:
            while self._hashed < self.tree.geometry.chunks:
                self._hash_next()
                done(min(self._hashed * CHUNK_BYTES, self.blob.size))
            done(self.blob.size)
            return self._digest.hexdigest()

    def sync(self) -> None:
        """Force out what was written, then the bitmap that claims it.  Raises DiskFullError, StoreWriteError."""
        if self._syncing.acquire(
            blocking=False
        ):  # else another thread is at it; what came since is claimed by the next
            try:
                self._force_out()
            finally:
                self._syncing.release()

    def close(self) -> None:
        """Force out what was written and let go of the files: whatever reads or writes afterwards fails."""
        with self._syncing:
            try:
                self._force_out()
            finally:
                descriptors = {self._data, self._pages} - {CLOSED}
                self._data = self._pages = CLOSED
                for descriptor in descriptors:
                    os.close(descriptor)

    def _force_out(self) -> None:
        if self._data == CLOSED:
            return
        with self._lock:
            claimed = bytes(self._have)
            self._unsynced_bytes, self._synced_at = 0, self._clock()
        with writing(self.path):
            os.fdatasync(self._pages)
            os.fdatasync(self._data)
        bitmap = open_for_update(self._have_path)
        try:
            with writing(self._have_path):
                _write_all_at(bitmap, claimed, 0)
                os.fdatasync(bitmap)
        finally:
            os.close(bitmap)

    def _read_tree(self, root: bytes) -> KnownTree:
        tree = KnownTree(self.blob.size, root)
        pages = tree.geometry.pages
        most = sum(pages) * (PAGE_BYTES + len(record(PageId(0, 0), b"")))
        data = b""
        if self._tree_path.is_symlink() or self._tree_path.exists():
            with open_regular(self._tree_path) as file:
                data = file.read(most)
        tree = KnownTree.load(self.blob.size, root, data)
        whole = tree.to_bytes()
        if whole != data:  # a power cut left something half-written
            write_atomically(self._tree_path, whole)
        self._pages_end = len(whole)
        return tree

    def _reserve(self) -> int:
        descriptor = open_for_update(self.path)
        try:
            with writing(self.path):
                os.ftruncate(descriptor, self.blob.size)
                if self.blob.size:
                    os.posix_fallocate(descriptor, 0, self.blob.size)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _written(self) -> list[int]:
        """Find the chunks where something was written; the file system knows which parts of the file it never was."""
        found: list[int] = []
        at = 0
        with writing(self.path):
            while at < self.blob.size:
                try:
                    begin = os.lseek(self._data, at, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:
                        break
                    raise
                at = os.lseek(self._data, begin, os.SEEK_HOLE)
                first = max(begin // CHUNK_BYTES, found[-1] + 1 if found else 0)
                found += range(first, -(-min(at, self.blob.size) // CHUNK_BYTES))
        return found

    def _take_if_right(self, index: int) -> bool:
        try:
            data = self._read(index)
        except CorruptStoreError as error:  # it comes anew, and writing may heal the sector
            log.warning("a chunk is not there any more: %s", error)
            return False
        return self.tree.fits_chunk(index, data) and self._note(index)

    def _note(self, index: int) -> bool:
        with self._lock:
            if self.has(index):
                return False
            self._have[index // 8] |= 1 << index % 8
            size = self.tree.geometry.chunk_bytes(index)
            self._bytes_here += size
            self._unsynced_bytes += size
        self._hash_on()
        return True

    def _hash_on(self) -> None:
        if self._hash_at_end or not self._hashing.acquire(blocking=False):  # else another thread is at it
            return
        try:
            for _ in range(HASHED_AT_ONCE):
                if self.has(self._hashed):
                    self._hash_next()
        except CorruptStoreError as error:  # no reason not to take what comes, nor to try it each time
            log.warning("a chunk cannot be read back, and is tried again at the end: %s", error)
            self._hash_at_end = True
        finally:
            self._hashing.release()

    def _hash_next(self) -> None:
        self._digest.update(self._read(self._hashed))
        self._hashed += 1

    def _read(self, index: int) -> bytes:
        try:
            return os.pread(self._data, self.tree.geometry.chunk_bytes(index), index * CHUNK_BYTES)
        except OSError as error:
            raise CorruptStoreError(f"cannot read {self.path}: {error.strerror}") from error


def claimed_bytes(directory: Path, blob: Blob) -> int:
    """Say how much of a blob its bitmap claims, without looking at the data.  Raises CorruptStoreError."""
    geometry = Geometry(blob.size)
    if not (directory / f"{blob.sha256}.have").exists():
        return 0  # nothing was forced out yet
    with open_regular(directory / f"{blob.sha256}.have") as file:
        claimed = int.from_bytes(file.read(-(-geometry.chunks // 8)), "little")
    claimed &= (1 << geometry.chunks) - 1
    last = geometry.chunks - 1
    has_last = last >= 0 and claimed >> last & 1
    return claimed.bit_count() * CHUNK_BYTES - (CHUNK_BYTES - geometry.chunk_bytes(last) if has_last else 0)


def _write_all_at(descriptor: int, data: Bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written
