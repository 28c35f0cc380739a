"""Models on their way here, on disk, so that neither a killed process nor a power cut costs what has come.

    STORE/arrivals/DIGEST/release.json   what was promised, as whoever signed it wrote it
    STORE/arrivals/DIGEST/SHA.*          a blob that is not here yet: see models/arriving_blob.py

What a release promises is read by `promised_by`, which also verifies it, each time one is read from the disk.  A blob
that the store has already does not arrive again.  When all have arrived, `finish` checks each as a whole, as far as
that was not done while it came, and moves it into the store.  Methods block; one process at a time uses a store, its
threads may share the object.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.arriving_blob import ArrivingBlob, claimed_bytes
from models.blob_trees import BlobTrees
from models.core.hash_tree import HASH_BYTES
from models.core.manifest import Blob, Manifest, is_sha256
from models.errors import (
    ArrivalNotFoundError,
    ChecksumMismatchError,
    CorruptStoreError,
    InvalidManifestError,
    ModelsError,
    NotWholeError,
)
from models.files import BytesDone, open_regular, require_space, sync_directory, write_atomically, writing
from models.store import Details, ModelStore, StoredModel

MAX_RELEASE_BYTES: Final = 64 * 1024
_RELEASE: Final = "release.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promise:
    """What a release promises: a manifest, and for each of its blobs, by SHA-256 in hexadecimal, its tree's root.

    Raises InvalidManifestError when these are not the roots of these blobs.
    """

    manifest: Manifest
    roots: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if set(self.roots) != {blob.sha256 for blob in self.manifest.blobs}:
            raise InvalidManifestError("a release has one tree for each blob of its manifest")
        if any(len(root) != HASH_BYTES for root in self.roots.values()):
            raise InvalidManifestError("a tree's root has 32 bytes")
        sizes = {(blob.sha256, blob.size) for blob in self.manifest.blobs}
        if len(sizes) != len(self.roots):
            raise InvalidManifestError("a manifest gives one blob two sizes")


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An arrival that lies on the disk; bytes are of its blobs, those claimed to be here not looked at."""

    promise: Promise
    release: bytes
    bytes_total: int
    bytes_claimed: int


class Arrival:
    """One model on its way: `blobs` are those that are not in the store, by SHA-256.  Made by Arrivals."""

    def __init__(self, release: bytes, promise: Promise, blobs: Mapping[str, ArrivingBlob]) -> None:
        self.release = release
        self.promise = promise
        self.blobs = blobs

    @property
    def digest(self) -> str:
        """The digest of the model."""
        return self.promise.manifest.digest

    @property
    def is_whole(self) -> bool:
        """Whether every chunk of every blob is here."""
        return all(blob.is_whole for blob in self.blobs.values())

    @property
    def bytes_total(self) -> int:
        """How many bytes had to come."""
        return sum(blob.blob.size for blob in self.blobs.values())

    @property
    def bytes_here(self) -> int:
        """How many of them are here and verified."""
        return sum(blob.bytes_here for blob in self.blobs.values())

    def adopt(self, blob: Blob, trees: BlobTrees) -> dict[str, list[int]]:
        """Copy from a blob of the store whatever chunks it shares with those that arrive; return which, by blob.

        Two versions of a model have tensors in common, often at the same places.  Only chunks whose leaf is known are
        found: call it when the trees are complete.  Raises as `BlobTrees.of` and `ArrivingBlob.adopt`.
        """
        tree = trees.of(blob)
        with open_regular(trees.store.path(blob), size=blob.size) as source:
            found = {sha256: one.adopt(source, tree) for sha256, one in self.blobs.items() if sha256 != blob.sha256}
        return {sha256: chunks for sha256, chunks in found.items() if chunks}

    def sync(self) -> None:
        """Make everything that is here outlive a power cut.  Raises DiskFullError, StoreWriteError."""
        for blob in self.blobs.values():
            blob.sync()

    def close(self) -> None:
        """Let go of the files; what is here is kept.  Raises DiskFullError, StoreWriteError."""
        with ExitStack() as all_of_them:
            for blob in self.blobs.values():
                all_of_them.callback(blob.close)


