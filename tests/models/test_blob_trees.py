"""Trees of blobs that are here: computed once, kept, and computed anew when what was kept is damaged."""

import io
import os
from pathlib import Path

import pytest

from models.blob_trees import BlobTrees
from models.core.hash_tree import CHUNK_BYTES, KnownTree
from models.errors import CorruptStoreError
from models.scrubbing import scrub
from models.store import ModelStore
from tests.models.journeys import Cargo, noise

CARGO = Cargo(noise(2 * CHUNK_BYTES + 3))


def kept(directory: Path, cargo: Cargo = CARGO) -> BlobTrees:
    """Put a blob into a store."""
    store = ModelStore(directory)
    store.add(io.BytesIO(cargo.data), cargo.blob)
    return BlobTrees(store)


@pytest.mark.parametrize("cargo", [CARGO, Cargo(b""), Cargo(b"x")])
def test_a_tree_is_computed_once(cargo: Cargo, tmp_path: Path) -> None:
    """It is the one that a release is signed with; afterwards the blob is not read for it again."""
    trees = kept(tmp_path, cargo)
    read: list[int] = []
    assert trees.kept(cargo.blob) is None
    tree = trees.of(cargo.blob, done=read.append)
    assert (tree.root, tree.is_complete) == (cargo.tree.root, True)
    assert read == list(range(CHUNK_BYTES, len(cargo.data), CHUNK_BYTES)) + [len(cargo.data)] * bool(cargo.data)
    assert trees.kept(cargo.blob) is not None
    read.clear()
    again = BlobTrees(trees.store).of(cargo.blob, done=read.append)
    assert (again.root, again.to_bytes(), read) == (tree.root, tree.to_bytes(), [])


@pytest.mark.parametrize("change", [b"", b"short", bytes(400)])
@pytest.mark.parametrize("cargo", [CARGO, Cargo(b"")])
def test_a_damaged_tree_is_computed_anew(change: bytes, cargo: Cargo, tmp_path: Path) -> None:
    """What lies on the disk is believed no more than what comes from a neighbour."""
    trees = kept(tmp_path, cargo)
    trees.of(cargo.blob)
    trees.store.tree_path(cargo.blob.sha256).write_bytes(change)
    assert trees.of(cargo.blob).root == cargo.tree.root
    assert trees.store.tree_path(cargo.blob.sha256).read_bytes()[:32] == cargo.tree.root


def test_damage_is_found_to_the_chunk(tmp_path: Path) -> None:
    """By the tree that was made when the blob was whole."""
    trees = kept(tmp_path)
    tree = trees.of(CARGO.blob)
    assert scrub(trees.store, CARGO.blob, tree=tree).sound
    with trees.store.path(CARGO.blob).open("r+b") as file:
        file.seek(CHUNK_BYTES)
        file.write(b"?")
    read: list[int] = []
    assert scrub(trees.store, CARGO.blob, tree=tree, done=read.append).chunks == (1,)
    assert read[-1] == CARGO.blob.size


def test_a_blob_that_is_not_here_has_no_tree(tmp_path: Path) -> None:
    """Nor has one of another size, nor is a link taken for a tree."""
    trees = kept(tmp_path)
    with pytest.raises(CorruptStoreError):
        trees.of(Cargo(b"other").blob)
    os.truncate(trees.store.blob_path(CARGO.blob.sha256), 5)
    with pytest.raises(CorruptStoreError):
        trees.of(CARGO.blob)
    target = trees.store.tree_path(CARGO.blob.sha256)
    target.parent.mkdir()
    target.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"?")
    with pytest.raises(CorruptStoreError):
        trees.of(CARGO.blob)


def test_keeping_a_tree_spares_reading_the_blob(tmp_path: Path) -> None:
    """As when a blob arrived by it."""
    trees = BlobTrees(ModelStore(tmp_path))
    trees.keep(CARGO.blob, CARGO.tree)
    found = trees.of(CARGO.blob)
    assert isinstance(found, KnownTree)
    assert found.known == CARGO.tree.known
