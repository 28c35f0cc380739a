"""Hash trees of blobs that are here whole: computed once by reading the blob, kept beside it, checked when read again.

    STORE/trees/sha256-HEX   the root (32 bytes), then the pages as `KnownTree.to_bytes` writes them

A tree says what the blob was when it was computed or arrived: chunks that no longer fit it have changed on the disk.
Methods block.
"""

from collections.abc import Iterator
from typing import IO, Final

from models.core.hash_tree import CHUNK_BYTES, HASH_BYTES, Geometry, KnownTree, leaf_hash
from models.core.manifest import Blob
from models.errors import ChecksumMismatchError, CorruptStoreError
from models.files import BytesDone, open_regular, write_atomically
from models.store import ModelStore

_RECORD_BYTES: Final = 5 + HASH_BYTES  # for one hash: no page takes more for each of its own


class BlobTrees:
    """The trees of a store's blobs."""

    def __init__(self, store: ModelStore) -> None:
        self.store = store

    def of(self, blob: Blob, *, done: BytesDone = lambda _: None) -> KnownTree:
        """Return the whole tree of a blob that is here; one that is not kept yet is computed, and kept.

        done: called with the bytes of the blob that were read.  Raises CorruptStoreError when the blob is not here
        or cannot be read, DiskFullError, StoreWriteError.
        """
        kept = self.kept(blob)
        if kept is not None:
            return kept
        with open_regular(self.store.path(blob), size=blob.size) as file:
            tree = KnownTree.of_leaves(blob.size, map(leaf_hash, _chunks(file, blob, done)))
        self.keep(blob, tree)
        return tree

    def keep(self, blob: Blob, tree: KnownTree) -> None:
        """Keep the whole tree of a blob that is here or about to be.  Raises DiskFullError, StoreWriteError."""
        write_atomically(self.store.tree_path(blob.sha256), tree.root + tree.to_bytes())

    def kept(self, blob: Blob) -> KnownTree | None:
        """Return the whole tree of a blob, if it is at hand: it says what the blob was when it was sound."""
        path = self.store.tree_path(blob.sha256)
        if not path.exists():
            return None
        with open_regular(path) as file:
            root = file.read(HASH_BYTES)
            data = file.read(2 * _RECORD_BYTES * (Geometry(blob.size).chunks + 1))
        try:
            tree = KnownTree.load(blob.size, root, data)
        except ChecksumMismatchError:
            return None
        return tree if tree.is_complete else None  # one that is damaged is computed anew


def _chunks(file: IO[bytes], blob: Blob, done: BytesDone) -> Iterator[bytes]:
    read = 0
    while read < blob.size:
        try:
            chunk = file.read(CHUNK_BYTES)
        except OSError as error:
            raise CorruptStoreError(f"cannot read blob {blob.sha256[:12]}: {error.strerror}") from error
        if not chunk:
            raise CorruptStoreError(f"blob {blob.sha256[:12]} ends early")
        read += len(chunk)
        done(read)
        yield chunk
