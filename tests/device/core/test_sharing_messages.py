"""What neighbours say to each other about models on their way: what is written is read back, all else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core import query_messages
from device.core.sharing_messages import (
    MAX_BITMAP_BYTES,
    MAX_BLOBS,
    MAX_CHUNK_INDEX,
    MAX_HOLDING_BYTES,
    MAX_LEVEL,
    MAX_WANTED_CHUNKS,
    REASONS,
    SHARING_KINDS,
    GiveChunk,
    GiveHolding,
    GivePage,
    GiveRelease,
    Refused,
    SharingMessage,
    WantChunks,
    WantHolding,
    WantPage,
    WantRelease,
    parse_message,
)
from device.errors import NeighbourMisbehavedError
from mesh.core.codec import Item, encode
from mesh.core.envelope import BULK_KINDS, MAX_BODY_BYTES
from models.core.hash_tree import CHUNK_BYTES, PAGE_BYTES
from models.core.release import MAX_RELEASE_BYTES

MODEL, BLOB = "0f" * 32, "f0" * 32
RAW = bytes.fromhex(MODEL)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
indexes = st.integers(0, MAX_CHUNK_INDEX)
messages = st.one_of(
    st.builds(WantRelease, digests),
    st.builds(GiveRelease, st.binary(min_size=1, max_size=100)),
    st.builds(WantHolding, digests),
    st.builds(GiveHolding, st.dictionaries(digests, st.none() | st.binary(max_size=20), max_size=MAX_BLOBS)),
    st.builds(
        WantChunks,
        digests,
        digests,
        st.lists(indexes, min_size=1, max_size=MAX_WANTED_CHUNKS, unique=True).map(tuple),
    ),
    st.builds(GiveChunk, indexes, st.binary(min_size=1, max_size=100)),
    st.builds(WantPage, digests, digests, st.integers(0, MAX_LEVEL), indexes),
    st.builds(GivePage, st.integers(1, 1024).map(lambda count: bytes(32 * count))),
    st.builds(Refused, st.sampled_from(REASONS), st.none() | indexes),
)


@given(messages)
def test_what_is_written_is_read_back(message: SharingMessage) -> None:
    """Every message survives the wire unchanged."""
    assert parse_message(message.KIND, message.to_body()) == message


def test_the_largest_are_read_back() -> None:
    """Each fits a frame."""
    bitmap = b"\xff" * MAX_BITMAP_BYTES
    for message in (
        GiveRelease(bytes(MAX_RELEASE_BYTES)),
        GiveHolding({MODEL: bitmap, BLOB: bitmap}),
        WantChunks(MODEL, BLOB, tuple(range(MAX_CHUNK_INDEX - MAX_WANTED_CHUNKS, MAX_CHUNK_INDEX))),
        GiveChunk(MAX_CHUNK_INDEX, bytes(CHUNK_BYTES)),
        GivePage(bytes(PAGE_BYTES)),
    ):
        assert len(message.to_body()) <= MAX_BODY_BYTES
        assert parse_message(message.KIND, message.to_body()) == message


def test_a_bitmap_that_is_too_long_is_left_out() -> None:
    """Whoever holds a part of so large a blob says nothing of it."""
    told = GiveHolding({MODEL: bytes(MAX_BITMAP_BYTES + 1), BLOB: None})
    assert parse_message(told.KIND, told.to_body()) == GiveHolding({BLOB: None})


def test_all_kinds_are_bulk_kinds() -> None:
    """And a question's are none."""
    assert set(BULK_KINDS) >= SHARING_KINDS
    assert not set(BULK_KINDS) & set(query_messages._KINDS)
    assert parse_message(63, b"") is None
    assert parse_message(17, b"") is None


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (32, []),
        (32, [RAW[:31]]),
        (32, [RAW, RAW]),
        (34, [RAW.hex()]),
        (35, [[RAW]]),
        (35, [[RAW[:31], None]]),
        (35, [[RAW, 1]]),
        (35, [[RAW, bytes(MAX_BITMAP_BYTES + 1)]]),
        (35, [[RAW, None], [RAW, None]]),
        (35, [[bytes([n]) + RAW[1:], None] for n in range(MAX_BLOBS + 1)]),
        (36, [RAW, RAW]),
        (36, [RAW, RAW, 0]),
        (36, [RAW, RAW, []]),
        (36, [RAW, RAW, [-1]]),
        (36, [RAW, RAW, [True]]),
        (36, [RAW, RAW, [0, 0]]),
        (36, [RAW, RAW, [0, "1"]]),
        (36, [RAW, RAW, [MAX_CHUNK_INDEX + 1]]),
        (36, [RAW, RAW, list(range(MAX_WANTED_CHUNKS + 1))]),
        (36, [RAW, RAW[1:], [0]]),
        (38, [RAW, RAW, MAX_LEVEL + 1, 0]),
        (38, [RAW, RAW, 0, MAX_CHUNK_INDEX + 1]),
        (38, [RAW, RAW, 0]),
        (40, ["tired"]),
        (40, []),
        (40, [0]),
        (40, ["busy", "busy"]),
        (40, ["busy", True]),
        (40, ["busy", MAX_CHUNK_INDEX + 1]),
        (40, ["busy", 0, 0]),
    ],
)
def test_what_is_none_of_its_kind_is_refused(kind: int, fields: list[Item]) -> None:
    """Types, lengths, numbers."""
    with pytest.raises(NeighbourMisbehavedError):
        parse_message(kind, encode(fields))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (32, b"\xff"),
        (33, b""),
        (33, bytes(MAX_RELEASE_BYTES + 1)),
        (35, encode([bytes(MAX_HOLDING_BYTES)])),
        (35, encode([[]] * 100)),
        (37, b""),
        (37, bytes(4)),
        (37, bytes(4 + CHUNK_BYTES + 1)),
        (39, bytes(31)),
        (39, bytes(PAGE_BYTES + 32)),
        (40, b""),
    ],
)
def test_bytes_beyond_the_bounds_are_refused(kind: int, body: bytes) -> None:
    """Before anything is made of them."""
    with pytest.raises(NeighbourMisbehavedError):
        parse_message(kind, body)
