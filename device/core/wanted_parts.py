"""The parts of a model that is being fetched, numbered, so that sets of them are bitmaps: Python's own integers.

The pages of all trees have the lowest numbers, each tree's top page first; the chunks follow, in the blobs' order.  A
part can be asked for once the page that it is checked by is here.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from models.core.hash_tree import CHUNK_BYTES, PAGE_HASHES, Geometry, PageId


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a blob: the blob's SHA-256 in hexadecimal, the chunk's number."""

    blob: str
    index: int


@dataclass(frozen=True, slots=True)
class TreePage:
    """A page of a blob's hash tree."""

    blob: str
    level: int
    index: int


Part = Chunk | TreePage
Holding = Mapping[str, bytes | None]


@dataclass(frozen=True)
class WantedBlob:
    """A blob to be fetched, and what of it is here: a bitmap of chunks (as in a holding), and the pages known."""

    sha256: str
    size: int
    have: bytes = b""
    pages: Collection[PageId] = ()


@dataclass(frozen=True)
class _Place:
    """Where the numbers of one blob begin: of its chunks, and of each level of its tree, the leaves' first."""

    sha256: str
    geometry: Geometry
    chunks_at: int
    levels_at: tuple[int, ...]


class WantedParts:
    """Which parts there are, which are missing, and which of those can be asked for."""

    def __init__(self, blobs: Sequence[WantedBlob]) -> None:
        self._places: dict[str, _Place] = {}
        self._pages: list[TreePage] = []
        geometries = {blob.sha256: Geometry(blob.size) for blob in blobs}
        chunks_at = sum(sum(geometry.pages) for geometry in geometries.values())
        self.page_bits: Final = _run(0, chunks_at)
        for sha256, geometry in geometries.items():
            at = len(self._pages)
            levels_at = tuple(at + sum(geometry.pages[level + 1 :]) for level in range(geometry.levels))
            self._pages += [TreePage(sha256, page.level, page.index) for page in geometry.page_ids()]
            self._places[sha256] = _Place(sha256, geometry, chunks_at, levels_at)
            chunks_at += geometry.chunks
        self.count: Final = chunks_at
        self._other_sizes = {number: self._size_of_page(page) for number, page in enumerate(self._pages)}
        for place in self._places.values():
            if place.geometry.chunks:
                last = place.geometry.chunks - 1  # which may be short
                self._other_sizes[place.chunks_at + last] = place.geometry.chunk_bytes(last)
        self.bytes_total: Final = sum(geometry.size for geometry in geometries.values())
        self.bytes_here = 0
        self.missing = _run(0, self.count)
        self._checkable = 0
        for place in self._places.values():
            self._checkable |= _run(place.levels_at[-1], place.geometry.pages[-1])
        for blob in blobs:
            for page in blob.pages:
                self.take(self._number_of_page(self._places[blob.sha256], page))
            for number in ones(self.held({blob.sha256: blob.have}) & ~self.page_bits):
                self.take(number)

    @property
    def askable(self) -> int:
        """The missing parts that can be checked when they come."""
        return self.missing & self._checkable

    @property
    def is_done(self) -> bool:
        """Whether every chunk is here."""
        return self.missing & ~self.page_bits == 0

    def number(self, part: Part) -> int | None:
        """Return a part's number; None for one that there is not."""
        place = self._places.get(part.blob)
        if place is None:
            return None
        if isinstance(part, Chunk):
            return place.chunks_at + part.index if 0 <= part.index < place.geometry.chunks else None
        page = PageId(part.level, part.index)
        return self._number_of_page(place, page) if place.geometry.page_bytes(page) else None

    def part(self, number: int) -> Part:
        """Return the part of a number."""
        if number < len(self._pages):
            return self._pages[number]
        place = self._place(number)
        return Chunk(place.sha256, number - place.chunks_at)

    def size(self, number: int) -> int:
        """How many bytes a part has."""
        return self._other_sizes.get(number, CHUNK_BYTES)

    def take(self, number: int) -> bool:
        """Note that a part is here; return whether it was missing."""
        if not self.missing >> number & 1:
            return False
        self.missing ^= 1 << number
        if number >= len(self._pages):
            self.bytes_here += self.size(number)
            return True
        page = self._pages[number]
        place = self._places[page.blob]
        below = place.geometry.hashes[page.level]
        first = page.index * PAGE_HASHES
        at = place.levels_at[page.level - 1] if page.level else place.chunks_at
        self._checkable |= _run(at + first, min(PAGE_HASHES, below - first))
        return True

    def held(self, holding: Holding) -> int:
        """Return the bitmap of what a source can give that says it holds this; what is not wanted is left out."""
        found = 0
        for sha256, bitmap in holding.items():
            place = self._places.get(sha256)
            if place is None:
                continue
            chunks = place.geometry.chunks
            if bitmap is None:
                found |= _run(place.chunks_at, chunks) | _run(place.levels_at[-1], sum(place.geometry.pages))
                continue
            bits = int.from_bytes(bitmap[: -(-chunks // 8)], "little") & _run(0, chunks)
            found |= bits << place.chunks_at
            held = [any(bitmap[at : at + PAGE_HASHES // 8]) for at in range(0, -(-chunks // 8), PAGE_HASHES // 8)]
            for level_at in place.levels_at:
                found |= sum(1 << level_at + index for index, one in enumerate(held) if one)
                held = [any(held[at : at + PAGE_HASHES]) for at in range(0, len(held), PAGE_HASHES)]
        return found

    def _place(self, number: int) -> _Place:
        *others, found = self._places.values()
        for place in others:
            if number < place.chunks_at + place.geometry.chunks:
                return place
        return found

    def _size_of_page(self, page: TreePage) -> int:
        return self._places[page.blob].geometry.page_bytes(PageId(page.level, page.index))

    def _number_of_page(self, place: _Place, page: PageId) -> int:
        return place.levels_at[page.level] + page.index


def _run(first: int, count: int) -> int:
    """Return a bitmap of consecutive numbers."""
    return ((1 << count) - 1) << first


def ones(bits: int) -> Iterator[int]:
    """Return the numbers in a bitmap, in order."""
    for at, byte in enumerate(bits.to_bytes(-(-bits.bit_length() // 8), "little")):
        for bit in range(8):
            if byte >> bit & 1:
                yield 8 * at + bit


def draw(bits: int, start: int) -> int:
    """Return the first number of a bitmap from `start` on, or of all where none follows; the bitmap is not empty."""
    onward = bits >> start
    lowest = onward & -onward
    return start + lowest.bit_length() - 1 if onward else (bits & -bits).bit_length() - 1
