"""Sharing: where messages about models on their way come in, and where transfers live.

A transfer goes on after a restart as soon as somebody in reach holds the model, unless its owner stopped it; what has
come of it is kept in any case.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from device.api_of_models import Arriving, HeldModel, PullProgress, Removed
from device.core.offering import EVERYTHING, Offering
from device.core.sharing_messages import (
    SHARING_KINDS,
    Refused,
    WantChunks,
    WantHolding,
    WantPage,
    WantRelease,
    parse_message,
)
from device.drops import Drops
from device.errors import BusyError, NeighbourMisbehavedError, NoHolderError
from device.ports import GiveAndTake, Mesh, SharingCounts
from device.pulling import MIN_PREFIX
from device.sharing.fetching import Fetch
from device.sharing.relatives import Relatives
from device.sharing.releases import Releases
from device.sharing.requests import Requests
from device.sharing.serving import Server
from device.sharing.stock import Stock
from device.sharing.transfer import RoomFor, Transfer
from mesh.core.token_bucket import TokenBucket
from mesh.node import Received
from mesh.views import BLOCKED
from models.arrivals import Arrival, Arrivals
from models.errors import ArrivalNotFoundError
from models.store import StoredModel

MAX_TRANSFERS: Final = 8
MAX_HOLDERS: Final = 64  # of one model, asked what they hold
PROGRESS_EVERY_S: Final = 0.25
NOBODY_FOR_S: Final = 60.0  # then whoever waits is told; the transfer itself goes on waiting

log = logging.getLogger(__name__)


class Sharing:
    """Gives and fetches models; `run` must be running.

    models_of: what a member says that it holds.  on_arrived: called with each model that has been installed.
    room: holds room for a model while it comes.
    """

    def __init__(
        self,
        *,
        mesh: Mesh,
        arrivals: Arrivals,
        releases: Releases,
        relatives: Relatives,
        stock: Callable[[Callable[[str], Arrival | None]], Stock],
        models_of: Callable[[str], Sequence[HeldModel]],
        on_arrived: Callable[[StoredModel], None],
        room: RoomFor = lambda *_: contextlib.nullcontext(),
        enabled: bool = True,
        bytes_per_s: float = 0.0,
        offering: Callable[[], Offering] = lambda: EVERYTHING,
        counts: GiveAndTake | None = None,
    ) -> None:
        """stock: makes one that also gives what is arriving.  bytes_per_s: each way at most, 0 = no limit.

        enabled: whether anything is given, offering: how much the board can do for others now; what the owner pulls
        comes in any case.  counts: what counts the bytes that neighbours give this node, and it gives them.
        """
        self._mesh = mesh
        self._arrivals = arrivals
        self.releases = releases
        self._relatives = relatives
        self._models_of = models_of
        self._counts = counts
        self._on_arrived = on_arrived
        self._room = room
        self._enabled = enabled
        self._limit = TokenBucket(bytes_per_s, max(bytes_per_s / 4, 1024 * 1024)) if bytes_per_s else None
        self._transfers: dict[str, Transfer] = {}  # by digest
        self._stopped: dict[str, Arriving] = {}  # what lies on the disk and does not go on, by digest
        self._requests = Requests(mesh)
        self._drops = Drops()
        self._fetched = 0  # bytes of transfers that have ended
        self._tasks: asyncio.TaskGroup | None = None
        self._stock = stock(self._arriving)
        self._server = Server(mesh, self._stock, bytes_per_s=bytes_per_s, offering=offering, counts=counts)
        self.stopping = False
        """Set before the node ends: what is left of a pull then was not stopped by its owner."""

    async def run(self) -> None:
        """Give and fetch until cancelled; begin with what was on its way when the node ended last."""
        self._mesh.on_message(self._on_message)
        self._mesh.on_change(self._on_change)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._server.run(), name="serving")
                await self._resume()
                await asyncio.Event().wait()
        finally:
            self._tasks = None
            self._stock.close()

    def counts(self) -> SharingCounts:
        """What goes on now, and what went over the wires since the start."""
        return SharingCounts(
            arriving=len(self._transfers),
            served=self._server.serving,
            bytes_sent=self._server.bytes_sent,
            bytes_fetched=self._fetched + sum(one.fetch.bytes_fetched for one in self._transfers.values()),
        )

    def offered(self, key: str, *, absent: bool = False) -> tuple[HeldModel, ...]:
        """The models of that name, or whose digest begins so, that nodes in reach hold; each digest once.

        absent: also what those have told that are not in reach now.
        """
        found = {
            model.digest: model
            for one in self._mesh.neighbours()
            if one.reachable or (absent and one.state != BLOCKED)
            for model in self._models_of(one.node_id)
            if model.name == key or (len(key) >= MIN_PREFIX and model.digest.startswith(key))
        }
        return tuple(found.values())

    def arriving(self) -> tuple[Arriving, ...]:
        """What is on its way here, by name; also what was stopped, and whatever nobody in reach holds now."""
        found = [*self._stopped.values(), *(one.arriving(stopped=False) for one in self._transfers.values())]
        return tuple(sorted(found, key=lambda one: one.name))

    async def abandon(self, digest: str) -> None:
        """Stop a model that is on its way, and delete what has come of it.  Raises StoreWriteError."""
        transfer = self._transfers.get(digest)
        if transfer is not None:
            await transfer.abandon()
        self._stopped.pop(digest, None)
        with contextlib.suppress(ArrivalNotFoundError):  # nothing has come of it yet
            await asyncio.to_thread(self._arrivals.abandon, digest)

    async def pull(self, digest: str, name: str) -> AsyncGenerator[PullProgress | Removed | StoredModel, None]:
        """Bring a model here from whoever holds it; yield how far it is, what made room for it, at the end the model.

        Closing the generator stops the transfer, if nobody else follows it; what came is kept.
        Raises BusyError, NoHolderError, NotSharedError, StrangersReleaseError, ModelsError.
        """
        transfer = self._transfer(digest, name)
        transfer.followers += 1
        told = True  # to go on by itself, if this ends because nobody is in reach
        try:
            quiet_since: float | None = None
            while not transfer.done.done():
                while transfer.removed:
                    yield transfer.removed.popleft()
                yield transfer.progress()
                await asyncio.wait({transfer.done}, timeout=PROGRESS_EVERY_S)
                now = asyncio.get_running_loop().time()
                quiet_since = (quiet_since or now) if transfer.trouble else None
                if quiet_since is not None and now - quiet_since > NOBODY_FOR_S:
                    told = False
                    raise NoHolderError(f"{transfer.trouble}; the pull of {name} goes on once somebody is")
            while transfer.removed:
                yield transfer.removed.popleft()
            yield transfer.done.result()
        finally:
            transfer.followers -= 1
            if told and not transfer.followers and not transfer.done.done() and not self.stopping:
                await transfer.pause()

    def models_changed(self) -> None:
        """The models here are others than before."""
        self._stock.models_changed()

    def _transfer(self, digest: str, name: str) -> Transfer:
        transfer = self._transfers.get(digest)
        if transfer is not None:
            return transfer
        if self._tasks is None or len(self._transfers) >= MAX_TRANSFERS:
            raise BusyError(f"{len(self._transfers)} models are on their way already", retry_after_s=10)
        fetch = Fetch(
            digest,
            requests=self._requests,
            arrivals=self._arrivals,
            releases=self.releases,
            holders=lambda: self._holders(digest),
            relatives=self._relatives,
            limit=self._limit,
            counts=self._counts,
        )
        self._stopped.pop(digest, None)
        transfer = self._transfers[digest] = Transfer(
            fetch,
            name,
            arrivals=self._arrivals,
            releases=self.releases,
            reading=self._stock.reading,
            on_arrived=self._on_arrived,
            room=self._room,
        )
        transfer.task = self._tasks.create_task(transfer.run(), name=f"fetch {digest[:8]}")
        transfer.task.add_done_callback(lambda _: self._ended(digest))
        return transfer

    def _ended(self, digest: str) -> None:
        transfer = self._transfers.pop(digest)
        self._fetched += transfer.fetch.bytes_fetched
        if transfer.done.exception() is not None and transfer.fetch.arrival is not None:
            self._stopped[digest] = transfer.arriving(stopped=True)

    async def _resume(self) -> None:
        """Go on with what its owner has not stopped."""
        for waiting in await asyncio.to_thread(self._arrivals.waiting):
            digest = waiting.promise.manifest.digest
            wanted = await asyncio.to_thread(Transfer.wanted, self._arrivals, digest)
            if wanted is None:
                continue
            if wanted.paused or len(self._transfers) >= MAX_TRANSFERS:
                self._stopped[digest] = Arriving(
                    name=wanted.name,
                    digest=digest,
                    size_bytes=waiting.bytes_total,
                    bytes_here=waiting.bytes_claimed,
                    stopped=True,
                )
            else:
                log.info("the pull of %s goes on", wanted.name)
                self._transfer(digest, wanted.name)

    def _arriving(self, digest: str) -> Arrival | None:
        transfer = self._transfers.get(digest)
        return transfer.arrival if transfer is not None else None

    def _holders(self, digest: str) -> list[str]:
        """Who may hold some of a model: who says so, the nearest first, then neighbours, who may be fetching it too."""
        found = []
        for one in self._mesh.neighbours():
            holds = any(model.digest == digest for model in self._models_of(one.node_id))
            if one.reachable and (holds or one.hops == 1):
                found.append((not holds, one.hops, one.node_id))
        return [node_id for _, _, node_id in sorted(found)[:MAX_HOLDERS]]

    def _on_change(self) -> None:
        for transfer in self._transfers.values():
            transfer.fetch.stir()

    def _on_message(self, received: Received) -> None:
        if received.kind not in SHARING_KINDS:
            return
        try:
            message = parse_message(received.kind, received.body)
        except NeighbourMisbehavedError as error:
            self._drops.dropped(received.peer, error)
            return
        match message:
            case None:
                pass
            case WantRelease() | WantHolding() | WantChunks() | WantPage() if self._enabled:
                if isinstance(message, WantHolding) and message.model in self._transfers:
                    self._transfers[message.model].fetch.wants_too(received.peer)
                self._server.want(received.peer, received.message_id, message)
            case WantRelease() | WantHolding() | WantChunks() | WantPage():
                self._server.refuse(received.peer, received.message_id, Refused("not_shared"))
            case _:
                self._requests.arrived(received.peer, received.re, message)
