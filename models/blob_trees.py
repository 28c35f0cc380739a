"""The hash trees of blobs that are in the store: computed once, when a neighbour first asks for one, and kept there.

STORE/trees/sha256-HEX   the root (32 bytes), then every page, each after the one above it (models/core/hash_tree.py)
"""

import threading
from collections.abc import Iterator
from typing import Final

from models.core.hash_tree import CHUNK_BYTES, HASH_BYTES, KnownTree, leaf_hash
from models.core.manifest import Blob
from models.errors import CorruptStoreError
from models.files import BytesDone, open_regular, write_atomically
from models.store import ModelStore

MAX_TREE_BYTES: Final = 64 * 1024 * 1024  # of a blob of 500 GB


class BlobTrees:
    """The trees of one store.  Methods block, and may be called from several threads."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._lock = threading.Lock()  # one blob is read at a time

    def tree(self, blob: Blob, *, done: BytesDone = lambda _: None) -> KnownTree:
        """Return the tree of a blob that is here, and keep it; the first time, all of the blob is read.

        done: called with the bytes read.  Raises CorruptStoreError, DiskFullError, StoreWriteError.
        """
        with self._lock:
            tree = self.kept(blob)
            if tree is None:
                tree = KnownTree.of_leaves(blob.size, self._leaves(blob, done))
                write_atomically(self._store.tree_path(blob.sha256), tree.root + tree.to_bytes())
        return tree

    def kept(self, blob: Blob) -> KnownTree | None:
        """Return the tree that lies on the disk; None where there is none, or a damaged one."""
        try:
            with open_regular(self._store.tree_path(blob.sha256)) as file:
                data = file.read(MAX_TREE_BYTES)
        except CorruptStoreError:
            return None
        tree = KnownTree.load(blob.size, data[:HASH_BYTES], data[HASH_BYTES:])
        return tree if tree.is_complete else None

    def _leaves(self, blob: Blob, done: BytesDone) -> Iterator[bytes]:
        read = 0
        with open_regular(self._store.path(blob), size=blob.size) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield leaf_hash(chunk)
                read += len(chunk)
                done(read)
