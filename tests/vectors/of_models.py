"""Vectors of models on their way: hash trees."""

from itertools import chain
from typing import Final

from models.core.hash_tree import (
    CHUNK_BYTES,
    HASH_BYTES,
    PAGE_HASHES,
    Geometry,
    KnownTree,
    PageId,
    leaf_hash,
    page_hash,
)
from tests.vectors.family import Family, Json, flipped, invalid

FILLED: Final = {
    "no bytes: no page, and a root all the same": 0,
    "one byte": 1,
    "a chunk but one byte": CHUNK_BYTES - 1,
    "a chunk": CHUNK_BYTES,
    "a chunk and one byte": CHUNK_BYTES + 1,
    "five chunks and a piece": 5 * CHUNK_BYTES + 7,
}
COUNTED: Final = {
    "as many chunks as a page has hashes": PAGE_HASHES,
    "one more: a second level": PAGE_HASHES + 1,
    "a blob of 5 GB": 19_074,
    "one chunk more than two levels can hold": PAGE_HASHES**2 + 1,
}


def filled_chunk(geometry: Geometry, index: int) -> bytes:
    """Return the n-th chunk of a blob whose chunks each repeat the byte n + 1."""
    return bytes([index + 1]) * geometry.chunk_bytes(index)


def filled_tree(size: int) -> KnownTree:
    """Return the tree of such a blob."""
    geometry = Geometry(size)
    return KnownTree.of_leaves(size, (leaf_hash(filled_chunk(geometry, index)) for index in range(geometry.chunks)))


def counted_tree(chunks: int) -> KnownTree:
    """Return a tree whose n-th leaf is the number n, in 32 bytes: no blob has it, but its pages follow all the same."""
    leaves = (index.to_bytes(HASH_BYTES, "big") for index in range(chunks))
    return KnownTree.of_leaves(chunks * CHUNK_BYTES, leaves)


def hash_trees() -> Family:
    """Blobs by their chunks, trees by their leaves, and pages that are none."""
    cases: list[Json] = []
    for name, size in FILLED.items():
        tree = filled_tree(size)
        leaves = [(tree.leaf(index) or b"").hex() for index in range(tree.geometry.chunks)]
        cases.append({"name": name, "size": size, "leaves": leaves, "root": tree.root.hex()})
    for name, chunks in COUNTED.items():
        tree = counted_tree(chunks)
        ends = chain.from_iterable(
            sorted({PageId(level, 0), PageId(level, count - 1)}, key=lambda page: page.index)
            for level, count in enumerate(tree.geometry.pages)
        )
        pages = [
            {
                "level": page.level,
                "index": page.index,
                "hashes": len(tree.page(page) or b"") // HASH_BYTES,
                "hash": page_hash(tree.page(page) or b"").hex(),
            }
            for page in ends
        ]
        counts = list(tree.geometry.pages)
        cases.append(
            {"name": name, "counted_leaves": chunks, "pages_of_levels": counts, "pages": pages, "root": tree.root.hex()}
        )
    about = (
        "Section 7, hash trees. `leaves`: chunk n of the blob is the byte n + 1, repeated. `counted_leaves`: leaf n is"
        " the number n in 32 bytes, big endian; given are the first and the last page of each level. Invalid: the page"
        " is refused by who knows size, root and the pages in `known`"
    )
    return {"about": about, "cases": cases, "invalid": _no_pages()}


def _no_pages() -> list[Json]:
    tree = filled_tree(3 * CHUNK_BYTES)
    page, other = tree.page(PageId(0, 0)) or b"", filled_tree(2 * CHUNK_BYTES).page(PageId(0, 0)) or b""
    about: Json = {"size": tree.geometry.size, "root": tree.root.hex(), "known": []}
    wrong = [
        ("one bit flipped", flipped(page, 40), 0, 0),
        ("the last hash is missing", page[:-HASH_BYTES], 0, 0),
        ("a hash too many", page + page[:HASH_BYTES], 0, 0),
        ("half a hash too many", page + page[:16], 0, 0),
        ("no hashes", b"", 0, 0),
        ("two hashes in the other order", page[32:64] + page[:32] + page[64:], 0, 0),
        ("the page of another blob", other, 0, 0),
        ("an index that the level does not have", page, 0, 1),
        ("a level that the tree does not have", page, 1, 0),
    ]
    found = [invalid(reason, data, level=level, index=index, **about) for reason, data, level, index in wrong]
    tall = counted_tree(PAGE_HASHES + 1)
    top, last = tall.page(PageId(1, 0)) or b"", tall.page(PageId(0, 1)) or b""
    known = [{"level": 1, "index": 0, "bytes": top.hex()}]
    about = {"size": tall.geometry.size, "root": tall.root.hex()}
    found += [
        invalid("the page above is not known", last, level=0, index=1, known=[], **about),
        invalid("a page in its neighbour's place", last, level=0, index=0, known=known, **about),
        invalid("the page above in its place", top, level=0, index=1, known=known, **about),
        invalid("a page cut into a smaller blob's", last, level=0, index=0, known=[], **about | {"size": CHUNK_BYTES}),
    ]
    return found
