"""One blob on its way: only what fits the tree is written, and what was written is found again."""

import errno
import io
import os
import random
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.arriving_blob import SYNC_BYTES, SYNC_S, ArrivingBlob, claimed_bytes
from models.core.hash_tree import CHUNK_BYTES, KnownTree, PageId, leaf_hash
from models.errors import ChecksumMismatchError, CorruptStoreError, NotWholeError, StoreWriteError
from tests.models.files import names_in
from tests.models.journeys import Cargo, noise

CARGO = Cargo(noise(5 * CHUNK_BYTES + 100))
LEAVES = PageId(0, 0)


class Hours:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Say what time it is."""
        return self.now


class Scratched(io.BytesIO):
    """A file on a card that cannot read it any more."""

    def read(self, _size: int | None = -1, /) -> bytes:
        """Fail as the kernel does."""
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def opened(directory: Path, cargo: Cargo = CARGO, clock: Hours | None = None) -> ArrivingBlob:
    """Open the files of a blob, and look what is there."""
    blob = ArrivingBlob(directory, cargo.blob, cargo.tree.root, clock=clock or Hours())
    blob.check()
    return blob


def here(blob: ArrivingBlob) -> list[int]:
    """List the chunks that are here."""
    return [index for index in range(blob.tree.geometry.chunks) if blob.has(index)]


def hashed_at_the_end(blob: ArrivingBlob, cargo: Cargo = CARGO) -> list[int]:
    """Look that the digest is right; list the chunks that had not been hashed before."""
    hashed: list[int] = []
    assert blob.sha256(done=hashed.append) == cargo.blob.sha256
    assert hashed == sorted(hashed)
    assert hashed[-1] == cargo.blob.size
    return [-(-end // CHUNK_BYTES) - 1 for end in hashed[:-1]]


def alter(path: Path, chunk: int) -> None:
    """Let a byte of a chunk change on the disk."""
    with path.open("r+b") as file:
        file.seek(chunk * CHUNK_BYTES + 7)
        file.write(b"?")


def test_the_space_is_taken_before_the_first_byte(tmp_path: Path) -> None:
    """The file has its full length and its blocks; nothing in it counts as a chunk."""
    blob = opened(tmp_path)
    about = blob.path.stat()
    assert about.st_size == CARGO.blob.size <= about.st_blocks * 512
    assert (blob.bytes_here, blob.is_whole, blob.have(), here(blob)) == (0, False, b"\0", [])
    blob.close()


def test_chunks_land_at_their_places_in_any_order(tmp_path: Path) -> None:
    """And can be read for others as soon as they are there."""
    blob = opened(tmp_path)
    CARGO.send_pages(blob)
    assert blob.read_chunk(5) is None
    for index in (5, 0, 3, 1, 4):
        assert blob.write_chunk(index, memoryview(CARGO.chunk(index)))
    assert not blob.write_chunk(3, CARGO.chunk(3))
    assert here(blob) == [0, 1, 3, 4, 5]
    assert blob.have() == bytes([0b111011])
    assert blob.bytes_here == CARGO.blob.size - CHUNK_BYTES
    assert (blob.read_chunk(5), blob.read_chunk(2), blob.read_chunk(-1), blob.read_chunk(6)) == (
        CARGO.chunk(5),
        None,
        None,
        None,
    )
    blob.write_chunk(2, CARGO.chunk(2))
    assert blob.is_whole
    assert blob.path.read_bytes() == CARGO.data
    blob.close()


def test_what_does_not_fit_the_tree_is_not_written(tmp_path: Path) -> None:
    """Neither a forged chunk nor a page, nor a chunk whose leaf is not known, nor one at a place that is not there."""
    blob = opened(tmp_path)
    with pytest.raises(ChecksumMismatchError, match="chunk 0"):
        blob.write_chunk(0, CARGO.chunk(0))
    with pytest.raises(ChecksumMismatchError, match="page 0"):
        blob.add_page(LEAVES, bytes(6 * 32))
    CARGO.send_pages(blob)
    for index, data in [(0, CARGO.chunk(1)), (5, CARGO.chunk(5) + b"x"), (6, b""), (-1, CARGO.chunk(5)), (2**40, b"")]:
        with pytest.raises(ChecksumMismatchError):
            blob.write_chunk(index, data)
    assert blob.path.read_bytes() == bytes(CARGO.blob.size)
    blob.close()


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Pages and chunks are there again; a page that comes twice is no harm."""
    blob = opened(tmp_path)
    CARGO.send(blob, [1, 5])
    CARGO.send_pages(blob)
    blob.close()
    again = opened(tmp_path)
    assert (again.tree.is_complete, here(again)) == (True, [1, 5])
    again.close()


