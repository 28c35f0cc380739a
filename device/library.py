"""The models of this node: what is here, what can be had, how it is cared for, and answers by the engine."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Final

from device.api_of_models import (
    Arriving,
    CatalogueEntry,
    Deleted,
    HeldModel,
    Model,
    PullProgress,
    Removed,
    Verification,
)
from device.core.fitting import Need, Room, shortfalls
from device.errands import Errands
from device.errors import WontFitError
from device.ports import SharingCounts
from device.progress_stream import Tell, told
from device.pulling import Puller, told_as_steps
from device.quota import Quota
from device.retention import FILE_NAME as RETENTION_FILE
from device.retention import Retention
from device.room_left import room_left
from device.scrubber import Scrubber, damaged_of
from mesh.publishing import verify
from models.bundle import BundleReader, bundle_of, bundle_pieces, require_free
from models.cards import Cards
from models.catalogue import Catalogue
from models.core.card import MAX_PROSE_CHARACTERS, line_of
from models.core.licences import UNKNOWN
from models.core.request import GenerationEvent, GenerationRequest
from models.errors import (
    AmbiguousModelError,
    CorruptModelError,
    ModelNotFoundError,
    NotEnoughMemoryError,
    UnsupportedModelError,
)
from models.fetch import Steps, exclusive
from models.files import Source
from models.host import EngineHost
from models.store import ModelStore, StoredModel, require_name

CONVERT_STEPS: Final = 1000  # a conversion's progress is told in thousandths


class Library:
    """Store, catalogue and engine of one node.  on_change: called when the models here are others than before."""

    def __init__(
        self,
        *,
        store: ModelStore,
        catalogue: Catalogue,
        engine: EngineHost,
        cache_dir: Path,
        errands: Errands,
        quota_bytes: int = 0,
        shares: bool = True,
    ) -> None:
        """quota_bytes: what models may take on the disk with what is made of them, 0 = no limit.

        shares: whether neighbours are given any.
        """
        self.on_change: Callable[[], None] = lambda: None
        self.store = store
        self._errands = errands
        self.cards = Cards(store, verify=verify)
        self._catalogue = catalogue
        self._engine = engine
        self._cache_dir = cache_dir
        self._shares = shares
        self._held: tuple[HeldModel, ...] | None = None  # cards are read from the disk, and not for every question
        # Only this process writes the store, so what it holds need not be read from the disk for every question.
        self._stored = store.models()
        self._damaged = damaged_of(store, self._stored)
        self._retention = Retention(store.root / RETENTION_FILE)
        self.quota = Quota(
            store=store,
            engine=engine,
            retention=self._retention,
            cache_dir=cache_dir,
            quota_bytes=quota_bytes,
            remove=self.remove,
        )
        self.puller = Puller(store=store, catalogue=catalogue, cards=self.cards, cache_dir=cache_dir, quota=self.quota)
        """What brings models here; it can be told of neighbours."""
        self.scrubber = Scrubber(store)
        """What verifies models; it can be told how to repair them."""

    @property
    def slots(self) -> int:
        """How many questions the engine answers at a time."""
        return self._engine.slots

    @property
    def engine_pid(self) -> int | None:
        """The process that has a model loaded; None while there is none."""
        return self._engine.pid

    @property
    def stored(self) -> tuple[StoredModel, ...]:
        """The models that are here and sound, as the store has them."""
        return tuple(model for model in self._stored if model.digest not in self._damaged)

    def sharing_counts(self) -> SharingCounts:
        """What goes to and comes from neighbours."""
        neighbours = self.puller.neighbours
        return neighbours.counts() if neighbours is not None else SharingCounts()

    def find(self, key: str) -> StoredModel:
        """One model as the store has it, by name or digest.  Raises ModelNotFoundError, AmbiguousModelError."""
        return self.store.find(key)

    def models(self) -> tuple[Model, ...]:
        """The models here, by name."""
        return tuple(self._shown(model) for model in self._stored)

    def held(self) -> tuple[HeldModel, ...]:
        """The same, as neighbours are told; none that is damaged."""
        if self._held is None:
            self._held = tuple(
                HeldModel(
                    name=model.name,
                    digest=model.digest,
                    size_bytes=model.size_bytes,
                    licence=self.cards.of(model).card.licence,
                    passed_on=self._passes_on(model),
                )
                for model in self.stored
            )
        return self._held

    def coming(self, digest: str) -> int | None:
        """How far the conversion of a model is, in per cent, that is being made ready; None for any other."""
        coming, converted = self._engine.loading or ("", 0.0)
        return round(100 * converted) if coming == digest else None

    def model(self, key: str) -> Model:
        """One model by name or digest.  Raises ModelNotFoundError, AmbiguousModelError."""
        return self._shown(self.store.find(key))

    def arriving(self) -> tuple[Arriving, ...]:
        """What is on its way here from neighbours, by name."""
        return tuple(self.puller.neighbours.arriving()) if self.puller.neighbours is not None else ()

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """What can be had by name."""
        here = {model.name for model in self._stored}
        return tuple(
            CatalogueEntry(
                name=entry.name,
                size_bytes=entry.size_bytes,
                licence=entry.licence,
                description=entry.description,
                present=entry.name in here,
            )
            for entry in self._catalogue.entries
        )

    async def generate(
        self, digest: str, request: GenerationRequest, *, scope: str = ""
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Yield the events of an answer by the model with that digest; closing the generator cancels it.

        scope: whose questions may share what is computed for this one.
        Raises ModelNotFoundError when it is not here, and what the engine raises.
        """
        model = next((model for model in self._stored if model.digest == digest), None)
        if model is None:
            raise ModelNotFoundError(f"no model with digest {digest[:12]} here")
        if digest in self._damaged:
            raise ModelNotFoundError(f"{model.name} is damaged here, and answers nobody until it is repaired")
        self._retention.used(digest)
        async with contextlib.aclosing(self._engine.generate(model, request, scope=scope)) as events:
            async for event in events:
                yield event

    async def pull(self, name: str, *, anyway: bool = False) -> AsyncGenerator[PullProgress | Removed | Model, None]:
        """Bring a model here, from neighbours that hold it, else from the catalogue, and make it ready to answer.

        anyway: even one that will hardly fit this board; else that raises WontFitError before the first byte.
        Yield progress, what was removed to make room for it, at the end the model.  Closing the generator stops the
        pull; what arrived is kept for the next one.  Raises ModelsError, and DeviceError where only neighbours have it
        and none gives it.
        """

        async def work(tell: Tell[Removed]) -> Model:
            known = anyway or any(name in (model.name, model.digest) for model in self._stored)
            admit = _welcome if known else self._require_fit
            return await self._made_ready(await self.puller.bring(name, self.stored, tell, admit=admit), tell)

        async with contextlib.aclosing(told(work, name=f"pull {name}")) as steps:
            async for step in steps:
                yield step

    def arrived(self, _model: StoredModel) -> None:
        """A model has come from neighbours and is in the store."""
        self._changed()

    async def import_bundle(
        self, source: Source, size: int, *, name: str = ""
    ) -> AsyncGenerator[PullProgress | Removed | Model, None]:
        """Install the model of a bundle of `size` bytes and make it ready; yield as `pull` does.

        source: read in a thread.  name: what the model is called here, where not as in the bundle.  Raises ModelsError;
        nothing was installed then, unless a sound model could not be converted for want of room or time.
        """

        async def work(tell: Tell[Removed]) -> Model:
            steps = Steps(told_as_steps(tell))
            reader = await steps.in_thread("import", size, lambda done: BundleReader(source, size, done=done))
            manifest, called = reader.bundle.manifest, require_name(name or reader.bundle.name)
            await asyncio.to_thread(require_free, self.store, called, manifest)
            async with (
                exclusive(self._cache_dir / f"{manifest.gguf.sha256}.lock"),  # a pull may be bringing the same file
                self.quota.room_for(called, manifest, tell),
            ):
                is_new = all(model.name != called for model in self._stored)
                install = reader.install
                model = await steps.in_thread("import", size, lambda done: install(self.store, name=called, done=done))
                try:
                    return await self._made_ready(model, tell)
                except (CorruptModelError, UnsupportedModelError):
                    if is_new:  # whole, but nothing that could ever answer
                        await self.remove(called)
                    raise

        async with contextlib.aclosing(told(work, name="import")) as news:
            async for step in news:
                yield step

    def bundle(self, key: str) -> tuple[int, Iterator[bytes]]:
        """Give a model as a bundle: its size, and its bytes in pieces.  Both block.

        Raises ModelNotFoundError, AmbiguousModelError, CorruptStoreError (DamagedModelError); the pieces raise these
        where a file turns out to be damaged: see `verify`.
        """
        model = self.store.find(key)
        for blob in model.manifest.blobs:
            self.store.path(blob)
        documents = self.store.documents(model.digest)
        bundle = bundle_of(model, documents)
        return bundle.size_bytes, bundle_pieces(bundle, self.store, documents)

    async def verify(self, key: str = "") -> AsyncGenerator[PullProgress | Verification, None]:
        """Read every file of a model, or of all, and compare it with its SHA-256; yield progress, then what was found.

        What is damaged is set aside, so that nobody is answered from it, and repaired where that can be.
        Raises ModelNotFoundError, AmbiguousModelError, StoreWriteError.
        """
        models = (self.store.find(key),) if key else self._stored

        async def work(tell: Tell[Verification]) -> Verification:
            try:
                return await self.scrubber.verify(models, tell)
            finally:
                self._changed()
                if self._damaged:
                    self._errands.spawn(self._engine.collect(), name="unload what is damaged")

        async with contextlib.aclosing(told(work, name="verify")) as steps:
            async for step in steps:
                yield step

    async def pin(self, key: str, *, pinned: bool) -> Model:
        """Keep a model whatever the quota says, or no more.  Raises ModelNotFoundError, DataDirectoryError."""
        model = self.store.find(key)
        await self._retention.pin(model.name, pinned=pinned)
        return self._shown(model)

    async def remove(self, key: str) -> Deleted:
        """Forget a model and what only it needs, or give one up that is on its way here.

        Raises ModelNotFoundError, AmbiguousModelError, StoreWriteError.
        """
        arriving = self.puller.begun(key)
        if arriving is not None and all(key not in (model.name, model.digest) for model in self._stored):
            if key != arriving.name and any(model.digest.startswith(key) for model in self._stored):
                raise AmbiguousModelError(f"{key} could be {arriving.name}, on its way here, or a model that is here")
            return await self.puller.abandon(arriving)
        model = self.store.find(key)
        await asyncio.to_thread(self.store.remove, model.name)
        await self._retention.forget(model.name)
        self._changed()
        # Its graph goes once the answer that may be using it has ended.
        self._errands.spawn(self._engine.collect(), name="collect graphs")
        return Deleted(name=model.name, digest=model.digest, size_bytes=model.size_bytes)

    def room(self) -> Room:
        """What the disks and the memory have left for another model.  Blocks."""
        return room_left(self.store.root, self._cache_dir, engine_pid=self.engine_pid)

    async def aclose(self) -> None:
        """Break off what the engine does and end its process."""
        await self._engine.aclose()
        await self._retention.aclose()

    async def _require_fit(self, size_bytes: int) -> None:
        """Refuse what will not fit, as far as its size tells.  Raises WontFitError."""
        short = shortfalls(Need.of(size_bytes), await asyncio.to_thread(self.room))
        if short:
            raise WontFitError(f"it will not fit this board: {'; '.join(short)}")

    async def _made_ready(self, model: StoredModel, tell: Callable[[PullProgress], None]) -> Model:
        self._changed()
        with contextlib.suppress(NotEnoughMemoryError):  # what is left is done when it is loaded
            await self._engine.prepare(model, lambda fraction: tell(_converted(fraction)))
        return self._shown(model)

    def cards_changed(self) -> None:
        """What neighbours are told of the models here is another than before."""
        self._held = None
        self.on_change()

    def _changed(self) -> None:
        before, self._held = (self._stored, self._damaged), None
        self._stored = self.store.models()
        self._damaged = damaged_of(self.store, self._stored)
        if before != (self._stored, self._damaged):
            self.on_change()

    def _passes_on(self, model: StoredModel) -> bool:
        return self._shares and self.cards.refusal(model) is None

    def _shown(self, model: StoredModel) -> Model:
        converted_percent = self.coming(model.digest)
        card = self.cards.of(model).card
        return Model(
            name=model.name,
            digest=model.digest,
            size_bytes=model.size_bytes,
            licence=card.licence,
            passed_on=self._passes_on(model),
            description="" if card.description == UNKNOWN else card.description,
            trained_on=line_of(card.trained_on, MAX_PROSE_CHARACTERS),
            bad_at=line_of(card.bad_at, MAX_PROSE_CHARACTERS),
            loaded=self._engine.loaded == model.digest,
            loading=converted_percent is not None,
            converted_percent=converted_percent or 0,
            pinned=self._retention.is_pinned(model.name),
            damaged=model.digest in self._damaged,
            used_ago_s=self._retention.used_ago_s(model.digest),
        )


async def _welcome(_: int) -> None:
    """Admit whatever comes."""


def _converted(fraction: float) -> PullProgress:
    return PullProgress(stage="convert", done=round(fraction * CONVERT_STEPS), total=CONVERT_STEPS)
