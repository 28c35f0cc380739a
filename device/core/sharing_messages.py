"""What nodes say to each other about models on their way, inside sealed bulk messages: nine kinds.

| kind | name         | body                                                               | re         |
|------|--------------|--------------------------------------------------------------------|------------|
| 32   | WANT_RELEASE | [model]                                                            |            |
| 33   | GIVE_RELEASE | the release, as its publisher signed it (models/core/release.py)   | the WANT   |
| 34   | WANT_HOLDING | [model]                                                            |            |
| 35   | GIVE_HOLDING | [[blob, bitmap or null]…]; null: all of it                         | the WANT   |
| 36   | WANT_CHUNKS  | [model, blob, [index…]], 1 to 16 of them; each is answered by itself |            |
| 37   | GIVE_CHUNK   | its index, 4 bytes, big endian, and the chunk                      | the WANT   |
| 38   | WANT_PAGE    | [model, blob, level, index]                                        |            |
| 39   | GIVE_PAGE    | the page of the blob's hash tree (models/core/hash_tree.py)        | the WANT   |
| 40   | REFUSED      | [reason], or [reason, index] for one chunk of several              | the WANT   |

model and blob are digests of 32 bytes; chunk n has bit n % 8 (1, 2, 4 …) of the bitmap's byte n // 8.  Releases, chunks
and pages are bare bytes, whose worth shows when they are checked; everything else is an array.  Any WANT may be asked
again when no answer comes; the answers to both are alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

from device.core.question_items import all_of
from device.errors import NeighbourMisbehavedError
from mesh.core.codec import Item, decode_array, encode
from mesh.errors import MalformedError
from models.core.hash_tree import CHUNK_BYTES, HASH_BYTES, PAGE_BYTES, Bytes
from models.core.manifest import MAX_BLOB_BYTES, ROLES
from models.core.release import MAX_RELEASE_BYTES

DIGEST_BYTES: Final = 32
MAX_BITMAP_BYTES: Final = 128 * 1024  # a million chunks, 275 GB; a larger blob is told of only when all of it is here
MAX_BLOBS: Final = len(ROLES)
MAX_CHUNK_INDEX: Final = MAX_BLOB_BYTES // CHUNK_BYTES
MAX_LEVEL: Final = 2  # of the greatest blob's tree
MAX_WANT_BYTES: Final = 256
MAX_WANTED_CHUNKS: Final = 16
MAX_HOLDING_BYTES: Final = MAX_BLOBS * (MAX_BITMAP_BYTES + 64)
INDEX_BYTES: Final = 4
MAX_ITEMS: Final = 4 + MAX_WANTED_CHUNKS  # more than a holding's 1 + 3 * MAX_BLOBS

Reason = Literal["not_shared", "not_here", "busy", "no_such_chunk"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


@dataclass(frozen=True)
class WantRelease:
    """Asks for what the publisher of a model signed."""

    KIND: ClassVar[int] = 32
    model: str

    def to_body(self) -> bytes:
        """Write the body."""
        return encode([bytes.fromhex(self.model)])


@dataclass(frozen=True)
class GiveRelease:
    """A release, unread and unchecked."""

    KIND: ClassVar[int] = 33
    data: bytes

    def to_body(self) -> bytes:
        """Write the body."""
        return self.data


@dataclass(frozen=True)
class WantHolding:
    """Asks which chunks of a model a node has."""

    KIND: ClassVar[int] = 34
    model: str

    def to_body(self) -> bytes:
        """Write the body."""
        return encode([bytes.fromhex(self.model)])


@dataclass(frozen=True)
class GiveHolding:
    """Which chunks of each blob a node has; None: all of them."""

    KIND: ClassVar[int] = 35
    blobs: Mapping[str, bytes | None]

    def to_body(self) -> bytes:
        """Write the body; blobs whose bitmap would be too long are left out."""
        told: list[Item] = [
            [bytes.fromhex(blob), bitmap]
            for blob, bitmap in self.blobs.items()
            if bitmap is None or len(bitmap) <= MAX_BITMAP_BYTES
        ]
        return encode(told)


@dataclass(frozen=True)
class WantChunks:
    """Asks for chunks of a blob, at most MAX_WANTED_CHUNKS, each once; there is an answer to each."""

    KIND: ClassVar[int] = 36
    model: str
    blob: str
    indexes: tuple[int, ...]

    def to_body(self) -> bytes:
        """Write the body."""
        return encode([bytes.fromhex(self.model), bytes.fromhex(self.blob), list(self.indexes)])


@dataclass(frozen=True)
class GiveChunk:
    """A chunk, unchecked."""

    KIND: ClassVar[int] = 37
    index: int
    data: Bytes

    def to_body(self) -> bytes:
        """Write the body."""
        return b"".join((self.index.to_bytes(INDEX_BYTES, "big"), self.data))


@dataclass(frozen=True)
class WantPage:
    """Asks for a page of a blob's hash tree; level 0 holds the leaves."""

    KIND: ClassVar[int] = 38
    model: str
    blob: str
    level: int
    index: int

    def to_body(self) -> bytes:
        """Write the body."""
        return encode([bytes.fromhex(self.model), bytes.fromhex(self.blob), self.level, self.index])


@dataclass(frozen=True)
class GivePage:
    """A page of a hash tree, unchecked."""

    KIND: ClassVar[int] = 39
    data: bytes

    def to_body(self) -> bytes:
        """Write the body."""
        return self.data


