"""Hash trees: the shape follows from the size, and nothing is known that does not lead to the root."""

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.core.hash_tree import (
    CHUNK_BYTES,
    EMPTY_ROOT,
    HASH_BYTES,
    PAGE_BYTES,
    PAGE_HASHES,
    Geometry,
    KnownTree,
    PageId,
    leaf_hash,
    page_hash,
    record,
)
from models.core.manifest import MAX_BLOB_BYTES
from models.errors import ChecksumMismatchError

TOP, LEAVES = PageId(1, 0), PageId(0, 0)


def counted(chunks: int) -> KnownTree:
    """Build a tree over leaves that are their own numbers."""
    leaves = (index.to_bytes(HASH_BYTES, "big") for index in range(chunks))
    return KnownTree.of_leaves(chunks * CHUNK_BYTES, leaves)


def page_of(tree: KnownTree, page: PageId) -> bytes:
    """Return a page that is there."""
    data = tree.page(page)
    assert data is not None
    return data


@given(st.integers(0, MAX_BLOB_BYTES))
def test_the_pieces_make_the_whole(size: int) -> None:
    """Chunks cover the blob, pages cover the level below, and the top is one page."""
    geometry = Geometry(size)
    last = geometry.chunks - 1
    assert size == max(last, 0) * CHUNK_BYTES + geometry.chunk_bytes(last)
    assert geometry.levels == len(geometry.pages) <= 3
    assert geometry.pages[-1] == (1 if size else 0)
    assert list(geometry.hashes[1:]) == list(geometry.pages[:-1])
    for level, pages in enumerate(geometry.pages):
        bytes_of_last = geometry.page_bytes(PageId(level, pages - 1))
        assert max(pages - 1, 0) * PAGE_BYTES + bytes_of_last == HASH_BYTES * geometry.hashes[level]
        assert geometry.page_bytes(PageId(level, pages)) == geometry.page_bytes(PageId(level, -1)) == 0
    assert geometry.page_bytes(PageId(geometry.levels, 0)) == geometry.page_bytes(PageId(-1, 0)) == 0
    assert geometry.chunk_bytes(last + 1) == geometry.chunk_bytes(-1) == 0


@pytest.mark.parametrize("size", [-1, MAX_BLOB_BYTES + 1])
def test_a_size_out_of_range_has_no_geometry(size: int) -> None:
    """Sizes come from a manifest, which is bounded alike."""
    with pytest.raises(ValueError, match="a blob of"):
        Geometry(size)


def test_pages_come_after_the_one_above() -> None:
    """The order of `page_ids` is one in which pages can be taken; those under a page are the next level's."""
    geometry = Geometry((PAGE_HASHES + 5) * CHUNK_BYTES)
    assert list(geometry.page_ids()) == [TOP, LEAVES, PageId(0, 1)]
    assert geometry.chunks_under(TOP) == range(PAGE_HASHES + 5)
    assert geometry.chunks_under(PageId(0, 1)) == range(PAGE_HASHES, PAGE_HASHES + 5)
    assert geometry.chunks_under(PageId(0, 2)) == range(PAGE_HASHES + 5, PAGE_HASHES + 5)


def test_chunks_and_pages_are_told_apart() -> None:
    """The same bytes hash differently as a chunk and as a page."""
    assert leaf_hash(b"x") == hashlib.sha256(b"\0x").digest()
    assert page_hash(memoryview(b"x")) == hashlib.sha256(b"\1x").digest()


def test_a_blob_of_no_bytes_has_one_root() -> None:
    """Nothing needs to come for it, and no other root is believed."""
    tree = KnownTree(0, EMPTY_ROOT)
    assert tree.is_complete
    assert KnownTree.of_leaves(0, []).root == EMPTY_ROOT
    with pytest.raises(ChecksumMismatchError):
        KnownTree(0, bytes(32))


def test_leaves_must_be_as_many_as_chunks() -> None:
    """A tree over too few is no tree of the blob."""
    with pytest.raises(ValueError, match="for 2 chunks"):
        KnownTree.of_leaves(CHUNK_BYTES + 1, [bytes(32)])


def test_a_tree_grows_from_its_root() -> None:
    """From the top down, until a chunk can be checked."""
    data = b"c" * CHUNK_BYTES
    leaves = [leaf_hash(data)] * (PAGE_HASHES + 1)
    whole = KnownTree.of_leaves(len(leaves) * CHUNK_BYTES, leaves)
    tree = KnownTree(whole.geometry.size, whole.root)
    with pytest.raises(ChecksumMismatchError):
        tree.add_page(LEAVES, page_of(whole, LEAVES))
    for needed in (TOP, PageId(0, 1)):
        assert not tree.fits_chunk(PAGE_HASHES, data)
        tree.add_page(needed, page_of(whole, needed))
    assert tree.fits_chunk(PAGE_HASHES, memoryview(data))
    assert not tree.fits_chunk(PAGE_HASHES, data[:-1])
    assert not tree.fits_chunk(PAGE_HASHES, b"d" * CHUNK_BYTES)
    assert tree.leaf(0) is tree.leaf(PAGE_HASHES + 1) is tree.page(LEAVES) is None
    assert not tree.is_complete
    assert tree.known == {TOP, PageId(0, 1)}
    tree.add_page(LEAVES, page_of(whole, LEAVES))
    assert (tree.is_complete, tree.to_bytes()) == (True, whole.to_bytes())


@settings(max_examples=20)
@given(st.sampled_from([1, 5, PAGE_HASHES + 7, 3 * PAGE_HASHES]), st.randoms(use_true_random=False), st.data())
def test_pages_are_taken_in_any_order_that_leads_down(chunks: int, order: random.Random, data: st.DataObject) -> None:
    """Each as soon as the one above is there, none before; and what is written down is read back, up to a bad byte."""
    whole = counted(chunks)
    tree = KnownTree(whole.geometry.size, whole.root)
    waiting = list(whole.geometry.page_ids())
    written = b""
    while waiting:
        page = order.choice(waiting)
        bytes_of_it = page_of(whole, page)
        if page.level == whole.geometry.levels - 1 or PageId(page.level + 1, 0) in tree.known:
            tree.add_page(page, bytes_of_it)
            waiting.remove(page)
            written += record(page, bytes_of_it)
        else:
            assert not tree.fits_page(page, bytes_of_it)
    assert tree.is_complete
    assert KnownTree.load(tree.geometry.size, tree.root, written).known == whole.known
    cut = data.draw(st.integers(0, len(written)))
    known = KnownTree.load(tree.geometry.size, tree.root, written[:cut]).known
    assert known <= whole.known
    assert (known == whole.known) == (cut == len(written))


def test_reading_ends_where_bytes_are_wrong() -> None:
    """A torn or changed record, and all after it, count for nothing; a page written twice is no harm."""
    tree = counted(PAGE_HASHES + 1)
    pages = {page: page_of(tree, page) for page in tree.geometry.page_ids()}
    records = [record(page, data) for page, data in pages.items()]
    changed = bytearray(records[1])
    changed[100] ^= 1

    def read(*parts: bytes) -> frozenset[PageId]:
        return KnownTree.load(tree.geometry.size, tree.root, b"".join(parts)).known

    assert read(records[0], bytes(changed), records[2]) == {TOP}
    assert read(records[0], records[0], records[2], b"\0\0\0") == {TOP, PageId(0, 1)}
    assert read(records[1], records[0]) == read(b"\xff" * 60) == frozenset()
