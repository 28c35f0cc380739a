"""The models of this node: what is here, what can be had, and answers by the engine."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

from device.api import CatalogueEntry, HeldModel, Model, PullProgress
from device.errands import Errands
from device.errors import DeviceError
from device.ports import SharingCounts
from mesh.publishing import verify
from models.cards import Cards
from models.catalogue import Catalogue
from models.catalogue import CatalogueEntry as Entry
from models.core.card import MAX_PROSE_CHARACTERS, line_of
from models.core.licences import UNKNOWN
from models.core.request import GenerationEvent, GenerationRequest
from models.errors import AmbiguousModelError, ModelNotFoundError
from models.fetch import manifest_of, pull
from models.host import EngineHost
from models.store import ModelStore, StoredModel

CONVERT_STEPS: Final = 1000  # a conversion's progress is told in thousandths
MAX_NEWS: Final = 64
MAX_NAME_CHARACTERS: Final = 64
SHOWN_DIGITS: Final = 8

log = logging.getLogger(__name__)

T = TypeVar("T")
Tell = Callable[[PullProgress], None]


class Neighbours(Protocol):
    """Where models can be had besides the catalogue (`device.sharing.sharing.Sharing`)."""

    def offered(self, key: str) -> Sequence[HeldModel]:
        """The models of that name, or whose digest begins so, that nodes in reach hold; each digest once."""

    def counts(self) -> SharingCounts:
        """What goes on now, and what went over the wires since the start."""

    def pull(self, digest: str, name: str) -> AsyncGenerator[PullProgress | StoredModel, None]:
        """Bring a model here; yield how far it is, at the end the model.  Raises DeviceError, ModelsError."""


class Library:
    """Store, catalogue and engine of one node.  on_change: called when the models here are others than before."""

    def __init__(
        self, *, store: ModelStore, catalogue: Catalogue, engine: EngineHost, cache_dir: Path, errands: Errands
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.sharing: Neighbours | None = None
        """Set before anything is pulled, where there are neighbours."""
        self.store = store
        self._errands = errands
        self.cards = Cards(store, verify=verify)
        self._catalogue = catalogue
        self._engine = engine
        self._cache_dir = cache_dir
        # Only this process writes the store, so what it holds need not be read from the disk for every question.
        self._stored = store.models()

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
        """The models here, as the store has them."""
        return self._stored

    def sharing_counts(self) -> SharingCounts:
        """What goes to and comes from neighbours."""
        return self.sharing.counts() if self.sharing is not None else SharingCounts()

    def find(self, key: str) -> StoredModel:
        """One model as the store has it, by name or digest.  Raises ModelNotFoundError, AmbiguousModelError."""
        return self.store.find(key)

    def models(self) -> tuple[Model, ...]:
        """The models here, by name."""
        return tuple(self._shown(model) for model in self._stored)

    def held(self) -> tuple[HeldModel, ...]:
        """The same, as neighbours are told."""
        return tuple(HeldModel(name=m.name, digest=m.digest, size_bytes=m.size_bytes) for m in self._stored)

    def model(self, key: str) -> Model:
        """One model by name or digest.  Raises ModelNotFoundError, AmbiguousModelError."""
        return self._shown(self.store.find(key))

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
        async with contextlib.aclosing(self._engine.generate(model, request, scope=scope)) as events:
            async for event in events:
                yield event

    async def pull(self, name: str) -> AsyncGenerator[PullProgress | Model, None]:
        """Bring a model here, from neighbours that hold it, else from the catalogue, and make it ready to answer.

        Yield progress, at the end the model.  Closing the generator stops the pull; what arrived is kept for the next
        one.  Raises ModelsError, and DeviceError where only neighbours have it and none gives it.
        """
        entry = next((entry for entry in self._catalogue.entries if entry.name == name), None)
        offered = self._offered(name, entry)
        if offered is None:
            events = self._from_catalogue(entry or self._catalogue.find(name))
        else:
            events = self._from_neighbours(offered, entry)
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, StoredModel):
                    model = event
                else:
                    yield event
        async with contextlib.aclosing(self._prepared(model)) as steps:
            async for step in steps:
                yield step
        yield self._shown(model)

    def arrived(self, _model: StoredModel) -> None:
        """A model has come from neighbours and is in the store."""
        self._changed()

    def _offered(self, key: str, entry: Entry | None) -> HeldModel | None:
        """What neighbours have of that name: exactly the catalogue's model, if it is in there.  AmbiguousModelError."""
        here = {model.digest for model in self._stored}
        if self.sharing is None:
            return None
        if entry is not None:
            digest = manifest_of(entry).digest
            offered = [] if digest in here else self.sharing.offered(digest)
            return HeldModel(name=entry.name, digest=digest, size_bytes=entry.size_bytes) if offered else None
        offered = [model for model in self.sharing.offered(key) if model.digest not in here]
        if len(offered) > 1:
            raise AmbiguousModelError(f"{key} could be {', '.join(model.digest[:SHOWN_DIGITS] for model in offered)}")
        return offered[0] if offered else None

    async def _from_neighbours(
        self, offered: HeldModel, entry: Entry | None
    ) -> AsyncGenerator[PullProgress | StoredModel, None]:
        """Fetch a model from whoever holds it; when nobody gives it, from the catalogue, where that has it."""
        if self.sharing is None:
            return
        name = offered.name
        if entry is None and any(model.name == name for model in self._stored):  # another model: it stays
            name = f"{name[: MAX_NAME_CHARACTERS - SHOWN_DIGITS - 1]}-{offered.digest[:SHOWN_DIGITS]}"
        try:
            async with contextlib.aclosing(self.sharing.pull(offered.digest, name)) as events:
                async for event in events:
                    yield event
        except DeviceError as error:
            if entry is None:
                raise
            log.info("%s does not come from neighbours, but from the catalogue: %s", name, error)
        else:
            return
        async with contextlib.aclosing(self._from_catalogue(entry)) as events:
            async for event in events:
                yield event

    async def _from_catalogue(self, entry: Entry) -> AsyncGenerator[PullProgress | StoredModel, None]:
        async def work(tell: Tell) -> StoredModel:
            model = await pull(
                entry,
                store=self.store,
                cache_dir=self._cache_dir,
                progress=lambda step: tell(PullProgress(stage=step.stage, done=step.done, total=step.total)),
            )
            await self.cards.describe(model, entry)
            self._changed()
            return model

        async with contextlib.aclosing(_followed(work, name=f"pull {entry.name}")) as events:
            async for event in events:
                yield event

    async def _prepared(self, model: StoredModel) -> AsyncGenerator[PullProgress, None]:
        async def work(tell: Tell) -> None:
            await self._engine.prepare(model, lambda fraction: tell(_converted(fraction)))

        async with contextlib.aclosing(_followed(work, name=f"prepare {model.name}")) as events:
            async for event in events:
                if event is not None:
                    yield event

    async def remove(self, name: str) -> None:
        """Forget a model and what only it needs.  Raises ModelNotFoundError, StoreWriteError."""
        await asyncio.to_thread(self.store.remove, self.store.find(name).name)
        self._changed()
        # Its graph goes once the answer that may be using it has ended.
        self._errands.spawn(self._engine.collect(), name="collect graphs")

    async def aclose(self) -> None:
        """Break off what the engine does and end its process."""
        await self._engine.aclose()

    def _changed(self) -> None:
        before, self._stored = self._stored, self.store.models()
        if before != self._stored:
            self.on_change()

    def _shown(self, model: StoredModel) -> Model:
        digest, converted = self._engine.loading or ("", 0.0)
        card = self.cards.of(model).card
        return Model(
            name=model.name,
            digest=model.digest,
            size_bytes=model.size_bytes,
            licence=card.licence,
            description="" if card.description == UNKNOWN else card.description,
            trained_on=line_of(card.trained_on, MAX_PROSE_CHARACTERS),
            bad_at=line_of(card.bad_at, MAX_PROSE_CHARACTERS),
            loaded=self._engine.loaded == model.digest,
            loading=digest == model.digest,
            converted_percent=round(100 * converted) if digest == model.digest else 0,
        )


async def _followed(work: Callable[[Tell], Awaitable[T]], *, name: str) -> AsyncGenerator[PullProgress | T, None]:
    """Do something that tells how far it is; yield that, and its result last.  Closing the generator breaks it off."""
    news: asyncio.Queue[PullProgress | None] = asyncio.Queue(MAX_NEWS)

    def tell(step: PullProgress | None) -> None:
        if news.full():
            news.get_nowait()  # the oldest figure is worth least
        news.put_nowait(step)

    async def to_its_end() -> T:
        try:
            return await work(tell)
        finally:
            tell(None)

    working = asyncio.create_task(to_its_end(), name=name)
    try:
        while (step := await news.get()) is not None:
            yield step
        yield await working
    finally:
        working.cancel()
        await asyncio.wait((working,))


def _converted(fraction: float) -> PullProgress:
    return PullProgress(stage="convert", done=round(fraction * CONVERT_STEPS), total=CONVERT_STEPS)
