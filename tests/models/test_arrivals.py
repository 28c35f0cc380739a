"""Models on their way: reserved, resumed, finished or abandoned; nothing half-arrived is ever installed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.arrivals import Arrivals, Promise, Waiting
from models.blob_trees import BlobTrees
from models.core.hash_tree import CHUNK_BYTES, EMPTY_ROOT
from models.core.manifest import GGUF, MAX_BLOB_BYTES, Blob, Manifest
from models.errors import (
    ArrivalNotFoundError,
    ChecksumMismatchError,
    CorruptStoreError,
    InvalidManifestError,
    InvalidRequestError,
    ModelNotFoundError,
    NotEnoughSpaceError,
    NotWholeError,
    StoreWriteError,
)
from models.scrubbing import Scrubbed, scrub
from models.store import ModelStore
from tests.models.files import names_in
from tests.models.journeys import DETAILS, Cargo, deliver, noise, promise_of

WEIGHTS = Cargo(noise(3 * CHUNK_BYTES + 9))
TEMPLATE = Cargo(b"{{ messages }}", "template")
PROMISE = promise_of(WEIGHTS, TEMPLATE)
DIGEST = PROMISE.manifest.digest


class Office:
    """Reads releases: the n-th that is registered is the number n."""

    def __init__(self, *promises: Promise) -> None:
        self._promises = promises

    def __call__(self, release: bytes) -> Promise:
        """Say what a release promises."""
        try:
            return self._promises[int(release)]
        except (ValueError, IndexError) as error:
            raise InvalidManifestError("no release") from error


def arrivals_in(directory: Path, *promises: Promise) -> Arrivals:
    """Open the arrivals of a store."""
    return Arrivals(ModelStore(directory / "models"), Office(*(promises or (PROMISE,))))


def test_a_model_arrives(tmp_path: Path) -> None:
    """It is installed under its name with its trees, and nothing of the arrival stays behind."""
    arrivals = arrivals_in(tmp_path)
    arrival = arrivals.begin(b"0")
    assert (arrival.digest, arrival.bytes_total, arrival.bytes_here) == (DIGEST, PROMISE.manifest.size_bytes, 0)
    with pytest.raises(NotWholeError, match=f"{PROMISE.manifest.size_bytes} bytes of tiny"):
        arrivals.finish(DIGEST, "tiny", DETAILS)
    deliver(arrival, WEIGHTS, TEMPLATE)
    assert arrival.is_whole
    assert arrival.bytes_here == arrival.bytes_total
    heard: list[int] = []
    model = arrivals.finish(DIGEST, "tiny", DETAILS, done=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == model.size_bytes
    store = arrivals.store
    assert store.find("tiny") == model
    assert store.path(WEIGHTS.blob).read_bytes() == WEIGHTS.data
    assert names_in(arrivals.root) == []
    assert {path.name for path in store.tree_path("").parent.iterdir()} == {
        store.blob_path(one.blob.sha256).name for one in (WEIGHTS, TEMPLATE)
    }
    assert BlobTrees(store).of(WEIGHTS.blob).root == WEIGHTS.tree.root
    assert arrivals.waiting() == ()


def test_an_arrival_is_there_after_a_restart(tmp_path: Path) -> None:
    """With what it claims, its release, and everything that came."""
    arrivals = arrivals_in(tmp_path)
    arrival = arrivals.begin(b"0")
    WEIGHTS.send(arrival.blobs[WEIGHTS.blob.sha256], [0, 3])
    arrival.sync()
    again = arrivals_in(tmp_path)
    expected = Waiting(promise=PROMISE, release=b"0", bytes_total=arrival.bytes_total, bytes_claimed=CHUNK_BYTES + 9)
    assert again.waiting() == (expected,)
    arrivals.close(DIGEST)
    arrivals.close(DIGEST)
    checked: list[int] = []
    resumed = again.resume(DIGEST, done=checked.append)
    assert again.begin(b"0") is resumed
    assert (resumed.bytes_here, checked[-1] > 0) == (CHUNK_BYTES + 9, True)
    deliver(resumed, WEIGHTS, TEMPLATE)
    assert again.finish(DIGEST, "tiny", DETAILS).digest == DIGEST


def test_what_is_not_on_its_way_is_said(tmp_path: Path) -> None:
    """Not by making directories."""
    arrivals = arrivals_in(tmp_path)
    for digest in (DIGEST, "../names", ""):
        with pytest.raises(ArrivalNotFoundError):
            arrivals.resume(digest)
        with pytest.raises(ArrivalNotFoundError):
            arrivals.abandon(digest)
    with pytest.raises(ArrivalNotFoundError):
        arrivals.finish(DIGEST, "tiny", DETAILS)
    arrivals.close(DIGEST)
    assert not arrivals.store.root.exists()


def test_what_is_here_does_not_arrive_again(tmp_path: Path) -> None:
    """A blob of another model is used, and stays though that model is removed meanwhile."""
    arrivals = arrivals_in(tmp_path)
    template = arrivals.store.add_text("template", TEMPLATE.data.decode())
    assert template == TEMPLATE.blob
    other = Cargo(b"other weights")
    deliver(Arrivals(arrivals.store, Office(promise_of(other, TEMPLATE))).begin(b"0"), other)
    office = Arrivals(arrivals.store, Office(promise_of(other, TEMPLATE)))
    office.resume(promise_of(other, TEMPLATE).manifest.digest)
    office.finish(promise_of(other, TEMPLATE).manifest.digest, "other", DETAILS)
    arrival = arrivals.begin(b"0")
    assert set(arrival.blobs) == {WEIGHTS.blob.sha256}
    arrivals.store.remove("other")
    deliver(arrival, WEIGHTS)
    model = arrivals.finish(DIGEST, "tiny", DETAILS)
    assert arrivals.store.read(TEMPLATE.blob) == TEMPLATE.data
    assert arrivals.store.models() == (model,)


def test_blobs_moved_before_a_crash_are_not_garbage(tmp_path: Path) -> None:
    """What `finish` had moved into the store is kept by whoever opens the arrivals next, until it is installed."""
    arrivals = arrivals_in(tmp_path)
    deliver(arrivals.begin(b"0"), WEIGHTS, TEMPLATE)
    arrivals.close(DIGEST)
    part = arrivals.root / DIGEST / f"{WEIGHTS.blob.sha256}.part"
    arrivals.store.take(part, WEIGHTS.blob, sha256=WEIGHTS.blob.sha256)
    again = arrivals_in(tmp_path)
    again.store.collect()
    arrival = again.resume(DIGEST)
    assert set(arrival.blobs) == {TEMPLATE.blob.sha256}
    assert again.finish(DIGEST, "tiny", DETAILS).digest == DIGEST


def test_a_name_that_is_refused_costs_nothing(tmp_path: Path) -> None:
    """The blobs are in the store then; it goes on under a better name."""
    arrivals = arrivals_in(tmp_path)
    deliver(arrivals.begin(b"0"), WEIGHTS, TEMPLATE)
    with pytest.raises(InvalidRequestError):
        arrivals.finish(DIGEST, "../tiny", DETAILS)
    assert arrivals.store.models() == ()
    assert arrivals.resume(DIGEST).is_whole
    assert arrivals.finish(DIGEST, "tiny", DETAILS).name == "tiny"


def test_abandoning_leaves_nothing(tmp_path: Path) -> None:
    """Open or not, readable or not."""
    arrivals = arrivals_in(tmp_path)
    WEIGHTS.send(arrivals.begin(b"0").blobs[WEIGHTS.blob.sha256])
    arrivals.abandon(DIGEST)
    assert names_in(arrivals.root) == []
    arrivals.begin(b"0")
    arrivals.close(DIGEST)
    (arrivals.root / DIGEST / "release.json").write_bytes(b"?")
    assert arrivals.waiting() == ()
    assert arrivals_in(tmp_path).waiting() == ()
    arrivals.abandon(DIGEST)
    assert names_in(arrivals.root) == []


def test_what_was_planted_is_no_arrival(tmp_path: Path) -> None:
    """A link to a directory is neither read nor deleted; another model's release does not count."""
    arrivals = arrivals_in(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "release.json").write_bytes(b"0")
    arrivals.root.mkdir(parents=True)
    (arrivals.root / DIGEST).symlink_to(outside)
    (arrivals.root / "notes").mkdir()
    assert arrivals.waiting() == ()
    with pytest.raises(CorruptStoreError, match="link"):
        arrivals.begin(b"0")
    with pytest.raises(CorruptStoreError, match="link"):
        arrivals.resume(DIGEST)
    with pytest.raises(StoreWriteError):
        arrivals.abandon(DIGEST)
    assert names_in(outside) == ["release.json"]
    (arrivals.root / DIGEST).unlink()
    (arrivals.root / ("0" * 64)).mkdir()
    (arrivals.root / ("0" * 64) / "release.json").write_bytes(b"0")
    with pytest.raises(CorruptStoreError, match="another model"):
        arrivals.resume("0" * 64)