def test_what_was_written_counts_though_the_bitmap_is_older(tmp_path: Path) -> None:
    """As after kill -9: the data is looked at, not what was claimed."""
    blob = opened(tmp_path)
    CARGO.send(blob, [0, 3])
    assert claimed_bytes(tmp_path, CARGO.blob) == 0
    again = opened(tmp_path)
    assert here(again) == [0, 3]
    again.close()


def test_what_is_claimed_and_wrong_does_not_count(tmp_path: Path) -> None:
    """As after a power cut that lost data, or on a card that rots."""
    blob = opened(tmp_path)
    CARGO.send(blob)
    blob.close()
    alter(blob.path, 2)
    assert claimed_bytes(tmp_path, CARGO.blob) == CARGO.blob.size
    looked_at: list[int] = []
    again = ArrivingBlob(tmp_path, CARGO.blob, CARGO.tree.root, clock=Hours())
    again.check(done=looked_at.append)
    assert here(again) == [0, 1, 3, 4, 5]
    assert looked_at[-1] == CARGO.blob.size
    assert claimed_bytes(tmp_path, CARGO.blob) == CARGO.blob.size - CHUNK_BYTES
    again.close()


@pytest.mark.parametrize("left", [b"", b"\0\0\0\0\0half a page", b"\xff" * 500])
def test_chunks_wait_for_a_page_that_was_lost(left: bytes, tmp_path: Path) -> None:
    """Once it is fetched again they are taken from the disk, not from a neighbour; wrong ones among them are not."""
    blob = opened(tmp_path)
    CARGO.send(blob, [0, 4, 5])
    blob.close()
    [tree_file] = tmp_path.glob("*.tree")
    tree_file.write_bytes(left)
    with blob.path.open("r+b") as file:
        file.write(b"?")
    again = opened(tmp_path)
    assert (here(again), again.tree.known) == ([], frozenset())
    page = CARGO.tree.page(LEAVES)
    assert page is not None
    assert again.add_page(LEAVES, page) == [4, 5]
    assert again.add_page(LEAVES, page) == []
    again.close()
    assert here(opened(tmp_path)) == [4, 5]


