"""Hash trees agree with the committed file."""

import hashlib

import pytest

from models.core.hash_tree import CHUNK_BYTES, Geometry, KnownTree, PageId, page_hash
from models.errors import ChecksumMismatchError
from tests.vectors.reading import Case, cases, data_of, invalid, title

WITH_LEAVES = [case for case in cases("hash-trees") if "leaves" in case]
COUNTED = [case for case in cases("hash-trees") if "counted_leaves" in case]


@pytest.mark.parametrize("case", WITH_LEAVES, ids=title)
def test_the_tree_of_a_blob(case: Case) -> None:
    """Its leaves are the chunks' hashes, its root follows from them, and each chunk fits in its place alone."""
    geometry = Geometry(case["size"])
    chunks = [bytes([index + 1]) * geometry.chunk_bytes(index) for index in range(geometry.chunks)]
    assert case["leaves"] == [hashlib.sha256(b"\0" + chunk).hexdigest() for chunk in chunks]
    tree = KnownTree.of_leaves(geometry.size, map(bytes.fromhex, case["leaves"]))
    assert case["root"] == tree.root.hex()
    assert [[at == index for at in range(len(chunks))] for index in range(len(chunks))] == [
        [tree.fits_chunk(at, chunk) for at in range(len(chunks))] for chunk in chunks
    ]


@pytest.mark.parametrize("case", COUNTED, ids=title)
def test_the_tree_over_many_leaves(case: Case) -> None:
    """Its levels have so many pages, and these hashes."""
    count = case["counted_leaves"]
    tree = KnownTree.of_leaves(count * CHUNK_BYTES, (index.to_bytes(32, "big") for index in range(count)))
    assert case["root"] == tree.root.hex()
    assert tuple(case["pages_of_levels"]) == tree.geometry.pages
    for expected in case["pages"]:
        page = tree.page(PageId(expected["level"], expected["index"]))
        assert page is not None
        assert (expected["hashes"], expected["hash"]) == (len(page) // 32, page_hash(page).hex())


@pytest.mark.parametrize("case", invalid("hash-trees"), ids=title)
def test_what_is_no_page_of_the_tree(case: Case) -> None:
    """Is refused, and nothing is known that was not before."""
    tree = KnownTree(case["size"], bytes.fromhex(case["root"]))
    for page in case["known"]:
        tree.add_page(PageId(page["level"], page["index"]), bytes.fromhex(page["bytes"]))
    before = tree.known
    with pytest.raises(ChecksumMismatchError):
        tree.add_page(PageId(case["level"], case["index"]), data_of(case))
    assert tree.known == before