def test_what_will_not_fit_is_said_before_the_first_byte(tmp_path: Path) -> None:
    """Nothing is left of it, not even a directory of its own."""
    huge = Blob(GGUF, "a" * 64, MAX_BLOB_BYTES)
    arrivals = arrivals_in(tmp_path, Promise(Manifest.of([huge]), {huge.sha256: bytes(32)}))
    with pytest.raises(NotEnoughSpaceError):
        arrivals.begin(b"0")
    assert arrivals.waiting() == ()
    assert not arrivals.root.exists()


def test_space_that_is_reserved_already_is_not_asked_for_twice(tmp_path: Path) -> None:
    """A resumed arrival needs no more than it has."""
    arrivals = arrivals_in(tmp_path)
    arrivals.begin(b"0")
    arrivals.close(DIGEST)
    part = arrivals.root / DIGEST / f"{WEIGHTS.blob.sha256}.part"
    before = part.stat().st_blocks
    arrivals.resume(DIGEST)
    assert part.stat().st_blocks == before


def test_one_blob_that_cannot_be_closed_well_keeps_no_other_open(tmp_path: Path) -> None:
    """Its bitmap was taken away; the error is said, and it can be resumed."""
    arrivals = arrivals_in(tmp_path)
    arrival = arrivals.begin(b"0")
    WEIGHTS.send(arrival.blobs[WEIGHTS.blob.sha256])
    have = arrivals.root / DIGEST / f"{WEIGHTS.blob.sha256}.have"
    have.unlink()
    have.mkdir()
    with pytest.raises(CorruptStoreError):
        arrivals.close(DIGEST)
    with pytest.raises(StoreWriteError):
        TEMPLATE.send(arrival.blobs[TEMPLATE.blob.sha256])
    have.rmdir()
    assert arrivals.resume(DIGEST).bytes_here == WEIGHTS.blob.size


