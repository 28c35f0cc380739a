"""Hash trees over blobs: by them a chunk is checked by itself, and the hashes themselves come and are checked in parts.

    chunk      256 KiB of a blob; the last one may be shorter
    leaf       SHA-256(0x00, chunk)
    page       up to 1024 consecutive hashes of one level, concatenated: at most 32 KiB
    level 0    the leaves; level n + 1: SHA-256(0x01, page) of every page of level n, in order
    root       the hash of the top level's one page; the top level is the first that fits one page

The first byte keeps chunks and pages apart: no chunk passes for a page.  A blob's size is part of what is promised with
its root, so the shape of its tree is never taken from whoever sends it.  A blob of 5 GB has 19,074 leaves in 19 pages,
and one page above them.  A blob of no bytes has no pages; its root is the hash of an empty page.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from models.core.manifest import MAX_BLOB_BYTES
from models.errors import ChecksumMismatchError

CHUNK_BYTES: Final = 256 * 1024
HASH_BYTES: Final = 32
PAGE_HASHES: Final = 1024
PAGE_BYTES: Final = PAGE_HASHES * HASH_BYTES
_HEAD_BYTES: Final = 5  # before each page that is written down: its level (1 byte) and its index (4, big endian)

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class PageId:
    """Where a page stands; level 0 holds the leaves."""

    level: int
    index: int


def leaf_hash(chunk: Bytes) -> bytes:
    """Return the hash of a chunk."""
    digest = hashlib.sha256(b"\0")
    digest.update(chunk)
    return digest.digest()


def page_hash(page: Bytes) -> bytes:
    """Return the hash of a page."""
    digest = hashlib.sha256(b"\1")
    digest.update(page)
    return digest.digest()


@dataclass(frozen=True)
class Geometry:
    """How a blob of `size` bytes is cut, and what shape its tree has.  Raises ValueError for a size out of range."""

    size: int

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_BLOB_BYTES:
            raise ValueError(f"a blob of {self.size} bytes")

    @property
    def chunks(self) -> int:
        """How many chunks the blob has."""
        return -(-self.size // CHUNK_BYTES)

    @cached_property
    def hashes(self) -> tuple[int, ...]:
        """How many hashes each level has, the leaves first; there is always a level, if need be of none."""
        counts = [self.chunks]
        while counts[-1] > PAGE_HASHES:
            counts.append(-(-counts[-1] // PAGE_HASHES))
        return tuple(counts)

    @property
    def levels(self) -> int:
        """How many levels the tree has: 1 to 3."""
        return len(self.hashes)

    @cached_property
    def pages(self) -> tuple[int, ...]:
        """How many pages each level has, the leaves' first."""
        return tuple(-(-count // PAGE_HASHES) for count in self.hashes)

    def chunk_bytes(self, index: int) -> int:
        """Return the length of a chunk; 0 for one that the blob does not have."""
        return min(CHUNK_BYTES, self.size - index * CHUNK_BYTES) if 0 <= index < self.chunks else 0

    def page_bytes(self, page: PageId) -> int:
        """Return the length of a page; 0 for one that the tree does not have."""
        if not (0 <= page.level < self.levels and 0 <= page.index < self.pages[page.level]):
            return 0
        return HASH_BYTES * min(PAGE_HASHES, self.hashes[page.level] - page.index * PAGE_HASHES)

    def page_ids(self) -> Iterator[PageId]:
        """Every page, each after the one that its hash is in."""
        for level in reversed(range(self.levels)):
            for index in range(self.pages[level]):
                yield PageId(level, index)

    def chunks_under(self, page: PageId) -> range:
        """Say which chunks are checked by means of a page."""
        each = PAGE_HASHES ** (page.level + 1)
        return range(min(page.index * each, self.chunks), min((page.index + 1) * each, self.chunks))


EMPTY_ROOT: Final = page_hash(b"")


class KnownTree:
    """What is known of one blob's tree: at first its root, then every page that was shown to belong to it.

    Pages come from the top down, in any order in which the one above is there already; nothing else is taken.
    Raises ValueError for a size out of range, ChecksumMismatchError for an empty blob with another root than its own.
    """

    def __init__(self, size: int, root: bytes) -> None:
        self.geometry = Geometry(size)
        self.root = root
        self._pages: dict[PageId, bytes] = {}
        if size == 0 and root != EMPTY_ROOT:
            raise ChecksumMismatchError("a blob of no bytes is promised with the root of another")

    @classmethod
    def of_leaves(cls, size: int, leaves: Iterable[bytes]) -> "KnownTree":
        """Compute the whole tree of a blob from its chunks' hashes, in order.

        It takes 32 bytes a chunk and a thousandth more.  Raises ValueError unless there is a hash for every chunk.
        """
        geometry = Geometry(size)
        pages: dict[PageId, bytes] = {}
        level = b"".join(leaves)
        if len(level) != geometry.chunks * HASH_BYTES:
            raise ValueError(f"{len(level)} bytes of hashes for {geometry.chunks} chunks")
        above: list[bytes] = []
        for number, count in enumerate(geometry.pages):
            cut = [level[at * PAGE_BYTES : (at + 1) * PAGE_BYTES] for at in range(count)]
            pages |= {PageId(number, at): page for at, page in enumerate(cut)}
            above = [page_hash(page) for page in cut]
            level = b"".join(above)
        tree = cls(size, above[0] if above else EMPTY_ROOT)
        tree._pages = pages
        return tree

    @classmethod
    def load(cls, size: int, root: bytes, data: bytes) -> "KnownTree":
        """Read what `to_bytes` or records one after another wrote, and check it as if it came from a stranger.

        Reading ends at the first record that is cut short or wrong; what stands before it is known.
        """
        tree = cls(size, root)
        at = 0
        while at + _HEAD_BYTES <= len(data):
            page = PageId(data[at], int.from_bytes(data[at + 1 : at + _HEAD_BYTES], "big"))
            end = at + _HEAD_BYTES + tree.geometry.page_bytes(page)
            if not tree.fits_page(page, data[at + _HEAD_BYTES : end]):
                break
            tree._pages[page] = data[at + _HEAD_BYTES : end]
            at = end
        return tree

    def to_bytes(self) -> bytes:
        """Write the pages that are known, for `load`."""
        return b"".join(record(page, self._pages[page]) for page in self.geometry.page_ids() if page in self._pages)

    @property
    def is_complete(self) -> bool:
        """Whether every chunk can be checked."""
        return len(self._pages) == sum(self.geometry.pages)

    @property
    def known(self) -> frozenset[PageId]:
        """The pages that are known."""
        return frozenset(self._pages)

    def page(self, page: PageId) -> bytes | None:
        """Return a page, if it is known."""
        return self._pages.get(page)

    def leaf(self, chunk: int) -> bytes | None:
        """Return the hash that a chunk must have, if it is known."""
        return self._hash_at(0, chunk)

    def fits_page(self, page: PageId, data: bytes) -> bool:
        """Whether these are a page's bytes, as far as can be told: not while the page above it is unknown."""
        expected = self._expected(page)
        return expected is not None and len(data) == self.geometry.page_bytes(page) and page_hash(data) == expected

    def fits_chunk(self, index: int, data: Bytes) -> bool:
        """Whether these are a chunk's bytes, as far as can be told: not while its leaf is unknown."""
        expected = self.leaf(index)
        return expected is not None and len(data) == self.geometry.chunk_bytes(index) and leaf_hash(data) == expected

    def add_page(self, page: PageId, data: bytes) -> None:
        """Take a page that came from anywhere.

        Raises ChecksumMismatchError when it does not belong there, or the page above it is not known; what is known
        stays as it was.
        """
        if not self.fits_page(page, data):
            raise ChecksumMismatchError(f"page {page.index} of level {page.level} is not what the tree says of it")
        self._pages[page] = bytes(data)

    def _expected(self, page: PageId) -> bytes | None:
        if self.geometry.page_bytes(page) == 0:
            return None
        return self.root if page.level == self.geometry.levels - 1 else self._hash_at(page.level + 1, page.index)

    def _hash_at(self, level: int, index: int) -> bytes | None:
        page = self._pages.get(PageId(level, index // PAGE_HASHES))
        at = index % PAGE_HASHES * HASH_BYTES
        return page[at : at + HASH_BYTES] or None if page is not None else None


def record(page: PageId, data: bytes) -> bytes:
    """Write one page down so that `KnownTree.load` reads it, after the record of the page above it."""
    return bytes([page.level]) + page.index.to_bytes(4, "big") + data
