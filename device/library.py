"""The models of this node: what is here, what can be had, and answers by the engine."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final

from device.api import CatalogueEntry, HeldModel, Model, PullProgress
from device.errands import Errands
from models.catalogue import Catalogue
from models.core.request import GenerationEvent, GenerationRequest
from models.errors import ModelNotFoundError, NotEnoughMemoryError
from models.fetch import pull
from models.host import EngineHost
from models.store import ModelStore, StoredModel

CONVERT_STEPS: Final = 1000  # a conversion's progress is told in thousandths
MAX_NEWS: Final = 64


class Library:
    """Store, catalogue and engine of one node.  on_change: called when the models here are others than before."""

    def __init__(
        self, *, store: ModelStore, catalogue: Catalogue, engine: EngineHost, cache_dir: Path, errands: Errands
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._errands = errands
        self._store = store
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

    def models(self) -> tuple[Model, ...]:
        """The models here, by name."""
        return tuple(self._shown(model) for model in self._stored)

    def held(self) -> tuple[HeldModel, ...]:
        """The same, as neighbours are told."""
        return tuple(HeldModel(name=m.name, digest=m.digest, size_bytes=m.size_bytes) for m in self._stored)

    def coming(self, digest: str) -> int | None:
        """How far the conversion of a model is, in per cent, that is being made ready; None for any other."""
        coming, converted = self._engine.loading or ("", 0.0)
        return round(100 * converted) if coming == digest else None

    def model(self, key: str) -> Model:
        """One model by name or digest.  Raises ModelNotFoundError, AmbiguousModelError."""
        return self._shown(self._store.find(key))

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
        """Bring a model of the catalogue here and make it ready to answer; yield progress, at the end the model.

        Closing the generator stops the pull; what arrived is kept for the next one.  Raises ModelsError.
        """
        entry = self._catalogue.find(name)
        news: asyncio.Queue[PullProgress | None] = asyncio.Queue(MAX_NEWS)

        def tell(step: PullProgress | None) -> None:
            if news.full():
                news.get_nowait()  # the oldest figure is worth least
            news.put_nowait(step)

        async def work() -> StoredModel:
            try:
                model = await pull(
                    entry,
                    store=self._store,
                    cache_dir=self._cache_dir,
                    progress=lambda step: tell(PullProgress(stage=step.stage, done=step.done, total=step.total)),
                )
                self._changed()
                with contextlib.suppress(NotEnoughMemoryError):  # what is left is done when it is loaded
                    await self._engine.prepare(model, lambda fraction: tell(_converted(fraction)))
                return model
            finally:
                tell(None)

        working = asyncio.create_task(work(), name=f"pull {name}")
        try:
            while (step := await news.get()) is not None:
                yield step
            yield self._shown(await working)
        finally:
            working.cancel()
            await asyncio.wait((working,))

    async def remove(self, name: str) -> None:
        """Forget a model and what only it needs.  Raises ModelNotFoundError, StoreWriteError."""
        await asyncio.to_thread(self._store.remove, self._store.find(name).name)
        self._changed()
        # Its graph goes once the answer that may be using it has ended.
        self._errands.spawn(self._engine.collect(), name="collect graphs")

    async def aclose(self) -> None:
        """Break off what the engine does and end its process."""
        await self._engine.aclose()

    def _changed(self) -> None:
        before, self._stored = self._stored, self._store.models()
        if before != self._stored:
            self.on_change()

    def _shown(self, model: StoredModel) -> Model:
        converted_percent = self.coming(model.digest)
        return Model(
            name=model.name,
            digest=model.digest,
            size_bytes=model.size_bytes,
            licence=model.licence,
            description=model.description,
            loaded=self._engine.loaded == model.digest,
            loading=converted_percent is not None,
            converted_percent=converted_percent or 0,
        )


def _converted(fraction: float) -> PullProgress:
    return PullProgress(stage="convert", done=round(fraction * CONVERT_STEPS), total=CONVERT_STEPS)