def test_promises_are_whole() -> None:
    """One tree for each blob, of a hash's length; no blob with two sizes."""
    blob = WEIGHTS.blob
    manifest = Manifest.of([blob])
    twice = Manifest.of([blob, Blob("template", blob.sha256, blob.size + 1)])
    for of, roots in [
        (manifest, {}),
        (manifest, {blob.sha256: bytes(31)}),
        (manifest, {blob.sha256: bytes(32), "0" * 64: bytes(32)}),
        (twice, {blob.sha256: bytes(32)}),
    ]:
        with pytest.raises(InvalidManifestError):
            Promise(of, roots)


def test_a_root_that_cannot_be_leaves_nothing(tmp_path: Path) -> None:
    """The blobs opened before it are closed, the directory is gone."""
    empty = Cargo(b"", "template")
    promise = Promise(
        Manifest.of([WEIGHTS.blob, empty.blob]), {WEIGHTS.blob.sha256: bytes(32), empty.blob.sha256: bytes(32)}
    )
    arrivals = arrivals_in(tmp_path, promise)
    with pytest.raises(ChecksumMismatchError):
        arrivals.begin(b"0")
    assert names_in(arrivals.root) == []
    assert empty.tree.root == EMPTY_ROOT


def test_a_tree_that_is_not_of_the_blob_installs_nothing(tmp_path: Path) -> None:
    """Every chunk fits what was signed, and the whole is another blob: whoever signed it is wrong."""
    forged = Cargo(noise(len(WEIGHTS.data), 2))
    promise = Promise(Manifest.of([WEIGHTS.blob]), {WEIGHTS.blob.sha256: forged.tree.root})
    arrivals = arrivals_in(tmp_path, promise)
    arrival = arrivals.begin(b"0")
    forged.send(arrival.blobs[WEIGHTS.blob.sha256])
    with pytest.raises(ChecksumMismatchError):
        arrivals.finish(arrival.digest, "tiny", DETAILS)
    assert names_in(arrivals.root) == []
    assert not arrivals.store.tree_path(WEIGHTS.blob.sha256).exists()
    with pytest.raises(ModelNotFoundError):
        arrivals.store.find("tiny")


