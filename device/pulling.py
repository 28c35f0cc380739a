"""Where a model comes from when its owner wants it: from neighbours that hold it, else from the catalogue."""

import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Final, Protocol

from device.api_of_models import Arriving, Deleted, HeldModel, PullProgress, Removed
from device.errors import DeviceError
from device.ports import SharingCounts
from device.progress_stream import Tell
from device.quota import Quota
from models.cards import Cards
from models.catalogue import Catalogue, CatalogueEntry
from models.errors import AmbiguousModelError
from models.fetch import PullProgress as FetchProgress
from models.fetch import manifest_of, pull
from models.store import ModelStore, StoredModel

MAX_NAME_CHARACTERS: Final = 64
Admit = Callable[[int], Awaitable[None]]
MIN_PREFIX: Final = 4  # of a digest that stands for a model
SHOWN_DIGITS: Final = 8

log = logging.getLogger(__name__)


class Neighbours(Protocol):
    """Where models can be had besides the catalogue (`device.sharing.sharing.Sharing`)."""

    def offered(self, key: str, *, absent: bool = False) -> Sequence[HeldModel]:
        """The models of that name, or whose digest begins so, that nodes in reach hold; each digest once.

        absent: also what those have told that are not in reach now.
        """

    def arriving(self) -> Sequence[Arriving]:
        """What is on its way here, by name; also what was stopped."""

    async def abandon(self, digest: str) -> None:
        """Stop a model that is on its way, and delete what has come of it.  Raises StoreWriteError."""

    def counts(self) -> SharingCounts:
        """What goes on now, and what went over the wires since the start."""

    def pull(self, digest: str, name: str) -> AsyncGenerator[PullProgress | Removed | StoredModel, None]:
        """Bring a model here; yield how far it is, at the end the model.  Raises DeviceError, ModelsError."""


class Puller:
    """Brings models into a store, and tells how far that is."""

    def __init__(self, *, store: ModelStore, catalogue: Catalogue, cards: Cards, cache_dir: Path, quota: Quota) -> None:
        self.neighbours: Neighbours | None = None
        """Set before anything is pulled, where there are some."""
        self._store = store
        self._catalogue = catalogue
        self._cards = cards
        self._cache_dir = cache_dir
        self._quota = quota

    async def bring(
        self, name: str, here: Collection[StoredModel], tell: Tell[Removed], *, admit: Admit
    ) -> StoredModel:
        """Bring the model of that name, or whose digest begins so.  here: the models that need not be brought.

        admit: told of its size before the first byte; what it raises ends this.  Cancelled, it keeps what has arrived
        for the next time.  Raises ModelsError, and DeviceError where only neighbours have it and none gives it.
        """
        entry = next((entry for entry in self._catalogue.entries if entry.name == name), None)
        arriving = self.begun(name)
        if arriving is not None:  # its room is held already, and it goes on once somebody is in reach
            found = arriving.digest, arriving.name
        else:
            offered = self._offered(name, entry, here)
            if offered is None:
                entry = entry or self._catalogue.find(name)
                await admit(entry.size_bytes)
                return await self._from_catalogue(entry, tell)
            await admit(offered.size_bytes)
            found = offered.digest, _free_name(offered, here) if entry is None else entry.name
        try:
            return await self._from_neighbours(*found, tell)
        except DeviceError as error:
            if entry is None:
                raise
            log.info("%s does not come from neighbours, but from the catalogue: %s", name, error)
        return await self._from_catalogue(entry, tell)

    def begun(self, key: str) -> Arriving | None:
        """The model of that name, or whose digest begins so, that is on its way here; whoever is in reach."""
        arriving = self.neighbours.arriving() if self.neighbours is not None else ()
        is_digest = len(key) >= MIN_PREFIX
        return next((one for one in arriving if one.name == key or (is_digest and one.digest.startswith(key))), None)

    async def abandon(self, arriving: Arriving) -> Deleted:
        """Give one up that is on its way, and delete what has come of it.  Raises StoreWriteError."""
        if self.neighbours is not None:
            await self.neighbours.abandon(arriving.digest)
        return Deleted(name=arriving.name, digest=arriving.digest, size_bytes=arriving.bytes_here, arriving=True)

    def _offered(self, key: str, entry: CatalogueEntry | None, here: Collection[StoredModel]) -> HeldModel | None:
        """What neighbours have of that name: exactly the catalogue's model, if it is in there.  AmbiguousModelError.

        What nobody else has is worth waiting for: the one that told of it may be back in a moment.
        """
        if self.neighbours is None:
            return None
        wanted = key if entry is None else manifest_of(entry).digest
        found = self.neighbours.offered(wanted)
        if not found and entry is None:
            found = self.neighbours.offered(wanted, absent=True)
        digests = {model.digest for model in here}
        offered = [model for model in found if model.digest not in digests]
        if len(offered) > 1:
            raise AmbiguousModelError(f"{key} could be {', '.join(model.digest[:SHOWN_DIGITS] for model in offered)}")
        return offered[0] if offered else None

    async def _from_neighbours(self, digest: str, name: str, tell: Tell[Removed]) -> StoredModel:
        if self.neighbours is None:
            raise AssertionError("somebody has offered it")
        async with contextlib.aclosing(self.neighbours.pull(digest, name)) as events:
            async for event in events:
                if isinstance(event, StoredModel):
                    return event
                tell(event)
        raise AssertionError("a pull ends with its model")

    async def _from_catalogue(self, entry: CatalogueEntry, tell: Tell[Removed]) -> StoredModel:
        async with self._quota.room_for(entry.name, manifest_of(entry), tell):
            model = await pull(entry, store=self._store, cache_dir=self._cache_dir, progress=told_as_steps(tell))
            await self._cards.describe(model, entry)
            return model


def told_as_steps(tell: Callable[[PullProgress], None]) -> Callable[[FetchProgress], None]:
    """Tell what a fetch says of itself."""
    return lambda step: tell(PullProgress(stage=step.stage, done=step.done, total=step.total))


def _free_name(offered: HeldModel, here: Collection[StoredModel]) -> str:
    """What it is called there, unless another model here is: that one keeps its name."""
    if all(model.name != offered.name for model in here):
        return offered.name
    return f"{offered.name[: MAX_NAME_CHARACTERS - SHOWN_DIGITS - 1]}-{offered.digest[:SHOWN_DIGITS]}"