def test_what_the_disk_cannot_read_comes_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad sector costs its chunk, not the arrival."""
    blob = opened(tmp_path)
    CARGO.send_pages(blob)
    for index in range(6):
        blob.write_chunk(index, CARGO.chunk(index))
    blob.close()
    read = os.pread

    def failing(descriptor: int, size: int, offset: int) -> bytes:
        if offset == 2 * CHUNK_BYTES:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", failing)
    again = opened(tmp_path)
    assert here(again) == [0, 1, 3, 4, 5]
    assert caplog.text.count("Input/output error") == 1
    assert again.write_chunk(2, CARGO.chunk(2))
    assert again.is_whole
    again.close()


def test_the_data_is_claimed_in_batches(tmp_path: Path) -> None:
    """After so many bytes, or so many seconds, not after every chunk."""
    count = SYNC_BYTES // CHUNK_BYTES
    cargo = Cargo(b"".join(index.to_bytes(2, "big") * (CHUNK_BYTES // 2) for index in range(count + 3)))
    clock = Hours()
    blob = opened(tmp_path, cargo, clock)
    cargo.send(blob, range(count - 1))
    assert claimed_bytes(tmp_path, cargo.blob) == 0
    blob.write_chunk(count - 1, cargo.chunk(count - 1))
    assert claimed_bytes(tmp_path, cargo.blob) == SYNC_BYTES
    blob.write_chunk(count, cargo.chunk(count))
    clock.now += SYNC_S
    assert claimed_bytes(tmp_path, cargo.blob) == SYNC_BYTES
    blob.write_chunk(count + 1, cargo.chunk(count + 1))
    assert claimed_bytes(tmp_path, cargo.blob) == SYNC_BYTES + 2 * CHUNK_BYTES
    blob.close()


def test_what_is_closed_is_not_touched(tmp_path: Path) -> None:
    """Though another file may have got the number of ours."""
    blob = opened(tmp_path)
    CARGO.send(blob, [0])
    blob.close()
    with (tmp_path / "another").open("w+b") as another:
        another.write(b"precious")
        with pytest.raises(CorruptStoreError):
            blob.read_chunk(0)
        with pytest.raises(StoreWriteError):
            blob.write_chunk(1, CARGO.chunk(1))
        blob.sync()
    assert (tmp_path / "another").read_bytes() == b"precious"


def test_a_blob_of_no_bytes_is_whole_at_once(tmp_path: Path) -> None:
    """There is nothing to reserve and nothing to fetch."""
    blob = opened(tmp_path, Cargo(b""))
    assert (blob.is_whole, blob.have(), blob.tree.is_complete) == (True, b"", True)
    blob.close()
    assert claimed_bytes(tmp_path, Cargo(b"").blob) == 0
    with pytest.raises(ChecksumMismatchError):
        ArrivingBlob(tmp_path, Cargo(b"").blob, bytes(32), clock=Hours())


def test_shared_chunks_are_copied_wherever_they_stand(tmp_path: Path) -> None:
    """Each is verified: one that has rotted where it comes from is left to be fetched."""
    [a, b, c, d] = [noise(CHUNK_BYTES, seed) for seed in range(4)]
    end = b"the end"
    old, new = Cargo(a + b + c + end), Cargo(d + a + c + b + end)
    (tmp_path / "old").write_bytes(a + b[:-1] + b"?" + c + end)
    blob = opened(tmp_path, new)
    with (tmp_path / "old").open("rb") as file:
        assert blob.adopt(file, old.tree) == []
        new.send_pages(blob)
        assert blob.adopt(Scratched(), old.tree) == []
        blob.write_chunk(2, c)
        assert blob.adopt(file, old.tree) == [1, 4]
        assert blob.adopt(file, KnownTree(old.blob.size, old.tree.root)) == []
    assert here(blob) == [1, 2, 4]
    blob.close()


@pytest.mark.parametrize("kind", ["link", "second name", "directory", "pipe"])
@pytest.mark.parametrize("ending", ["part", "tree"])
def test_what_is_no_plain_file_is_left_alone(kind: str, ending: str, tmp_path: Path) -> None:
    """A planted link leads nowhere: what it points at stays as it was."""
    outside, planted = tmp_path / "outside", tmp_path / f"{CARGO.blob.sha256}.{ending}"
    outside.write_bytes(b"precious")
    if kind == "link":
        planted.symlink_to(outside)
    elif kind == "second name":
        os.link(outside, planted)
    elif kind == "directory":
        planted.mkdir()
    else:
        os.mkfifo(planted)
    with pytest.raises((CorruptStoreError, StoreWriteError)):
        ArrivingBlob(tmp_path, CARGO.blob, CARGO.tree.root, clock=Hours())
    assert outside.read_bytes() == b"precious"


def test_a_planted_bitmap_is_not_followed(tmp_path: Path) -> None:
    """It is opened anew each time it is written."""
    blob = opened(tmp_path)
    have = tmp_path / f"{CARGO.blob.sha256}.have"
    have.unlink()
    have.symlink_to(tmp_path / "outside")
    with pytest.raises(CorruptStoreError):
        blob.sync()
    with pytest.raises(CorruptStoreError):
        blob.close()
    assert "outside" not in names_in(tmp_path)


def test_a_bitmap_that_is_too_long_claims_no_more_than_there_is(tmp_path: Path) -> None:
    """Nor does one with bits beyond the last chunk."""
    (tmp_path / f"{CARGO.blob.sha256}.have").write_bytes(b"\xff" * 100)
    assert claimed_bytes(tmp_path, CARGO.blob) == CARGO.blob.size
    (tmp_path / f"{CARGO.blob.sha256}.have").write_bytes(bytes([0b000101]))
    assert claimed_bytes(tmp_path, CARGO.blob) == 2 * CHUNK_BYTES


def test_a_file_that_shrank_is_as_long_as_it_must_be(tmp_path: Path) -> None:
    """What is left of it counts."""
    blob = opened(tmp_path)
    CARGO.send(blob)
    blob.close()
    os.truncate(blob.path, CHUNK_BYTES + 5)
    again = opened(tmp_path)
    assert (here(again), again.path.stat().st_size) == ([0], CARGO.blob.size)
    again.close()


def test_leaves_are_those_of_the_chunks() -> None:
    """The tests' own cargo is cut as blobs are."""
    assert CARGO.tree.leaf(5) == leaf_hash(CARGO.chunk(5))


@pytest.mark.parametrize(
    ("order", "left"),
    [
        ((0, 1, 2, 3, 4, 5), []),
        ((1, 0, 2, 3, 4, 5), []),
        ((1, 2, 3, 0, 4, 5), []),  # two for each that comes: it catches up
        ((0, 2, 3, 4, 1, 5), [5]),
        ((5, 4, 3, 2, 1, 0), [2, 3, 4, 5]),
        ((0, 1, 2, 4, 5, 3), [5]),
    ],
)
def test_the_whole_is_hashed_while_it_comes(order: Sequence[int], left: list[int], tmp_path: Path) -> None:
    """Each chunk in its turn, once what is before it is there; only what came too late for that is left to the end."""
    blob = opened(tmp_path)
    CARGO.send_pages(blob)
    for index in order:
        with pytest.raises(NotWholeError):
            blob.sha256()
        blob.write_chunk(index, CARGO.chunk(index))
    assert hashed_at_the_end(blob) == left
    assert hashed_at_the_end(blob) == []
    blob.close()


