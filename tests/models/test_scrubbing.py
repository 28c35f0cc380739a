"""Blobs are read again; what has changed is found, set aside, and put back where it is sound after all."""

import asyncio
import io
import os
import threading
from pathlib import Path

import pytest

from models.core.hash_tree import CHUNK_BYTES, KnownTree, leaf_hash
from models.core.manifest import GGUF, Blob, Manifest
from models.errors import DamagedModelError
from models.files import BytesDone
from models.scrubbing import Scrubbed, at_low_priority, scrub
from models.store import Details, ModelStore, StoredModel
from tests.models.files import sha256_of
from tests.models.waiting import until

DETAILS = Details(licence="Apache-2.0", description="a test", source="file:/x")
WEIGHTS = os.urandom(18 * CHUNK_BYTES + 1000)  # more than one piece, no whole number of chunks
BLOB = Blob(GGUF, sha256_of(WEIGHTS), len(WEIGHTS))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store with one model of several chunks."""
    store = ModelStore(tmp_path / "models")
    store.add(io.BytesIO(WEIGHTS), BLOB)
    store.install("tiny", Manifest.of([BLOB]), DETAILS)
    return store


def _tree() -> KnownTree:
    chunks = [WEIGHTS[at : at + CHUNK_BYTES] for at in range(0, len(WEIGHTS), CHUNK_BYTES)]
    return KnownTree.of_leaves(len(WEIGHTS), map(leaf_hash, chunks))


def _flip(store: ModelStore, *positions: int) -> None:
    with store.blob_path(BLOB.sha256).open("r+b") as file:
        for position in positions:
            file.seek(position)
            file.write(bytes([WEIGHTS[position] ^ 1]))


def _model(store: ModelStore) -> StoredModel:
    return store.find("tiny")


def test_a_sound_blob_stays(store: ModelStore) -> None:
    """And how far the reading is, is told."""
    told: list[int] = []
    assert scrub(store, BLOB, tree=_tree(), done=told.append) == Scrubbed(sound=True)
    assert told == sorted(told)
    assert told[-1] == len(WEIGHTS)
    assert store.is_whole(_model(store))


def test_a_damaged_blob_is_set_aside(store: ModelStore) -> None:
    """Not deleted; the model is no longer whole, and says what to do."""
    _flip(store, 5)
    assert scrub(store, BLOB) == Scrubbed(sound=False)
    assert not store.is_whole(_model(store))
    assert store.aside_path(BLOB.sha256).stat().st_size == len(WEIGHTS)
    with pytest.raises(DamagedModelError) as raised:
        store.path(BLOB)
    assert "hearth models pull" in raised.value.hint
    store.collect()
    assert store.aside_path(BLOB.sha256).exists()


def test_the_damaged_chunks_are_named(store: ModelStore) -> None:
    """By a hash tree's leaves; also of a blob that lies aside already."""
    _flip(store, 0, 3 * CHUNK_BYTES - 1, 17 * CHUNK_BYTES, len(WEIGHTS) - 1)
    found = Scrubbed(sound=False, chunks=(0, 2, 17, 18))
    assert scrub(store, BLOB, tree=_tree()) == found
    assert scrub(store, BLOB, tree=_tree()) == found


@pytest.mark.parametrize("size", [0, CHUNK_BYTES + 7, 17 * CHUNK_BYTES])
def test_a_blob_that_became_shorter(store: ModelStore, size: int) -> None:
    """Lacks all chunks from there on."""
    os.truncate(store.blob_path(BLOB.sha256), size)
    found = scrub(store, BLOB, tree=_tree())
    assert found.chunks == tuple(range(size // CHUNK_BYTES, 19))
    os.truncate(store.aside_path(BLOB.sha256), size)
    assert scrub(store, BLOB) == Scrubbed(sound=False)


def test_a_blob_that_became_longer(store: ModelStore) -> None:
    """Is none, though every chunk of it is sound."""
    with store.blob_path(BLOB.sha256).open("ab") as file:
        file.write(b"x")
    assert scrub(store, BLOB, tree=_tree()) == Scrubbed(sound=False, chunks=())
    assert not store.is_whole(_model(store))


def test_what_is_no_plain_file_is_not_read(store: ModelStore, tmp_path: Path) -> None:
    """A link is set aside as it is; what is not there at all has nothing to set aside."""
    path = store.blob_path(BLOB.sha256)
    path.rename(tmp_path / "elsewhere")
    assert scrub(store, BLOB) == Scrubbed(sound=False)
    path.symlink_to(tmp_path / "elsewhere")
    assert scrub(store, BLOB) == Scrubbed(sound=False)
    assert store.aside_path(BLOB.sha256).is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == WEIGHTS


def test_what_is_sound_after_all_is_put_back(store: ModelStore) -> None:
    """A cable may have been at fault."""
    _flip(store, 5)
    scrub(store, BLOB)
    store.aside_path(BLOB.sha256).write_bytes(WEIGHTS)
    assert scrub(store, BLOB) == Scrubbed(sound=True)
    assert store.path(BLOB).read_bytes() == WEIGHTS


def test_a_repaired_blob_leaves_nothing_aside(store: ModelStore) -> None:
    """It comes again as any blob does; then the damaged one goes, as it does with its model."""
    _flip(store, 5)
    scrub(store, BLOB)
    store.add(io.BytesIO(WEIGHTS), BLOB)
    store.install("tiny", Manifest.of([BLOB]), DETAILS)
    assert store.is_whole(_model(store))
    assert not store.aside_path(BLOB.sha256).exists()
    _flip(store, 5)
    scrub(store, BLOB)
    store.remove("tiny")
    assert not list(store.root.rglob("sha256-*"))


async def test_it_runs_where_everything_else_comes_first() -> None:
    """A thread of the lowest priority, whose figures arrive in the loop."""
    told: list[int] = []

    def work(done: BytesDone) -> int:
        done(3)
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await at_low_priority(work, done=told.append, name="test") == 19
    assert told == [3]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 19


async def test_its_errors_arrive() -> None:
    """As if it had been called."""

    def work(_: BytesDone) -> None:
        raise DamagedModelError("found")

    with pytest.raises(DamagedModelError, match="found"):
        await at_low_priority(work, done=lambda _: None, name="test")


async def test_a_cancel_ends_it() -> None:
    """At its next figure; and is over only when it is."""
    begun, ended = threading.Event(), threading.Event()

    def work(done: BytesDone) -> None:
        try:
            while True:
                begun.set()
                done(1)
        finally:
            ended.set()

    task = asyncio.create_task(at_low_priority(work, done=lambda _: None, name="test"))
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