def test_a_file_that_changes_before_it_is_hashed_installs_nothing(tmp_path: Path) -> None:
    """Every chunk was right when it was written; what the disk has made of one of them since is not the blob."""
    arrivals = arrivals_in(tmp_path)
    arrival = arrivals.begin(b"0")
    deliver(arrival, TEMPLATE)
    blob = arrival.blobs[WEIGHTS.blob.sha256]
    WEIGHTS.send(blob, [1, 2, 3])
    with blob.path.open("r+b") as file:
        file.seek(2 * CHUNK_BYTES)
        file.write(b"?")
    deliver(arrival, WEIGHTS)
    assert arrival.is_whole
    with pytest.raises(ChecksumMismatchError):
        arrivals.finish(DIGEST, "tiny", DETAILS)
    assert names_in(arrivals.root) == []
    assert arrivals.store.models() == ()


def test_what_changes_once_it_is_hashed_is_found_by_scrubbing(tmp_path: Path) -> None:
    """As in any model of the store: the file is not read again before it is moved there."""
    arrivals = arrivals_in(tmp_path)
    arrival = arrivals.begin(b"0")
    deliver(arrival, WEIGHTS, TEMPLATE)
    with arrival.blobs[WEIGHTS.blob.sha256].path.open("r+b") as file:
        file.seek(CHUNK_BYTES)
        file.write(b"?")
    model = arrivals.finish(DIGEST, "tiny", DETAILS)
    store = arrivals.store
    found = scrub(store, WEIGHTS.blob, tree=BlobTrees(store).kept(WEIGHTS.blob))
    assert found == Scrubbed(sound=False, chunks=(1,))
    assert not store.is_whole(model)


def test_what_cannot_be_read_in_the_end_can_be_resumed(tmp_path: Path) -> None:
    """The files are let go of, and nothing is deleted."""
    arrivals = arrivals_in(tmp_path)
    arrival = arrivals.begin(b"0")
    deliver(arrival, TEMPLATE)
    WEIGHTS.send(arrival.blobs[WEIGHTS.blob.sha256], [3, 2, 1, 0])
    arrival.close()  # whatever is read from it now fails
    with pytest.raises(CorruptStoreError):
        arrivals.finish(DIGEST, "tiny", DETAILS)
    assert arrivals.store.models() == ()
    arrivals.resume(DIGEST)
    assert arrivals.finish(DIGEST, "tiny", DETAILS).digest == DIGEST


