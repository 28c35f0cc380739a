"""Publishing and retiring models: what the owner has this node sign into the community's record."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Iterable, Mapping

from device.api_of_models import PullProgress
from device.api_of_record import OnRecord
from device.core.governance import PublishedModel, may_publish, may_retire
from device.errors import BadRequestError, NotPublishedError, RetiredModelError, RetiringNotAllowedError
from device.library import Library
from device.ports import Record
from device.progress_stream import Tell, told
from device.pulling import MIN_PREFIX, told_as_steps
from device.record.reading import Reading, Readings
from device.sharing.releases import Releases
from mesh.core.entries import MAX_REASON, PublishModel, RetireModel
from mesh.errors import NoCommunityError
from models.errors import AmbiguousModelError, ModelNotFoundError
from models.fetch import Steps
from models.store import StoredModel


class Publishing:
    """Signs for one node."""

    def __init__(self, *, library: Library, releases: Releases, record: Record, readings: Readings) -> None:
        self._library = library
        self._releases = releases
        self._record = record
        self._readings = readings
        self._own = record.own
        self._signing = asyncio.Lock()  # from what the record says to what is signed because of it

    async def on_record(self, digests: Iterable[str]) -> Mapping[str, OnRecord]:
        """What the record says of those of some models that were ever published, by digest."""
        try:
            reading = await self._readings.now()
        except NoCommunityError:
            return {}
        found = ((digest, reading.models.get(bytes.fromhex(digest))) for digest in digests)
        return {digest: reading.of(model) for digest, model in found if model is not None}

    async def publish(self, key: str) -> AsyncGenerator[PullProgress | OnRecord, None]:
        """Publish a model that is here, by name or digest: sign its release, unless there is one, and the entry.

        Yield progress, since a first release reads all of the model; at the end what the record says of it then.  What
        the record says already is not signed again.  Raises NoCommunityError, NotSharedError where it may not be passed
        on, RetiredModelError, ModelsError, MeshError.
        """
        model = self._library.find(key)

        async def work(tell: Tell[OnRecord]) -> OnRecord:
            await self._readings.now()  # whoever has no community need not wait for a release
            steps, release_of = Steps(told_as_steps(tell)), self._releases.of
            release = await steps.in_thread("verify", model.size_bytes, lambda done: release_of(model, done=done))
            digest = hashlib.sha256(release.to_bytes()).digest()
            body = PublishModel(bytes.fromhex(model.digest), digest, model.name, release.card.licence)
            return await self._sign_publication(body)

        async with contextlib.aclosing(told(work, name=f"publish {key}")) as news:
            async for one in news:
                yield one

    async def retire(self, key: str, reason: str) -> OnRecord:
        """Take a model back, by name or digest, be it here or not; return what the record says of it then.

        Raises NoCommunityError, NotPublishedError, AmbiguousModelError, RetiringNotAllowedError, MeshError.
        """
        if len(reason) > MAX_REASON or not reason.isprintable():
            raise BadRequestError(f"reason: up to {MAX_REASON} printable characters", param="reason")
        async with self._signing:
            reading = await self._readings.now()
            model = self._find(key, reading.models)
            if not may_retire(self._own, model, reading.standing):
                by = ", ".join(reading.of(model).published_by)
                raise RetiringNotAllowedError(f"{model.name} was published by {by}; this node does not vote")
            if self._takes_anything(model, reading):
                self._record.sign(RetireModel(model.digest, reason))
            return await self._said(model.digest)

    async def _sign_publication(self, body: PublishModel) -> OnRecord:
        async with self._signing:
            reading = await self._readings.now()
            model = reading.models.get(body.digest)
            if not may_publish(self._own, model, reading.standing):
                retired = reading.of(model).retired if model else ""
                raise RetiredModelError(f"{body.name} was retired {retired}")
            if not self._says(model, body):
                self._record.sign(body)
            return await self._said(body.digest)

    def _says(self, model: PublishedModel | None, body: PublishModel) -> bool:
        """Whether the record has these very words of this node, and they stand."""
        if model is None or model.retirement is not None:
            return False
        said = (self._own, body.release, body.name, body.licence)
        return any((one.publisher, one.release, one.name, one.licence) == said for one in model.publications)

    def _takes_anything(self, model: PublishedModel, reading: Reading) -> bool:
        """Whether it still stands, or only its publishers took it back and a voter speaks for everyone."""
        retirement = model.retirement
        return retirement is None or (reading.standing.votes(self._own) and not retirement.of_voter)

    def _find(self, key: str, models: Mapping[bytes, PublishedModel]) -> PublishedModel:
        here = self._here(key)
        if here is not None and (model := models.get(bytes.fromhex(here.digest))) is not None:
            return model
        found = [
            model
            for digest, model in models.items()
            if any(one.name == key for one in model.publications)
            or (len(key) >= MIN_PREFIX and digest.hex().startswith(key))
        ]
        if len(found) > 1:
            raise AmbiguousModelError(f"{len(found)} published models are called {key[:64]}")
        if not found:
            raise NotPublishedError(f"no model {key[:64]!r} is published")
        return found[0]

    def _here(self, key: str) -> StoredModel | None:
        try:
            return self._library.find(key)
        except ModelNotFoundError:
            return None

    async def _said(self, digest: bytes) -> OnRecord:
        reading = await self._readings.now()
        model = reading.models.get(digest)
        if model is None:
            raise NotPublishedError("what this node signs does not count now: hearth log says what does")
        return reading.of(model)
