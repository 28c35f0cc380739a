"""A transfer: one model from the moment its owner wants it until it is installed, stopped, or cannot come.

STORE/arrivals/DIGEST/wanted.json   {"name": what it will be called, "paused": whether its owner stopped it}
"""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.api_of_models import Arriving, PullProgress, Removed
from device.errors import DeviceError, NoHolderError
from device.sharing.fetching import Fetch
from device.sharing.releases import Releases
from mesh.errors import MeshError
from models.arrivals import Arrival, Arrivals
from models.core.bundle import RELEASE
from models.core.manifest import Manifest
from models.errors import CorruptStoreError, InvalidRequestError, ModelsError
from models.files import open_regular, write_atomically
from models.store import Details, StoredModel, require_name

WANTED: Final = "wanted.json"
MAX_WANTED_BYTES: Final = 1024
MAX_REMOVED: Final = 64  # kept for whoever follows

RoomFor = Callable[[str, Manifest, Callable[[Removed], None]], AbstractAsyncContextManager[None]]
"""Holds room for a model of that name while it comes, and tells what was removed for it (`device.quota.Quota`)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What an owner wanted: the name it will have, and whether its owner stopped it."""

    name: str
    paused: bool


class Transfer:
    """One model on its way.  `done` holds it once it is here, or why it is not; `run` is the work."""

    def __init__(
        self,
        fetch: Fetch,
        name: str,
        *,
        arrivals: Arrivals,
        releases: Releases,
        reading: asyncio.Lock,
        on_arrived: Callable[[StoredModel], None],
        room: RoomFor,
    ) -> None:
        """reading: held by whoever reads from the arrival for others."""
        self.fetch = fetch
        self.name = require_name(name)
        self.done: asyncio.Future[StoredModel] = asyncio.get_running_loop().create_future()
        self.followers = 0
        self.task: asyncio.Task[None] | None = None
        self._arrivals = arrivals
        self._releases = releases
        self._reading = reading
        self._on_arrived = on_arrived
        self._room = room
        self.removed: deque[Removed] = deque(maxlen=MAX_REMOVED)
        """What made room for it, and nobody has been told of."""
        self._stage = "ask"
        self._open = False  # whether others may read from the arrival
        self._abandoned = False

    @property
    def trouble(self) -> str:
        """Why nothing comes, for people; empty while something does."""
        return self.fetch.trouble

    @property
    def arrival(self) -> Arrival | None:
        """What is here of it, for others too; None before it begins and once it is being installed."""
        return self.fetch.arrival if self._open else None

    def arriving(self, *, stopped: bool) -> Arriving:
        """What it is, and how much of it is here."""
        arrival = self.fetch.arrival
        return Arriving(
            name=self.name,
            digest=self.fetch.digest,
            size_bytes=arrival.bytes_total if arrival is not None else 0,
            bytes_here=arrival.bytes_here if arrival is not None else 0,
            stopped=stopped,
        )

    def progress(self) -> PullProgress:
        """How far it is."""
        progress = self.fetch.progress()
        if self._stage != "fetch" or progress is None:
            return PullProgress(stage=self._stage)
        return PullProgress(
            stage="fetch",
            done=progress.bytes_verified,
            total=progress.bytes_total,
            sources=sum(one.state == "active" for one in progress.sources),
            bytes_per_s=round(progress.bytes_per_s),
        )

    async def run(self) -> None:
        """Bring the model and install it; nothing is raised: `done` tells."""
        try:
            model = await self._bring()
        except (DeviceError, MeshError, ModelsError) as error:
            log.info("the pull of %s ended: %s", self.name, error)
            self.done.set_exception(error)
            self.done.exception()  # perhaps nobody follows
        except asyncio.CancelledError:
            left = "what had come is deleted" if self._abandoned else "what has come is kept"
            self.done.set_exception(NoHolderError(f"the pull of {self.name} was stopped; {left}"))
            self.done.exception()
            raise
        else:
            self._on_arrived(model)
            self.done.set_result(model)

    async def pause(self) -> None:
        """Stop; it goes on when it is asked for again."""
        with contextlib.suppress(ModelsError):  # else it goes on after the next start
            await asyncio.to_thread(self._note, paused=True)
        await self._end()

    async def abandon(self) -> None:
        """Stop for good: what has come is deleted next."""
        self._abandoned = True
        await self._end()

    async def _end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait((self.task,))

    @staticmethod
    def wanted(arrivals: Arrivals, digest: str) -> Wanted | None:
        """Say what was wanted of a model on the disk; None where that cannot be read.  Blocks."""
        try:
            with open_regular(_wanted(arrivals, digest)) as file:
                fields = json.loads(file.read(MAX_WANTED_BYTES))
            match fields:
                case {"name": str(name), "paused": bool(paused)}:
                    return Wanted(require_name(name), paused=paused)
        except (CorruptStoreError, InvalidRequestError, ValueError, RecursionError) as error:
            log.debug("an arrival is left alone: %s", error)
        return None

    async def _bring(self) -> StoredModel:
        async with contextlib.AsyncExitStack() as held:

            async def admit(manifest: Manifest) -> None:
                await held.enter_async_context(self._room(self.name, manifest, self.removed.append))

            return await self._fetched(admit)

    async def _fetched(self, admit: Callable[[Manifest], Awaitable[None]]) -> StoredModel:
        digest = self.fetch.digest
        try:
            self._stage = "ask"
            arrival = await self.fetch.begin(admit)
            await asyncio.to_thread(self._note, paused=False)
            self._stage, self._open = "fetch", True
            await self.fetch.run()
            await self._shut()
            self._stage = "install"
            return await asyncio.to_thread(self._install, arrival)
        finally:
            await self._shut()
            await asyncio.to_thread(self._arrivals.close, digest)

    async def _shut(self) -> None:
        """Let nobody read from the arrival any more."""
        async with self._reading:
            self._open = False

    def _install(self, arrival: Arrival) -> StoredModel:
        release = self._releases.read(arrival.release)
        card = release.card
        details = Details(licence=card.licence, description=card.description, source=card.source)
        documents = {RELEASE: arrival.release}
        return self._arrivals.finish(arrival.digest, self.name, details, documents=documents)

    def _note(self, *, paused: bool) -> None:
        path = _wanted(self._arrivals, self.fetch.digest)
        if path.parent.is_dir():
            write_atomically(path, json.dumps({"name": self.name, "paused": paused}).encode())


def _wanted(arrivals: Arrivals, digest: str) -> Path:
    return arrivals.root / digest / WANTED
