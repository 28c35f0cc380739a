"""What this node can give: whole models of its store, and as much as has come of those that are still arriving."""

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from device.errands import Errands
from device.errors import BusyError, DeviceError, StoppingError
from device.sharing.releases import Releases
from mesh.errors import MeshError
from models.arrivals import Arrival
from models.blob_trees import BlobTrees
from models.core.hash_tree import CHUNK_BYTES, Bytes, KnownTree, PageId
from models.core.manifest import Blob
from models.errors import CorruptStoreError, ModelsError
from models.files import open_regular
from models.store import ModelStore, StoredModel

MAX_OPENED: Final = 4  # models whose files and trees are at hand
OPENED_WITHIN_S: Final = 0.2  # who asks for one whose tree must be computed first is told to ask again


@dataclass(eq=False)
class _Blob:
    """A blob that can be read, and its tree."""

    file: BinaryIO
    tree: KnownTree
    readers: int = 0
    unwanted: bool = False

    async def chunk(self, index: int) -> Bytes | None:
        """Read a chunk: at once where the kernel has it in memory, else in a thread."""
        size, offset = self.tree.geometry.chunk_bytes(index), index * CHUNK_BYTES
        if size == 0:
            return None
        buffer = bytearray(size)
        with contextlib.suppress(OSError):  # not all of it is there, or the file system cannot tell
            if os.preadv(self.file.fileno(), [buffer], offset, os.RWF_NOWAIT) == size:
                return buffer
        self.readers += 1
        try:
            data = await asyncio.to_thread(os.pread, self.file.fileno(), size, offset)
        except OSError as error:
            raise CorruptStoreError(f"chunk {index} cannot be read: {error.strerror}") from error
        finally:
            self.readers -= 1
            if self.unwanted:
                self.close()
        return data if len(data) == size else None

    def close(self) -> None:
        """Let go of the file once nobody reads it: its number may soon be another file's."""
        self.unwanted = True
        if not self.readers:
            self.file.close()


@dataclass(eq=False)
class _Opened:
    """A model that is being given away."""

    release: bytes
    blobs: Mapping[str, _Blob]

    def close(self) -> None:
        """Let go of its files."""
        for blob in self.blobs.values():
            blob.close()


class Stock:
    """The models of one node, for neighbours; see `device.sharing.serving.Stock`."""

    def __init__(
        self,
        *,
        store: ModelStore,
        stored: Callable[[], Sequence[StoredModel]],
        arriving: Callable[[str], Arrival | None],
        releases: Releases,
        trees: BlobTrees,
        errands: Errands,
    ) -> None:
        """stored: the models here now; arriving: what is here of one that is still on its way."""
        self._store = store
        self._stored = stored
        self._arriving = arriving
        self._releases = releases
        self._trees = trees
        self._errands = errands
        self._opened: OrderedDict[str, _Opened] = OrderedDict()  # used last at the end
        self.reading = asyncio.Lock()
        """Held while something is read that has yet to arrive; whoever closes it waits."""
        self._opening: dict[str, asyncio.Future[_Opened]] = {}
        self._changes = 0
        self._closed = False

    async def release(self, model: str) -> bytes | None:
        """What the publisher of a model signed."""
        arrival = self._arriving(model)
        if arrival is not None:
            return arrival.release
        opened = await self._open(model)
        return None if opened is None else opened.release

    async def holding(self, model: str) -> Mapping[str, bytes | None] | None:
        """Which chunks of each blob are here."""
        arrival = self._arriving(model)
        if arrival is not None:
            here: dict[str, bytes | None] = dict.fromkeys(arrival.promise.roots)
            return here | {sha256: None if one.is_whole else one.have() for sha256, one in arrival.blobs.items()}
        opened = await self._open(model)
        return None if opened is None else dict.fromkeys(opened.blobs)

    async def chunk(self, model: str, blob: str, index: int) -> Bytes | None:
        """A chunk of a blob."""
        async with self.reading:
            arrival = self._arriving(model)
            if arrival is not None and blob in arrival.blobs:
                return await asyncio.to_thread(arrival.blobs[blob].read_chunk, index)
        found = await self._blob(model, blob)
        return None if found is None else await found.chunk(index)

    async def page(self, model: str, blob: str, page: PageId) -> bytes | None:
        """A page of its hash tree."""
        arrival = self._arriving(model)
        if arrival is not None and blob in arrival.blobs:
            return arrival.blobs[blob].tree.page(page)
        found = await self._blob(model, blob)
        return None if found is None else found.tree.page(page)

    def models_changed(self) -> None:
        """Let go of every model: what is still here, and may still be passed on, is opened anew when it is wanted."""
        self._changes += 1
        while self._opened:
            self._opened.popitem()[1].close()

    def close(self) -> None:
        """Let go of every file, and prepare nothing more."""
        self._closed = True
        self.models_changed()

    async def _blob(self, model: str, blob: str) -> _Blob | None:
        opened = await self._open(model)
        return None if opened is None else opened.blobs.get(blob)

    async def _open(self, digest: str) -> _Opened | None:
        """Have a model at hand.  Raises NotSharedError, BusyError while that takes long, ModelsError."""
        if digest in self._opened:
            self._opened.move_to_end(digest)
            return self._opened[digest]
        model = next((model for model in self._stored() if model.digest == digest), None)
        if model is None:
            return None
        opening = self._opening.get(digest)
        if opening is None:
            opening = self._opening[digest] = asyncio.get_running_loop().create_future()
            self._errands.spawn(self._make_ready(model, opening), name=f"hash tree {digest[:8]}")
        try:
            async with asyncio.timeout(OPENED_WITHIN_S):
                opened = await asyncio.shield(opening)
        except TimeoutError as error:
            raise BusyError("the model is being prepared for neighbours", retry_after_s=1) from error
        if self._opened.get(digest) is not opened:  # it was closed before this task had its turn
            raise BusyError("the model has just changed", retry_after_s=1)
        return opened

    async def _make_ready(self, model: StoredModel, opening: "asyncio.Future[_Opened]") -> None:
        changes = self._changes
        try:
            opened = await asyncio.to_thread(self._read, model)
        except (DeviceError, ModelsError, MeshError) as error:
            opening.set_exception(error)
            opening.exception()  # perhaps nobody waits for it any more
        else:
            self._opened[model.digest] = opened
            if self._closed or self._changes != changes:  # what was read may not be so any more
                self._opened.pop(model.digest).close()
            while len(self._opened) > MAX_OPENED:
                self._opened.popitem(last=False)[1].close()
            opening.set_result(opened)
        finally:
            del self._opening[model.digest]

    def _read(self, model: StoredModel) -> _Opened:
        release = self._releases.of(model, done=self._go_on)
        with contextlib.ExitStack() as opened:
            blobs = {
                blob.sha256: _Blob(opened.enter_context(self._file(blob)), self._trees.of(blob))
                for blob in model.manifest.blobs
            }
            opened.pop_all()
        return _Opened(release.to_bytes(), blobs)

    def _go_on(self, _done: int) -> None:
        """Break off what takes long once the node ends."""
        if self._closed:
            raise StoppingError("the node is stopping; the model is prepared for neighbours another time")

    def _file(self, blob: Blob) -> BinaryIO:
        return open_regular(self._store.blob_path(blob.sha256), size=blob.size)