@dataclass(frozen=True)
class Refused:
    """There will be no other answer, and why; `index`: of chunks that were asked for, only this one is refused."""

    KIND: ClassVar[int] = 40
    reason: Reason
    index: int | None = None

    def to_body(self) -> bytes:
        """Write the body."""
        return encode([self.reason] if self.index is None else [self.reason, self.index])


Want = WantRelease | WantHolding | WantChunks | WantPage
Given = GiveRelease | GiveHolding | GiveChunk | GivePage | Refused
SharingMessage = Want | Given


def parse_message(kind: int, body: bytes) -> SharingMessage | None:
    """Read a neighbour's message; None for a kind this version does not know.

    Raises NeighbourMisbehavedError for a body that is none of its kind.
    """
    try:
        message = _bare(kind, body) if kind in _BARE else _array(kind, body)
    except MalformedError as error:
        raise NeighbourMisbehavedError(f"a message of kind {kind}: {error}") from error
    if message is None and (kind in _BARE or kind in _ARRAYS):
        raise NeighbourMisbehavedError(f"a message of kind {kind} that is none")
    return message


def _bare(kind: int, body: bytes) -> SharingMessage | None:
    most, step, build = _BARE[kind]
    return build(body) if 0 < len(body) <= most and len(body) % step == 0 else None


def _array(kind: int, body: bytes) -> SharingMessage | None:
    if kind not in _ARRAYS:
        return None
    most, parse = _ARRAYS[kind]
    return parse(decode_array(body, max_bytes=most, max_items=MAX_ITEMS))


def _want_release(fields: list[Item]) -> WantRelease | None:
    match fields:
        case [bytes(model)] if len(model) == DIGEST_BYTES:
            return WantRelease(model.hex())
    return None


def _want_holding(fields: list[Item]) -> WantHolding | None:
    match fields:
        case [bytes(model)] if len(model) == DIGEST_BYTES:
            return WantHolding(model.hex())
    return None


def _want_chunks(fields: list[Item]) -> WantChunks | None:
    match fields:
        case [bytes(model), bytes(blob), list(items)] if len(model) == len(blob) == DIGEST_BYTES:
            indexes = [item for item in items if type(item) is int and 0 <= item <= MAX_CHUNK_INDEX]
            if 0 < len(items) <= MAX_WANTED_CHUNKS and len(set(indexes)) == len(items):
                return WantChunks(model.hex(), blob.hex(), tuple(indexes))
    return None


def _chunk(body: bytes) -> GiveChunk | None:
    index = int.from_bytes(body[:INDEX_BYTES], "big")
    return GiveChunk(index, memoryview(body)[INDEX_BYTES:]) if len(body) > INDEX_BYTES else None


def _want_page(fields: list[Item]) -> WantPage | None:
    match fields:
        case [bytes(model), bytes(blob), int(level), int(index)] if (
            len(model) == len(blob) == DIGEST_BYTES
            and _is_count(level, MAX_LEVEL)
            and _is_count(index, MAX_CHUNK_INDEX)
        ):
            return WantPage(model.hex(), blob.hex(), level, index)
    return None


def _holding(fields: list[Item]) -> GiveHolding | None:
    if len(fields) > MAX_BLOBS:
        return None
    told = dict(all_of([_blob(item) for item in fields]))
    return GiveHolding(told) if len(told) == len(fields) else None


def _blob(item: Item) -> tuple[str, bytes | None] | None:
    match item:
        case [bytes(blob), None] if len(blob) == DIGEST_BYTES:
            return blob.hex(), None
        case [bytes(blob), bytes(bitmap)] if len(blob) == DIGEST_BYTES and len(bitmap) <= MAX_BITMAP_BYTES:
            return blob.hex(), bitmap
    return None


def _refused(fields: list[Item]) -> Refused | None:
    match fields:
        case [str(text), *rest] if text in REASONS:
            reason = next(reason for reason in REASONS if reason == text)
            match rest:
                case []:
                    return Refused(reason)
                case [int(index)] if _is_count(index, MAX_CHUNK_INDEX):
                    return Refused(reason, index)
    return None


def _is_count(value: int, top: int) -> bool:
    return type(value) is int and 0 <= value <= top


_BARE: Final[Mapping[int, tuple[int, int, Callable[[bytes], SharingMessage | None]]]] = {
    GiveRelease.KIND: (MAX_RELEASE_BYTES, 1, GiveRelease),
    GiveChunk.KIND: (INDEX_BYTES + CHUNK_BYTES, 1, _chunk),
    GivePage.KIND: (PAGE_BYTES, HASH_BYTES, GivePage),
}
_ARRAYS: Final[Mapping[int, tuple[int, Callable[[list[Item]], SharingMessage | None]]]] = {
    WantRelease.KIND: (MAX_WANT_BYTES, _want_release),
    WantHolding.KIND: (MAX_WANT_BYTES, _want_holding),
    GiveHolding.KIND: (MAX_HOLDING_BYTES, _holding),
    WantChunks.KIND: (MAX_WANT_BYTES, _want_chunks),
    WantPage.KIND: (MAX_WANT_BYTES, _want_page),
    Refused.KIND: (MAX_WANT_BYTES, _refused),
}
SHARING_KINDS: Final = frozenset({*_BARE, *_ARRAYS})
