"""Damaged models made whole again by neighbours: what is right in them stays, only the rest comes anew."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

from device.errors import DeviceError
from device.pulling import Neighbours
from mesh.errors import MeshError
from models.blob_trees import BlobTrees
from models.core.hash_tree import KnownTree
from models.core.manifest import Blob
from models.errors import ModelsError
from models.store import ModelStore

log = logging.getLogger(__name__)


class Repairer:
    """What a `device.scrubber.Scrubber` needs to know of hash trees and neighbours."""

    def __init__(self, store: ModelStore, trees: BlobTrees, neighbours: Neighbours) -> None:
        self._store = store
        self._trees = trees
        self._neighbours = neighbours

    def tree_of(self, blob: Blob) -> KnownTree | None:
        """Give the hash tree of a blob, where it was kept while the blob was sound."""
        return self._trees.kept(blob)

    async def repair(self, blob: Blob, _chunks: Sequence[int] | None) -> None:
        """Fetch what is damaged of a blob that was set aside from whoever holds a model that it belongs to.

        Where nobody in reach does, or gives it, it stays aside, and that is logged.
        """
        for model in await asyncio.to_thread(self._store.models):
            if blob not in model.manifest.blobs or not self._neighbours.offered(model.digest):
                continue
            try:
                async with aclosing(self._neighbours.pull(model.digest, model.name)) as events:
                    async for _ in events:
                        pass
            except (DeviceError, MeshError, ModelsError) as error:
                log.warning("%s stays damaged for now: %s", model.name, error)
            else:
                return
