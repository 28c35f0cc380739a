"""Fetching one model: its release from whoever gives it, then pages and chunks from all who hold some of it.

device/core/swarm.py chooses what is asked of whom; here it is asked.  What comes is checked before it is written, and
written before anybody else is told of it.  What has come outlives every error, and the process.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final

from device.core.sharing_messages import (
    MAX_WANTED_CHUNKS,
    GiveChunk,
    GiveHolding,
    Given,
    GivePage,
    GiveRelease,
    Refused,
    WantChunks,
    WantHolding,
    WantPage,
    WantRelease,
)
from device.core.swarm import Chunk, Part, Progress, Request, Swarm, TreePage, WantedBlob
from device.errors import DeviceError, NoHolderError, NotSharedError
from device.ports import GiveAndTake, Uncounted
from device.sharing.relatives import Relatives
from device.sharing.releases import Releases
from device.sharing.requests import Requests
from mesh.core.contributions import Amount
from mesh.core.token_bucket import TokenBucket
from mesh.errors import LinkDownError, MeshError
from models.arrivals import Arrival, Arrivals
from models.core.hash_tree import Bytes, PageId
from models.core.manifest import Manifest
from models.errors import ArrivalNotFoundError, ChecksumMismatchError, ModelsError

HOLDINGS_EVERY_S: Final = 2.0  # whoever does not hold all of it is asked anew what it holds
RELEASE_WITHIN_S: Final = 5.0
BUSY_PAUSE_S: Final = 0.25
MAX_UNWRITTEN: Final = 8  # chunks that wait for the disk; then nothing is asked for until it has caught up
PATIENCE_S: Final = 15.0  # until it is said that nobody gives the model at all

log = logging.getLogger(__name__)

Holders = Callable[[], Sequence[str]]
"""The nodes in reach that may hold some of the model, the likeliest first."""


class Fetch:
    """One model on its way here; `run` brings it, `stir` tells that others are in reach than before."""

    def __init__(
        self,
        digest: str,
        *,
        requests: Requests,
        arrivals: Arrivals,
        releases: Releases,
        holders: Holders,
        relatives: Relatives,
        limit: TokenBucket | None,
        patience_s: float = PATIENCE_S,
        counts: GiveAndTake | None = None,
    ) -> None:
        self.digest = digest
        self.trouble = ""
        """Why nothing comes, for people; empty while something does."""
        self.checked_bytes = 0
        """How much of what lay here from before has been looked at."""
        self.bytes_fetched = 0
        """Of chunks that came and were right, since this fetch began."""
        self._requests = requests
        self._arrivals = arrivals
        self._releases = releases
        self._holders = holders
        self._relatives = relatives
        self._limit = limit
        self._patience_s = patience_s
        self._counts = counts or Uncounted()
        self._swarm: Swarm | None = None
        self._arrival: Arrival | None = None
        self._complete: set[str] = set()  # sources that hold all of it
        self._pages: list[tuple[str, TreePage, bytes]] = []
        self._unwritten: list[tuple[Chunk, Bytes]] = []
        self._writing: asyncio.Task[None] | None = None
        self._holdings_at = 0.0
        self._stirred = asyncio.Event()

    @property
    def arrival(self) -> Arrival | None:
        """What is here of it so far; None before it is known what it is."""
        return self._arrival

    def progress(self) -> Progress | None:
        """How far it is; None before the first chunk can be asked for."""
        return self._swarm.progress(now=self._now()) if self._swarm is not None else None

    def stir(self) -> None:
        """Look again who is in reach."""
        self._holdings_at = 0.0
        self._stirred.set()

    def wants_too(self, peer: str) -> None:
        """Note that a neighbour asks what is here of it: it fetches the same, and best gets other parts first."""
        if self._swarm is not None:
            self._swarm.wants_too(peer, now=self._now())

    async def begin(self, admit: Callable[[Manifest], Awaitable[None]]) -> Arrival:
        """Go on with what is here of the model, or learn from a neighbour what it is, and reserve its space.

        admit: makes room for it, before anything is reserved; what it raises ends this.
        Raises NoHolderError, NotSharedError, StrangersReleaseError, ModelsError.
        """
        try:
            arrival = await asyncio.to_thread(self._arrivals.resume, self.digest, done=self._checked)
            self._arrival = arrival
            await admit(arrival.promise.manifest)
        except ArrivalNotFoundError:
            release = await self._release()
            await admit(self._releases.read(release).manifest)
            self._arrival = await asyncio.to_thread(self._begun, release)
        return self._arrival

    def _begun(self, release: bytes) -> Arrival:
        """Reserve the space; of a blob that was found damaged, what is right need not come."""
        store, manifest = self._arrivals.store, self._releases.read(release).manifest
        aside = {blob.sha256: store.aside_path(blob.sha256) for blob in manifest.blobs}
        beginnings = {sha256: path for sha256, path in aside.items() if path.exists()}
        return self._arrivals.begin(release, beginnings=beginnings, done=self._checked)

    async def run(self) -> None:
        """Bring every chunk, however long that takes.  Raises DiskFullError, StoreWriteError; what came is kept."""
        arrival = self._arrival
        if arrival is None:
            raise AssertionError("it has begun by then")
        wanted = [
            WantedBlob(sha256, one.blob.size, one.have(), one.tree.known) for sha256, one in arrival.blobs.items()
        ]
        swarm = self._swarm = Swarm(wanted, below=random.randrange, limit=self._limit, chunks_later=True)
        looked_here = False
        try:
            while True:
                self._stirred.clear()
                await self._take_pages(arrival, swarm)
                if swarm.knows_trees and not looked_here:
                    looked_here = True
                    await self._adopt(arrival, swarm)
                self._write(arrival)
                if swarm.is_done and self._writing is None:
                    break
                self._look_around(swarm)
                wake_at = self._ask(swarm) if len(self._unwritten) < MAX_UNWRITTEN else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(self._holdings_at, wake_at or self._holdings_at)):
                        await self._stirred.wait()
        finally:
            if self._writing is not None:
                await asyncio.wait((self._writing,))

    async def _release(self) -> bytes:
        """Ask one holder after the other, until one gives a release that this node believes."""
        refusal: DeviceError | ModelsError = NoHolderError(f"no node in reach holds the model {self.digest[:12]}")
        give_up_at = self._now() + self._patience_s
        while True:
            holders = self._holders()
            busy = not holders  # whoever told of it may be back in a moment
            for peer in holders:
                match await self._requests.ask(peer, WantRelease(self.digest), within_s=RELEASE_WITHIN_S):
                    case GiveRelease(data):
                        try:
                            await asyncio.to_thread(self._releases.accept, data, digest=self.digest)
                        except (DeviceError, ModelsError) as error:
                            log.warning("the release from %s is not taken: %s", peer[:8], error)
                            refusal = error
                        else:
                            return data
                    case Refused("not_shared"):
                        hint = "its owner can say more: hearth models card NAME, at that node"
                        refusal = NotSharedError(f"{peer[:8]} holds the model and does not pass it on", hint=hint)
                    case Refused("busy") | None:
                        busy = True
            if not busy or self._now() >= give_up_at:
                raise refusal
            await asyncio.sleep(BUSY_PAUSE_S)

    def _ask(self, swarm: Swarm) -> float | None:
        """Do what the swarm has decided; return when it wants to be asked again."""
        decision = swarm.decide(now=self._now())
        for source, want in self._wants(decision.requests):
            self._send(swarm, source, want)
        for source in decision.dropped:
            log.info("nothing comes from %s: it is left alone for a while", source[:8])
        return decision.wake_at

    def _wants(self, requests: Sequence[Request]) -> Iterator[tuple[str, WantChunks | WantPage]]:
        """Ask each source for the chunks of a blob together: on fast links half the work is in the messages."""
        together: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for request in requests:
            if isinstance(request.part, Chunk):
                together[request.source, request.part.blob].append(request.part.index)
            else:
                yield request.source, WantPage(self.digest, request.part.blob, request.part.level, request.part.index)
        for (source, blob), indexes in together.items():
            for first in range(0, len(indexes), MAX_WANTED_CHUNKS):
                yield source, WantChunks(self.digest, blob, tuple(indexes[first : first + MAX_WANTED_CHUNKS]))

    def _send(self, swarm: Swarm, source: str, want: WantChunks | WantPage) -> None:
        try:
            self._requests.send(source, want, partial(self._answered, source, want))
        except LinkDownError:
            self._complete.discard(source)
            swarm.gone(source, now=self._now())
        except MeshError:
            for part in _parts(want):
                swarm.failed(source, part, now=self._now())

    def _answered(self, source: str, want: WantChunks | WantPage, given: Given) -> None:
        """Take an answer, one of several where several chunks were asked for."""
        swarm = self._swarm
        if swarm is None:
            return
        match want, given:
            case _, Refused(reason, index):
                for part in _parts(want):
                    if index is None or part.index == index:
                        swarm.refused(source, part, now=self._now(), busy=reason == "busy")
            case WantChunks(_, blob, indexes), GiveChunk(index, data) if index in indexes:
                self._take(swarm, source, Chunk(blob, index), data)
            case WantPage(_, blob, level, index), GivePage(data):
                if swarm.is_wanted(source, page := TreePage(blob, level, index)):
                    self._pages.append((source, page, data))
            case _:  # an answer to something else
                self._forged(swarm, source, _parts(want)[0])
        self._stirred.set()

    def _take(self, swarm: Swarm, source: str, part: Chunk, data: Bytes) -> None:
        """Check a chunk, at once, so that the next can be asked for; it is written off the loop."""
        arrival = self._arrival
        if not swarm.is_wanted(source, part):
            swarm.in_vain(source, len(data), now=self._now())
            return
        if arrival is None or not arrival.blobs[part.blob].tree.fits_chunk(part.index, data):
            self._forged(swarm, source, part)
            return
        self._unwritten.append((part, data))
        self.bytes_fetched += len(data)
        self._counts.received(source, Amount(model_bytes=len(data)))
        swarm.arrived(source, part, now=self._now())

    def _write(self, arrival: Arrival) -> None:
        """Have what has come written while more comes.  Raises what the last writing raised."""
        if self._writing is not None and self._writing.done():
            done, self._writing = self._writing, None
            done.result()
        if self._writing is None and self._unwritten:
            parts, self._unwritten = self._unwritten, []
            self._writing = asyncio.create_task(asyncio.to_thread(_written, arrival, parts), name="write chunks")
            self._writing.add_done_callback(lambda _: self._stirred.set())

    async def _take_pages(self, arrival: Arrival, swarm: Swarm) -> None:
        """Check and keep pages, off the loop: one may vouch for much that lies here already."""
        while self._pages:
            source, part, data = self._pages.pop()
            page = PageId(part.level, part.index)
            try:
                found = await asyncio.to_thread(arrival.blobs[part.blob].add_page, page, data)
            except ChecksumMismatchError:
                self._forged(swarm, source, part)
                continue
            swarm.arrived(source, part, now=self._now())
            swarm.adopted([Chunk(part.blob, index) for index in found])

    async def _adopt(self, arrival: Arrival, swarm: Swarm) -> None:
        """Take from the models here what they have in common with this one, and ask neighbours for the rest."""
        for sha256, chunks in (await asyncio.to_thread(self._relatives.adopt, arrival)).items():
            swarm.adopted([Chunk(sha256, index) for index in chunks])
        swarm.ask_for_chunks()

    def _forged(self, swarm: Swarm, source: str, part: Part) -> None:
        log.warning("%s sent something else than was asked for: it is asked no more", source[:8])
        swarm.corrupt(source, part, now=self._now())

    def _look_around(self, swarm: Swarm) -> None:
        """Ask, now and then, who holds what; and forget who is out of reach."""
        now = self._now()
        if now < self._holdings_at:
            return
        self._holdings_at = now + HOLDINGS_EVERY_S
        holders = self._holders()
        for source in swarm.sources.difference(holders):
            self._complete.discard(source)
            swarm.gone(source, now=now)
        for peer in holders:
            if peer not in self._complete:
                with contextlib.suppress(MeshError):  # it is asked again soon
                    self._requests.send(peer, WantHolding(self.digest), partial(self._told, swarm, peer))
        self.trouble = "" if swarm.sources else "no node in reach holds it now"

    def _told(self, swarm: Swarm, peer: str, given: Given) -> None:
        if isinstance(given, GiveHolding):
            swarm.source_has(peer, given.blobs, now=self._now())
            if self._is_complete(given):
                self._complete.add(peer)
            self.trouble = ""
            self._stirred.set()

    def _is_complete(self, given: GiveHolding) -> bool:
        blobs = self._arrival.blobs if self._arrival is not None else {}
        return all(sha256 in given.blobs and given.blobs[sha256] is None for sha256 in blobs)

    def _checked(self, done: int) -> None:
        self.checked_bytes = done

    @staticmethod
    def _now() -> float:
        return time.monotonic()  # the loop's clock, without a system call to find the loop


def _parts(want: WantChunks | WantPage) -> list[Part]:
    if isinstance(want, WantPage):
        return [TreePage(want.blob, want.level, want.index)]
    return [Chunk(want.blob, index) for index in want.indexes]


def _written(arrival: Arrival, parts: Sequence[tuple[Chunk, Bytes]]) -> None:
    """Write chunks that have been checked; in a thread.  Raises DiskFullError, StoreWriteError."""
    for part, data in parts:
        arrival.blobs[part.blob].write_verified(part.index, data)