def test_another_release_of_the_same_model_takes_over(tmp_path: Path) -> None:
    """What came is looked at with its tree: a wrong root of somebody else's release spoils nothing."""
    wrong = Promise(PROMISE.manifest, {sha256: bytes(32) for sha256 in PROMISE.roots})
    arrivals = arrivals_in(tmp_path, PROMISE, wrong)
    WEIGHTS.send(arrivals.begin(b"0").blobs[WEIGHTS.blob.sha256])
    arrivals.close(DIGEST)
    assert arrivals.begin(b"1").bytes_here == 0
    arrivals.close(DIGEST)
    arrival = arrivals.begin(b"0")
    WEIGHTS.send_pages(arrival.blobs[WEIGHTS.blob.sha256])
    assert arrival.bytes_here == WEIGHTS.blob.size


def test_what_two_versions_share_is_not_fetched(tmp_path: Path) -> None:
    """Chunks are copied from a blob of the store, wherever they stand there."""
    [a, b, c] = [noise(CHUNK_BYTES, seed) for seed in range(10, 13)]
    old, new = Cargo(a + b + b"end"), Cargo(c + b + a + b"end")
    arrivals = arrivals_in(tmp_path, promise_of(old), promise_of(new))
    deliver(arrivals.begin(b"0"), old)
    arrivals.finish(promise_of(old).manifest.digest, "old", DETAILS)
    arrival = arrivals.begin(b"1")
    trees = BlobTrees(arrivals.store)
    assert arrival.adopt(old.blob, trees) == {}
    new.send_pages(arrival.blobs[new.blob.sha256])
    assert arrival.adopt(old.blob, trees) == {new.blob.sha256: [1, 2, 3]}
    deliver(arrival, new)
    assert arrivals.finish(arrival.digest, "new", DETAILS).size_bytes == new.blob.size


@pytest.mark.parametrize("cut", [0, 4])
@pytest.mark.parametrize("with_tree", [True, False])
def test_a_damaged_blob_arrives_again_in_part(cut: int, with_tree: bool, tmp_path: Path) -> None:  # noqa: FBT001  drawn
    """What is still right in it is kept; the other blob is not touched."""
    arrivals = arrivals_in(tmp_path)
    deliver(arrivals.begin(b"0"), WEIGHTS, TEMPLATE)
    arrivals.finish(DIGEST, "tiny", DETAILS)
    store, aside = arrivals.store, tmp_path / "aside"
    if not with_tree:
        store.tree_path(WEIGHTS.blob.sha256).unlink()
    store.path(WEIGHTS.blob).rename(aside)
    with aside.open("r+b") as file:
        file.seek(CHUNK_BYTES + 5)
        file.write(b"?")
        file.truncate(WEIGHTS.blob.size - cut)
    arrival = arrivals.begin(b"0", beginnings={WEIGHTS.blob.sha256: aside, TEMPLATE.blob.sha256: tmp_path / "none"})
    assert not aside.exists()
    assert set(arrival.blobs) == {WEIGHTS.blob.sha256}
    assert (arrival.bytes_here > 0) == with_tree
    WEIGHTS.send_pages(arrival.blobs[WEIGHTS.blob.sha256])
    assert arrival.bytes_total - arrival.bytes_here == CHUNK_BYTES + (9 if cut else 0)
    deliver(arrival, WEIGHTS)
    assert arrivals.finish(DIGEST, "tiny", DETAILS) == store.find("tiny")
    assert store.path(WEIGHTS.blob).read_bytes() == WEIGHTS.data


def test_what_is_on_its_way_is_not_begun_with_something_else(tmp_path: Path) -> None:
    """Nor is a link taken for a beginning."""
    arrivals = arrivals_in(tmp_path)
    deliver(arrivals.begin(b"0"), WEIGHTS)
    arrivals.close(DIGEST)
    (tmp_path / "other").write_bytes(b"?")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    beginnings = {WEIGHTS.blob.sha256: tmp_path / "other", TEMPLATE.blob.sha256: tmp_path / "link"}
    assert arrivals.begin(b"0", beginnings=beginnings).bytes_here == WEIGHTS.blob.size
    assert (tmp_path / "link").read_bytes() == b"?"