@pytest.mark.parametrize("seed", range(4))
def test_each_chunk_is_read_back_once_and_none_is_kept(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order they come, and however long the first one is waited for."""
    cargo = Cargo(noise(40 * CHUNK_BYTES + 5))
    order = random.Random(seed).sample(range(1, 41), 40)  # noqa: S311  an order, not a secret
    read, places = os.pread, list[int]()

    def noted(descriptor: int, size: int, offset: int) -> bytes:
        places.append(offset // CHUNK_BYTES)
        return read(descriptor, size, offset)

    blob = opened(tmp_path, cargo)
    monkeypatch.setattr(os, "pread", noted)
    chunks = {index: cargo.chunk(index) for index in (*order, 0)}
    cargo.send_pages(blob)
    tracemalloc.start()
    try:
        for index, data in chunks.items():
            blob.write_chunk(index, data)
        assert blob.sha256() == cargo.blob.sha256
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert places == list(range(41))
    assert most < 3 * CHUNK_BYTES
    blob.close()


def test_chunks_that_several_threads_write_are_hashed_in_order(tmp_path: Path) -> None:
    """Whichever of them comes to hash them."""
    cargo = Cargo(noise(64 * CHUNK_BYTES))
    blob = opened(tmp_path, cargo)
    cargo.send_pages(blob)
    order = random.Random(5).sample(range(64), 64)  # noqa: S311  an order, not a secret
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda index: blob.write_chunk(index, cargo.chunk(index)), order))
    hashed_at_the_end(blob, cargo)
    blob.close()


@pytest.mark.parametrize(("before", "left"), [((0, 1, 2), []), ((0, 2, 3, 5), [5]), ((1, 2, 3, 4, 5), [2, 3, 4, 5])])
def test_looking_at_what_lies_there_hashes_it_too(before: Sequence[int], left: list[int], tmp_path: Path) -> None:
    """After kill -9: what is read anyway from the beginning on need not be read again at the end."""
    CARGO.send(opened(tmp_path), before)
    again = opened(tmp_path)
    CARGO.send(again)
    assert hashed_at_the_end(again) == left
    again.close()


def test_a_whole_file_that_lies_there_is_read_once(tmp_path: Path) -> None:
    """With the first look at it everything is done."""
    blob = opened(tmp_path)
    CARGO.send(blob)
    blob.close()
    again = opened(tmp_path)
    assert hashed_at_the_end(again) == []
    again.close()


def test_a_chunk_that_is_repaired_is_hashed_as_it_came(tmp_path: Path) -> None:
    """What the card had made of it is in no digest."""
    blob = opened(tmp_path)
    CARGO.send(blob)
    blob.close()
    alter(blob.path, 2)
    again = opened(tmp_path)
    assert here(again) == [0, 1, 3, 4, 5]
    again.write_chunk(2, CARGO.chunk(2))
    assert hashed_at_the_end(again) == [4, 5]
    again.close()


def test_what_changes_before_its_turn_is_in_the_digest(tmp_path: Path) -> None:
    """The file is hashed, not what was written to it: that a chunk was right when it came does not count."""
    blob = opened(tmp_path)
    CARGO.send(blob, [1, 2, 3, 4, 5])
    alter(blob.path, 3)
    blob.write_chunk(0, CARGO.chunk(0))
    assert blob.is_whole
    assert blob.sha256() != CARGO.blob.sha256
    blob.close()


def test_a_chunk_that_cannot_be_read_back_is_tried_again_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Others are taken meanwhile; the card is not asked again with each of them."""
    blob = opened(tmp_path)
    CARGO.send_pages(blob)
    read, tried = os.pread, list[int]()

    def failing(descriptor: int, size: int, offset: int) -> bytes:
        if offset == 2 * CHUNK_BYTES:
            tried.append(offset)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        CARGO.send(blob)
        assert (blob.is_whole, len(tried), caplog.text.count("Input/output error")) == (True, 1, 1)
        with pytest.raises(CorruptStoreError, match="Input/output error"):
            blob.sha256()
    assert hashed_at_the_end(blob) == [2, 3, 4, 5]
    blob.close()
