"""The Merkle tree of RFC 6962, section 2.1: one root for a list of leaves, and short proofs about it.

    leaf      SHA-256(0x00, data)
    node      SHA-256(0x01, left, right); the left part of n leaves is the largest power of two below n
    no leaf   SHA-256 of nothing

An inclusion proof shows that a leaf is in a tree; a consistency proof, that a tree goes on where an older one ended.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from mesh.errors import ProofError

HASH_BYTES: Final = 32
MAX_LEAVES: Final = 2**63  # so that a proof has at most 64 hashes


def leaf_hash(data: bytes) -> bytes:
    """Hash what a leaf holds."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into one."""
    return hashlib.sha256(b"\1" + left + right).digest()


class GrowingTree:
    """A tree of which only the roots of its full subtrees are kept: the memory of one proof, however many leaves."""

    def __init__(self) -> None:
        self.size = 0
        self._full: list[bytes] = []  # one a binary one of `size`, the largest first

    def append(self, leaf: bytes) -> None:
        """Put the hash of a leaf behind the others."""
        node = leaf
        size = self.size
        while size & 1:
            node = node_hash(self._full.pop(), node)
            size >>= 1
        self._full.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of the leaves so far."""
        if not self._full:
            return hashlib.sha256().digest()
        *lefts, node = self._full
        for left in reversed(lefts):
            node = node_hash(left, node)
        return node


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root of a tree of these leaf hashes."""
    tree = GrowingTree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Prove that the leaf at `index` is in the tree of these leaf hashes: its siblings on the way up."""
    if not 0 <= index < len(leaves):
        raise ProofError(f"there is no leaf {index} in a tree of {len(leaves)}")
    path: list[bytes] = []
    while len(leaves) > 1:
        split = _split(len(leaves))
        left, right = leaves[:split], leaves[split:]
        if index < split:
            leaves, other = left, right
        else:
            leaves, other, index = right, left, index - split
        path.append(root_of(other))
    return path[::-1]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Prove that the tree of these leaf hashes begins with the tree of the first `old_size` of them."""
    if not 0 < old_size <= len(leaves):
        raise ProofError(f"a tree of {len(leaves)} leaves does not go on from one of {old_size}")
    path: list[bytes] = []
    whole = True  # whether what is left of the old tree is all of it: then its verifier has the root
    while old_size != len(leaves):
        split = _split(len(leaves))
        if old_size <= split:
            path.append(root_of(leaves[split:]))
            leaves = leaves[:split]
        else:
            path.append(root_of(leaves[:split]))
            leaves, old_size, whole = leaves[split:], old_size - split, False
    return path[::-1] if whole else [root_of(leaves), *path[::-1]]


def verify_inclusion(leaf: bytes, index: int, *, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf hash stands at `index` in the tree of `size` leaves with this root.  Errors: ProofError."""
    if not 0 <= index < size <= MAX_LEAVES:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    node = leaf
    for sibling, stands_left in _way_up(index, size - 1, proof):
        node = node_hash(sibling, node) if stands_left else node_hash(node, sibling)
    if node != root:
        raise ProofError("the proof does not lead to the root")


def verify_consistency(old_size: int, old_root: bytes, *, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `size` leaves begins with that of `old_size`, by their roots.  Errors: ProofError."""
    if not 0 < old_size <= size <= MAX_LEAVES:
        raise ProofError(f"a tree of {size} leaves does not go on from one of {old_size}")
    if old_size == size:
        if proof or old_root != root:
            raise ProofError("two roots of one size")
        return
    index, last = old_size - 1, size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    siblings = list(proof) if index else [old_root, *proof]  # a full old tree is itself where the proof begins
    if not siblings:
        raise ProofError("an empty proof")
    old = new = siblings[0]
    for sibling, stands_left in _way_up(index, last, siblings[1:]):
        if stands_left:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    if old != old_root or new != root:
        raise ProofError("the proof does not lead to both roots")


def _way_up(index: int, last: int, siblings: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Say of each sibling, from a node of one level to the root, whether it stands left (RFC 9162, 2.1.3.2).

    index, last: the places of the node and of the last one of its level.  Errors: ProofError where they are too few
    or too many.
    """
    for sibling in siblings:
        if last == 0:
            raise ProofError("a proof longer than the way to the root")
        stands_left = bool(index & 1) or index == last
        yield sibling, stands_left
        while stands_left and index and not index & 1:  # without a sibling, a level's last node goes up as it is
            index, last = index >> 1, last >> 1
        index, last = index >> 1, last >> 1
    if last:
        raise ProofError("a proof shorter than the way to the root")


def _split(size: int) -> int:
    """Return the largest power of two below a size of at least two."""
    return 1 << ((size - 1).bit_length() - 1)
