"""Room on the disk for a model that comes: the quota, and what is removed so that it holds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from device.api_of_models import Removed
from device.core.fitting import CONVERTED_PART
from device.core.quota import Occupant, choose_removals
from device.retention import Retention
from models.core.manifest import Manifest
from models.host import EngineHost
from models.store import ModelStore, StoredModel


class Quota:
    """Sees to it that models and what is made of them take `quota_bytes` of the disk at most; 0 = as much as there is.

    remove: how a model is removed, by name.  Downloads kept for a next time count nothing: they go with their model,
    and as soon as it is here.
    """

    def __init__(
        self,
        *,
        store: ModelStore,
        engine: EngineHost,
        retention: Retention,
        cache_dir: Path,
        quota_bytes: int,
        remove: Callable[[str], Awaitable[object]],
    ) -> None:
        self._store = store
        self._engine = engine
        self._retention = retention
        self._cache_dir = cache_dir
        self._quota_bytes = quota_bytes
        self._remove = remove
        self._deciding = asyncio.Lock()
        self._coming: dict[str, Occupant] = {}  # by name: what has its room, and is not all here yet

    @contextlib.asynccontextmanager
    async def room_for(self, name: str, manifest: Manifest, tell: Callable[[Removed], None]) -> AsyncIterator[None]:
        """Hold room for a model while it comes; `tell` hears what was removed for it.

        Raises QuotaExceededError where there is no room to be made; nothing was removed then.  StoreWriteError.
        """
        async with self._deciding:
            await self._make_room(name, manifest, tell)
        try:
            yield
            self._drop_download(manifest)
        finally:
            self._coming.pop(name, None)

    async def _make_room(self, name: str, manifest: Manifest, tell: Callable[[Removed], None]) -> None:
        if not self._quota_bytes:
            return
        graphs = await asyncio.to_thread(self._engine.graph_bytes)
        stored = {model.name: model for model in await asyncio.to_thread(self._store.models)}
        coming = _files(manifest, graphs)
        occupants = [self._occupant(model, graphs) for model in stored.values()]
        for gone in choose_removals(
            [*occupants, *self._coming.values()], coming=coming, quota_bytes=self._quota_bytes, of_name=name
        ):
            model = stored[gone.name]
            await self._remove(model.name)
            self._drop_download(model.manifest)
            tell(Removed(name=model.name, digest=model.digest, size_bytes=model.size_bytes))
        self._coming[name] = Occupant(name=name, files=coming, kept=True)

    def _occupant(self, model: StoredModel, graphs: dict[str, int]) -> Occupant:
        loading, _ = self._engine.loading or ("", 0.0)
        in_use = model.digest in (self._engine.loaded, loading)
        return Occupant(
            name=model.name,
            files=_files(model.manifest, graphs),
            used_at_s=self._retention.used_at(model.digest),
            kept=in_use or self._retention.is_pinned(model.name),
        )

    def _drop_download(self, manifest: Manifest) -> None:
        """Delete what was kept of the way here; it would fill the disk beside the quota."""
        if self._quota_bytes:
            with contextlib.suppress(OSError):  # it may be had again, and may stay
                (self._cache_dir / f"{manifest.gguf.sha256}.gguf").unlink()


def _files(manifest: Manifest, graphs: dict[str, int]) -> dict[str, int]:
    """What a model takes, with what has been made of it, or will be."""
    graph = graphs.get(manifest.gguf.sha256, int(CONVERTED_PART * manifest.gguf.size))
    return {blob.sha256: blob.size for blob in manifest.blobs} | {_graph_of(manifest): graph}


def _graph_of(manifest: Manifest) -> str:
    return f"graphs of {manifest.gguf.sha256}"
