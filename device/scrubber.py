"""Verifying models, and having repaired what is damaged."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from device.api_of_models import Damage, PullProgress, Verification, Verified
from models.core.hash_tree import KnownTree
from models.core.manifest import Blob
from models.scrubbing import Scrubbed, at_low_priority, scrub
from models.store import ModelStore, StoredModel

Repair = Callable[[Blob, tuple[int, ...] | None], Awaitable[None]]
"""Makes a blob whole again, which lies at `store.aside_path`; told its damaged chunks of 256 KiB, where they are known.

Once it is whole it is in its place in the store (`store.add`); where it cannot be, it stays as it is.
"""


class Scrubber:
    """Reads models again, one after the other, however many ask for it."""

    def __init__(self, store: ModelStore) -> None:
        self.tree_of: Callable[[Blob], KnownTree | None] = lambda _: None
        """Gives the hash tree of a blob as it was when it was sound, where there is one."""
        self.repair: Repair = _cannot_repair
        """Called for each blob that was found damaged."""
        self._store = store
        self._scrubbing = asyncio.Lock()

    async def verify(self, models: Sequence[StoredModel], tell: Callable[[PullProgress], None]) -> Verification:
        """Read every file of these models once, and say what was found; models removed meanwhile are left out.

        Raises StoreWriteError where what is damaged cannot be set aside, CorruptStoreError.
        """
        blobs = {blob.sha256: blob for model in models for blob in model.manifest.blobs}
        total, done = sum(blob.size for blob in blobs.values()), 0
        damaged: dict[str, Damage] = {}
        async with self._scrubbing:
            for blob in blobs.values():
                found = await self._scrub(blob, _figures(tell, done, total))
                if not found.sound:
                    damaged[blob.sha256] = Damage(sha256=blob.sha256, size_bytes=blob.size, chunks=found.chunks or ())
                    await self.repair(blob, found.chunks)
                done += blob.size
        still_here = {model.name for model in await asyncio.to_thread(self._store.models)}
        return Verification(
            models=tuple(self._verified(model, damaged) for model in models if model.name in still_here)
        )

    async def _scrub(self, blob: Blob, done: Callable[[int], None]) -> Scrubbed:
        tree = self.tree_of(blob)
        return await at_low_priority(
            lambda told: scrub(self._store, blob, tree=tree, done=told), done=done, name="scrubbing"
        )

    def _verified(self, model: StoredModel, damaged: dict[str, Damage]) -> Verified:
        found = tuple(damaged[blob.sha256] for blob in model.manifest.blobs if blob.sha256 in damaged)
        return Verified(
            name=model.name,
            digest=model.digest,
            sound=not found,
            repaired=bool(found) and self._store.is_whole(model),
            damage=found,
        )


def damaged_of(store: ModelStore, models: Iterable[StoredModel]) -> frozenset[str]:
    """Give the digests of models that lack a file, as one does that was set aside."""
    return frozenset(model.digest for model in models if not store.is_whole(model))


async def _cannot_repair(_: Blob, __: tuple[int, ...] | None) -> None:
    """Leave it to the owner."""


def _figures(tell: Callable[[PullProgress], None], before: int, total: int) -> Callable[[int], None]:
    """Tell of all blobs what is heard of one."""
    return lambda done: tell(PullProgress(stage="verify", done=before + done, total=total))