def test_what_was_moved_here_stays_when_it_cannot_go_on(tmp_path: Path) -> None:
    """A beginning is not deleted with an arrival that failed."""
    empty = Cargo(b"", "template")
    roots = {WEIGHTS.blob.sha256: WEIGHTS.tree.root, empty.blob.sha256: bytes(32)}
    arrivals = arrivals_in(tmp_path, Promise(Manifest.of([WEIGHTS.blob, empty.blob]), roots))
    (tmp_path / "aside").write_bytes(WEIGHTS.data)
    with pytest.raises(ChecksumMismatchError):
        arrivals.begin(b"0", beginnings={WEIGHTS.blob.sha256: tmp_path / "aside"})
    [part] = arrivals.root.glob("*/*.part")
    assert part.read_bytes() == WEIGHTS.data


FETCHER = """
import os, signal, sys
from pathlib import Path
from tests.models.test_arrivals import arrivals_in
from tests.models.journeys import Cargo, noise, promise_of

cargo = Cargo(noise(int(sys.argv[2]), 7))
arrival = arrivals_in(Path(sys.argv[1]), promise_of(cargo)).begin(b"0")
chunks = cargo.tree.geometry.chunks
cargo.send(arrival.blobs[cargo.blob.sha256], range(0, chunks * 6 // 10))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_fetcher_fetches_nothing_twice(tmp_path: Path) -> None:
    """Killed at 60 %: every chunk that was written is there when it starts again."""
    size = 100 * CHUNK_BYTES
    done = subprocess.run([sys.executable, "-c", FETCHER, tmp_path, str(size)], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    cargo = Cargo(noise(size, 7))
    arrivals = arrivals_in(tmp_path, promise_of(cargo))
    arrival = arrivals.resume(promise_of(cargo).manifest.digest)
    assert arrival.bytes_here == 60 * CHUNK_BYTES
    assert arrival.blobs[cargo.blob.sha256].tree.is_complete
    deliver(arrival, cargo)
    arrivals.finish(arrival.digest, "tiny", DETAILS)
    assert arrivals.store.path(cargo.blob).stat().st_nlink == 1


FULL = """
from pathlib import Path
from models.blob_trees import BlobTrees
from models.errors import DiskFullError, ModelsError
from tests.models.test_arrivals import DIGEST, PROMISE, TEMPLATE, WEIGHTS, arrivals_in
from tests.models.journeys import DETAILS, deliver

disk = Path("/mnt")
arrivals = arrivals_in(disk)
arrival = arrivals.begin(b"0")
WEIGHTS.send_pages(arrival.blobs[WEIGHTS.blob.sha256])
filler = (disk / "filler").open("wb", buffering=0)
try:
    while True:
        filler.write(bytes(4096))
except OSError:
    pass
WEIGHTS.send(arrival.blobs[WEIGHTS.blob.sha256])  # its space was reserved
TEMPLATE_BLOB = arrival.blobs[TEMPLATE.blob.sha256]
refused = 0
for attempt in (lambda: deliver(arrival, TEMPLATE), lambda: arrivals.finish(DIGEST, "tiny", DETAILS)):
    try:
        attempt()
    except (DiskFullError, ModelsError) as error:
        print(type(error).__name__)
        refused += 1
assert refused, "the disk was not full"
assert arrivals.store.models() == ()
(disk / "filler").unlink()
filler.close()
again = arrivals_in(disk)
arrival = again.resume(DIGEST)
assert arrival.bytes_here >= WEIGHTS.blob.size, arrival.bytes_here
deliver(arrival, WEIGHTS, TEMPLATE)
print(again.finish(DIGEST, "tiny", DETAILS).name)
"""


@pytest.mark.lab
@pytest.mark.program("unshare")
def test_a_disk_that_fills_up_installs_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """What is reserved can be written, the rest is said, and it goes on when there is room."""
    script = tmp_path / "full.py"
    script.write_text(FULL)
    mount = f'mount -t tmpfs -o size=24m none /mnt && exec "{sys.executable}" "{script}"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount], check=False, env=dict(os.environ), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["tiny"]), done.stderr
    assert "DiskFullError" in done.stdout
