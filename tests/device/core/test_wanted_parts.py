"""Parts and their numbers, how many hold them, and which can be asked for."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.rarity import Rarity
from device.core.wanted_parts import Chunk, TreePage, WantedBlob, WantedParts, draw, ones
from models.core.hash_tree import CHUNK_BYTES, PAGE_BYTES, PAGE_HASHES, PageId

TALL, SMALL = "aa" * 32, "bb" * 32
TALL_CHUNKS = PAGE_HASHES + 3
BLOBS = (WantedBlob(TALL, TALL_CHUNKS * CHUNK_BYTES), WantedBlob(SMALL, CHUNK_BYTES + 7))
TOP, LEFT, RIGHT = TreePage(TALL, 1, 0), TreePage(TALL, 0, 0), TreePage(TALL, 0, 1)
bitmaps = st.integers(0, 2**70 - 1)


def bits(parts: WantedParts, *wanted: Chunk | TreePage) -> int:
    """Return the bitmap of parts."""
    found = 0
    for part in wanted:
        number = parts.number(part)
        assert number is not None
        found |= 1 << number
    return found


def test_every_part_has_a_number() -> None:
    """Pages first, the top before the leaves; sizes are those of the trees."""
    parts = WantedParts(BLOBS)
    assert [parts.part(number) for number in ones(parts.page_bits)] == [TOP, LEFT, RIGHT, TreePage(SMALL, 0, 0)]
    assert all(parts.number(parts.part(number)) == number for number in range(parts.count))
    assert parts.part(4) == Chunk(TALL, 0)
    assert parts.part(parts.count - 1) == Chunk(SMALL, 1)
    assert [parts.size(number) for number in (0, 1, 2, 4, parts.count - 1)] == [64, PAGE_BYTES, 96, CHUNK_BYTES, 7]
    assert parts.bytes_total == (TALL_CHUNKS + 1) * CHUNK_BYTES + 7


@pytest.mark.parametrize(
    "part",
    [
        Chunk("cc" * 32, 0),
        Chunk(SMALL, 2),
        Chunk(SMALL, -1),
        TreePage(SMALL, 1, 0),
        TreePage(TALL, 0, 2),
        TreePage(TALL, -1, 0),
    ],
)
def test_what_is_no_part_has_no_number(part: Chunk | TreePage) -> None:
    """Whoever sends it."""
    assert WantedParts(BLOBS).number(part) is None


def test_parts_can_be_asked_for_from_the_top() -> None:
    """A page once the one above is here, a chunk once its page is."""
    parts = WantedParts(BLOBS)
    assert parts.askable == bits(parts, TOP, TreePage(SMALL, 0, 0))
    assert parts.take(0)
    assert not parts.take(0)
    assert parts.askable == bits(parts, LEFT, RIGHT, TreePage(SMALL, 0, 0))
    parts.take(2)
    right = [Chunk(TALL, index) for index in range(PAGE_HASHES, TALL_CHUNKS)]
    assert parts.askable == bits(parts, LEFT, TreePage(SMALL, 0, 0), *right)
    parts.take(parts.number(right[0]) or -1)
    assert parts.askable == bits(parts, LEFT, TreePage(SMALL, 0, 0), *right[1:])
    assert parts.bytes_here == CHUNK_BYTES


def test_it_is_done_when_every_chunk_is_here() -> None:
    """Also when they were here from the start; a blob of no bytes needs nothing."""
    small = WantedBlob(SMALL, CHUNK_BYTES + 7, bytes([0b11]), (PageId(0, 0),))
    for both in ([small, WantedBlob(TALL, 0)], [WantedBlob(TALL, 0), small]):
        parts = WantedParts(both)
        assert (parts.is_done, parts.bytes_here, parts.bytes_total) == (True, CHUNK_BYTES + 7, CHUNK_BYTES + 7)
    assert WantedParts([]).is_done
    half = WantedParts([WantedBlob(SMALL, CHUNK_BYTES + 7, bytes([0b101]), (PageId(0, 0),))])
    assert (half.is_done, half.bytes_here, half.askable) == (False, CHUNK_BYTES, bits(half, Chunk(SMALL, 1)))
    half.take(half.number(Chunk(SMALL, 1)) or -1)
    assert half.is_done


def test_whoever_holds_a_chunk_holds_its_pages() -> None:
    """What a source says is cut to what there is."""
    parts = WantedParts(BLOBS)
    everything = (1 << parts.count) - 1
    assert parts.held({TALL: None, SMALL: None, "cc" * 32: None}) == everything
    assert parts.held({TALL: b"\xff" * 10_000, SMALL: b"\xff"}) == everything
    assert parts.held({TALL: b"", SMALL: b"\0", "cc" * 32: b"\xff"}) == 0
    assert parts.held({TALL: bytes(PAGE_HASHES // 8) + b"\2"}) == bits(parts, TOP, RIGHT, Chunk(TALL, PAGE_HASHES + 1))
    assert parts.held({TALL: b"\x80"}) == bits(parts, TOP, LEFT, Chunk(TALL, 7))


@given(st.integers(1, 2**200 - 1), st.integers(0, 300))
def test_drawing_takes_one_that_is_there(among: int, start: int) -> None:
    """The first from the start on, or the first of all."""
    numbers = list(ones(among))
    assert sum(1 << number for number in numbers) == among
    assert draw(among, start) == next((number for number in numbers if number >= start), numbers[0])


@given(st.lists(bitmaps, max_size=9), st.randoms(use_true_random=False), bitmaps)
def test_rarity_counts_holders(holders: list[int], order: random.Random, asked: int) -> None:
    """As if each part was counted by itself, while holders come and go."""
    rarity, present = Rarity(), list[int]()
    for holder in holders:
        rarity.add(holder)
        present.append(holder)
        if order.random() < 0.4:
            rarity.remove(present.pop(order.randrange(len(present))))
    counts = {number: sum(one >> number & 1 for one in present) for number in range(70)}
    fewest = min((counts[number] for number in ones(asked) if counts[number]), default=0)
    expected = sum(1 << number for number in ones(asked) if counts[number] == fewest and fewest)
    assert rarity.rarest(asked) == expected