class Arrivals:
    """The arrivals of a store.  Making it keeps the store from deleting what belongs to one of them."""

    def __init__(
        self,
        store: ModelStore,
        promised_by: Callable[[bytes], Promise],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """promised_by: reads and verifies a release; raises ModelsError."""
        self.store = store
        self.root = store.root / "arrivals"
        self._promised_by = promised_by
        self._clock = clock
        self._trees = BlobTrees(store)
        self._lock = threading.Lock()
        self._open: dict[str, Arrival] = {}
        for waiting in self.waiting():
            store.expect(waiting.promise.manifest.blobs)

    def waiting(self) -> tuple[Waiting, ...]:
        """List what lies on the disk, in the order of digests; what cannot be read is left out and logged."""
        found = []
        for directory in self._directories():
            try:
                found.append(self._read(directory))
            except ModelsError as error:
                _log.warning("left out of the list of arrivals: %s", error)
        return tuple(found)

    def begin(
        self,
        release: bytes,
        *,
        beginnings: Mapping[str, Path] = MappingProxyType({}),
        done: BytesDone = lambda _: None,
    ) -> Arrival:
        """Reserve the space for what a release promises, or go on with what is here of it, after checking that.

        beginnings: for blobs, by SHA-256, a file on the same disk that has some of it, such as a blob that was found
        damaged: it is moved here, and whatever is right in it need not come.
        done: called with the bytes checked.  Raises NotEnoughSpaceError before the first byte, DiskFullError,
        StoreWriteError, what `promised_by` raises, InvalidManifestError; CorruptStoreError for an arrival that
        was tampered with: `abandon` it.
        """
        promise = self._promised_by(release)
        with self._lock:
            arrival = self._open.get(promise.manifest.digest)
            if arrival is None:
                arrival = self._opened(self.root / promise.manifest.digest, release, promise, beginnings)
                checked = 0
                try:
                    for blob in arrival.blobs.values():
                        blob.check(done=_after(checked, done))
                        checked += blob.blob.size
                except BaseException:
                    arrival.close()
                    raise
                self._open[arrival.digest] = arrival
            return arrival

    def resume(self, digest: str, *, done: BytesDone = lambda _: None) -> Arrival:
        """Go on with an arrival that lies on the disk.  Raises ArrivalNotFoundError, and as `begin`."""
        directory = self._directory(digest)
        if not directory.is_dir():
            raise ArrivalNotFoundError(f"no model {digest[:12]} is on its way")
        return self.begin(self._read(directory).release, done=done)

    def close(self, digest: str) -> None:
        """Let go of an arrival's files, if they are open; it can be resumed.  Raises DiskFullError, StoreWriteError."""
        with self._lock:
            arrival = self._open.pop(digest, None)
        if arrival is not None:
            arrival.close()

    def abandon(self, digest: str) -> None:
        """Delete an arrival and everything that came of it.  Raises ArrivalNotFoundError, StoreWriteError."""
        directory = self._directory(digest)
        if not directory.is_dir():
            raise ArrivalNotFoundError(f"no model {digest[:12]} is on its way")
        try:
            blobs: Sequence[Blob] = self._read(directory).promise.manifest.blobs
        except ModelsError as error:
            _log.warning("abandoned an arrival that cannot be read: %s", error)
            blobs = ()
        try:
            self.close(digest)
        finally:
            self._delete(directory)
            self.store.abandon(blobs)

    def finish(
        self,
        digest: str,
        name: str,
        details: Details,
        *,
        documents: Mapping[str, bytes] = MappingProxyType({}),
        done: BytesDone = lambda _: None,
    ) -> StoredModel:
        """Check each blob as a whole, move it into the store with the model's documents, and give the model a name.

        done: called with the bytes checked.  Raises NotWholeError while something is missing, ArrivalNotFoundError when
        it is not open; ChecksumMismatchError when the blobs are not those of the manifest although all chunks fit the
        tree: whoever signed the release made a mistake or lied, or the disk changed a chunk before it was hashed (see
        `ArrivingBlob.sha256`), and the arrival is deleted.  It stays, and can be resumed, when anything else is raised.
        """
        with self._lock:
            arrival = self._open.get(digest)
            if arrival is None:
                raise ArrivalNotFoundError(f"no model {digest[:12]} is on its way")
            if not arrival.is_whole:
                raise NotWholeError(f"{arrival.bytes_total - arrival.bytes_here} bytes of {name} are still missing")
            del self._open[digest]
            found = self._hashed(arrival, done)
            try:
                for sha256, blob in arrival.blobs.items():
                    self._trees.keep(blob.blob, blob.tree)
                    self.store.take(blob.path, blob.blob, sha256=found[sha256])
            except ChecksumMismatchError:
                self._delete(self._directory(digest))
                self.store.abandon(arrival.promise.manifest.blobs)
                raise
            self.store.keep_documents(digest, documents)  # before the name: all of it is here, or nothing
            model = self.store.install(name, arrival.promise.manifest, details)
            self._delete(self._directory(digest))
        return model

    @staticmethod
    def _hashed(arrival: Arrival, done: BytesDone) -> dict[str, str]:
        """Say what each blob really is, by what it should be, and let go of their files."""
        with closing(arrival):
            found, checked = {}, 0
            for sha256, blob in arrival.blobs.items():
                found[sha256] = blob.sha256(done=_after(checked, done))
                checked += blob.blob.size
            return found

    def _directory(self, digest: str) -> Path:
        if not is_sha256(digest):
            raise ArrivalNotFoundError("an arrival is named by the digest of its model")
        return self.root / digest

    def _directories(self) -> list[Path]:
        try:
            return sorted(path for path in self.root.iterdir() if is_sha256(path.name))
        except FileNotFoundError:
            return []

    def _read(self, directory: Path) -> Waiting:
        _require_no_link(directory)
        with open_regular(directory / _RELEASE) as file:
            release = file.read(MAX_RELEASE_BYTES + 1)
        promise = self._promised_by(release)
        if promise.manifest.digest != directory.name:
            raise CorruptStoreError(f"{directory} holds the release of another model")
        missing = self._missing(promise)
        claimed = sum(claimed_bytes(directory, blob) for blob in missing)
        return Waiting(
            promise=promise,
            release=release,
            bytes_total=sum(blob.size for blob in missing),
            bytes_claimed=claimed,
        )

    def _missing(self, promise: Promise) -> list[Blob]:
        """Choose the blobs that the store does not have, each once."""
        missing = {}
        for blob in promise.manifest.blobs:
            try:
                self.store.path(blob)
            except CorruptStoreError:
                missing[blob.sha256] = blob
        return list(missing.values())

    def _opened(self, directory: Path, release: bytes, promise: Promise, beginnings: Mapping[str, Path]) -> Arrival:
        _require_no_link(directory)
        self.store.expect(promise.manifest.blobs)
        missing = self._missing(promise)
        kept = directory.exists()
        blobs: dict[str, ArrivingBlob] = {}
        parts = {blob.sha256: directory / f"{blob.sha256}.part" for blob in missing}
        begun = {sha256: path for sha256, path in beginnings.items() if sha256 in parts and _is_plain(path)}
        try:
            taken = sum(_reserved(path) for path in (*parts.values(), *begun.values()))
            require_space(self.store.root, max(0, sum(blob.size for blob in missing) - taken))
            write_atomically(directory / _RELEASE, release)
            for sha256, path in begun.items():
                kept = self._begin_with(path, parts[sha256], sha256) or kept
            for blob in missing:
                root = promise.roots[blob.sha256]
                blobs[blob.sha256] = ArrivingBlob(directory, blob, root, clock=self._clock)
            with writing(directory):
                sync_directory(directory)
                sync_directory(self.root)
        except BaseException:
            Arrival(release, promise, blobs).close()
            if not kept:
                self._delete(directory)
                self.store.abandon(promise.manifest.blobs)
            raise
        return Arrival(release, promise, blobs)

    def _begin_with(self, file: Path, part: Path, sha256: str) -> bool:
        """Move a file to where a blob arrives, with the tree that is kept of it, unless more of it is there already."""
        if part.exists():
            return False
        tree = self.store.tree_path(sha256)
        with writing(part):
            if _is_plain(tree):
                write_atomically(part.with_suffix(".tree"), tree.read_bytes()[HASH_BYTES:])
            file.replace(part)
            sync_directory(file.parent)
        return True

    def _delete(self, directory: Path) -> None:
        if directory.exists():
            with writing(directory):
                shutil.rmtree(directory)
                sync_directory(self.root)


def _require_no_link(directory: Path) -> None:
    if directory.is_symlink():
        raise CorruptStoreError(f"{directory} is a link")


def _after(before: int, done: BytesDone) -> BytesDone:
    return lambda checked: done(before + checked)


def _is_plain(path: Path) -> bool:
    try:
        open_regular(path).close()
    except CorruptStoreError:
        return False
    return True


def _reserved(path: Path) -> int:
    """Say how much of the disk a file takes."""
    return path.lstat().st_blocks * 512 if path.exists() else 0
