"""Giving: requests of neighbours wait in a short queue each, and are answered in turn, one of each neighbour.

What is sent is bounded by the mesh, which takes so much for one neighbour at a time, by the owner's limit, and by what
the board does for others while it is warm or its battery low.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from device.core.offering import EVERYTHING, Offering
from device.core.sharing_messages import (
    GiveChunk,
    GiveHolding,
    Given,
    GivePage,
    GiveRelease,
    Reason,
    Refused,
    Want,
    WantChunks,
    WantHolding,
    WantPage,
    WantRelease,
)
from device.errors import BusyError, NotSharedError, StoppingError
from device.ports import GiveAndTake, Mesh, Uncounted
from mesh.core.contributions import Amount
from mesh.errors import MeshError, QueueFullError
from models.core.hash_tree import Bytes, PageId
from models.errors import ModelsError

MAX_WAITING: Final = 64  # requests of one neighbour; whoever has as many on the way learns nothing from one more
MAX_NEIGHBOURS: Final = 32  # served at a time; each may have a chunk waiting here for room in its lane
STALE_S: Final = 20.0  # whoever asked so long ago has asked again, or somebody else
AHEAD_S: Final = 0.1  # how much of the limit may be used at once
LOOK_EVERY_S: Final = 5.0  # at the board's sensors, while somebody asks
FULL_PAUSE_S: Final = 0.005  # then a lane that was full is tried again: half of one drains in that on a fast link

log = logging.getLogger(__name__)


class Stock(Protocol):
    """What of this node's models can be given; `device.sharing.stock.Stock`.  None: it is not here.

    Raises NotSharedError for a model that is not given away, BusyError for one that is being prepared for it, and
    ModelsError or MeshError for what cannot be read or signed.
    """

    async def release(self, model: str) -> bytes | None:
        """What the publisher of a model signed."""

    async def holding(self, model: str) -> Mapping[str, bytes | None] | None:
        """Which chunks of each blob are here."""

    async def chunk(self, model: str, blob: str, index: int) -> Bytes | None:
        """A chunk of a blob."""

    async def page(self, model: str, blob: str, page: PageId) -> bytes | None:
        """A page of its hash tree."""


@dataclass(eq=False)
class _Customer:
    """A neighbour that is being served."""

    waiting: deque[tuple[bytes, Want, float]] = field(default_factory=deque)  # id, request for one thing, when it came
    ready: tuple[bytes, Given] | None = None  # an answer that found its lane full
    again_at: float = 0.0  # by the loop's clock, which is time.monotonic


class Server:
    """Answers requests; `run` must be running."""

    def __init__(
        self,
        mesh: Mesh,
        stock: Stock,
        *,
        bytes_per_s: float = 0.0,
        offering: Callable[[], Offering] = lambda: EVERYTHING,
        look_every_s: float = LOOK_EVERY_S,
        counts: GiveAndTake | None = None,
    ) -> None:
        """bytes_per_s: what goes out at most, to all together; 0: as much as there is room for.

        offering: how much the board can do for others now; asked every look_every_s while somebody wants something.
        """
        self._mesh = mesh
        self._stock = stock
        self._counts = counts or Uncounted()
        self._bytes_per_s = bytes_per_s
        self._look, self._look_every_s = offering, look_every_s
        self._look_at = 0.0
        self._offering = EVERYTHING
        self._paid_at = 0.0  # when everything that was sent is within the limit
        self._customers: OrderedDict[str, _Customer] = OrderedDict()  # whose turn it is first
        self._stirred = asyncio.Event()
        self.bytes_sent = 0
        """Of chunks, since the start."""

    @property
    def serving(self) -> int:
        """How many neighbours are being served."""
        return len(self._customers)

    def want(self, peer: str, message_id: bytes, want: Want) -> None:
        """Take a request, or say at once that there are too many."""
        wants, customer = _one_by_one(want), self._customers.get(peer)
        if customer is None and len(self._customers) < MAX_NEIGHBOURS and self._share():
            customer = self._customers[peer] = _Customer()
        if customer is None or len(customer.waiting) + len(wants) > MAX_WAITING or not self._share():
            self.refuse(peer, message_id, Refused("busy"))
            return
        now = time.monotonic()
        customer.waiting.extend((message_id, one, now) for one in wants)
        self._stirred.set()

    def refuse(self, peer: str, message_id: bytes, refused: Refused) -> None:
        """Say no at once."""
        with contextlib.suppress(MeshError):  # then it hears nothing, and asks again
            self._mesh.post(peer, Refused.KIND, refused.to_body(), re=message_id)

    def gone(self, peer: str) -> None:
        """Nobody is left to answer."""
        self._customers.pop(peer, None)

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            self._stirred.clear()
            now = time.monotonic()
            peer = next((peer for peer, one in self._customers.items() if one.again_at <= now), None)
            if peer is not None:
                await self._serve(peer, self._customers[peer])
                # Everybody else's turn in the loop, also where nothing had to be waited for.
                await asyncio.sleep(self._offering.rest_s(time.monotonic() - now) if self._share() else 0)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min((one.again_at for one in self._customers.values()), default=None)):
                    await self._stirred.wait()

    def _share(self) -> float:
        """How much of its time the board gives; looked at now and again."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at, self._offering = now + self._look_every_s, self._look()
        return self._offering.share

    async def _serve(self, peer: str, customer: _Customer) -> None:
        """Give a neighbour one answer, and let the next one have its turn."""
        ready = customer.ready or await self._next(customer)
        customer.ready = None
        if ready is not None and not self._post(peer, *ready):
            customer.ready, customer.again_at = ready, time.monotonic() + FULL_PAUSE_S
        elif ready is not None:
            await self._pay(ready[1])
        if self._customers.get(peer) is customer:
            if customer.ready is None and not customer.waiting:
                del self._customers[peer]
            else:
                self._customers.move_to_end(peer)

    async def _next(self, customer: _Customer) -> tuple[bytes, Given] | None:
        """Make the answer to the oldest request that somebody still waits for."""
        now = time.monotonic()
        while customer.waiting:
            message_id, want, asked_at = customer.waiting.popleft()
            if not self._share():  # nothing is given any more
                return message_id, Refused("busy", _index(want))
            if now - asked_at < STALE_S:
                return message_id, await self._answer(want)
        return None

    def _post(self, peer: str, message_id: bytes, given: Given) -> bool:
        """Send an answer; False while its lane is full."""
        try:
            self._mesh.post(peer, given.KIND, given.to_body(), re=message_id)
        except QueueFullError:
            return False
        except MeshError as error:
            log.debug("an answer was not sent", extra={"peer": peer, "reason": str(error)})
            self.gone(peer)
            return True
        if isinstance(given, GiveChunk):
            self.bytes_sent += len(given.data)
            self._counts.gave(peer, Amount(model_bytes=len(given.data)))
        return True

    async def _pay(self, given: Given) -> None:
        """Wait until the owner's limit allows for what was sent."""
        if not self._bytes_per_s or not isinstance(given, GiveChunk):
            return
        now = time.monotonic()
        self._paid_at = max(self._paid_at, now) + len(given.data) / self._bytes_per_s
        await asyncio.sleep(self._paid_at - now - AHEAD_S)

    async def _answer(self, want: Want) -> Given:
        index = _index(want)
        try:
            given = await self._look_up(want)
        except NotSharedError:
            return Refused("not_shared", index)
        except (BusyError, StoppingError):
            return Refused("busy", index)
        except (MeshError, ModelsError) as error:
            log.warning("what a neighbour asked for cannot be given: %s", error)
            return Refused("not_here", index)
        if given is not None:
            return given
        missing: Reason = "no_such_chunk" if isinstance(want, WantChunks | WantPage) else "not_here"
        return Refused(missing, index)

    async def _look_up(self, want: Want) -> Given | None:
        data: Bytes | None
        match want:
            case WantRelease(model):
                data = await self._stock.release(model)
                return None if data is None else GiveRelease(data)
            case WantHolding(model):
                blobs = await self._stock.holding(model)
                return None if blobs is None else GiveHolding(blobs)
            case WantChunks(model, blob, indexes):
                index = indexes[0]  # they were taken apart
                data = await self._stock.chunk(model, blob, index)
                return None if data is None else GiveChunk(index, data)
            case WantPage(model, blob, level, index):
                data = await self._stock.page(model, blob, PageId(level, index))
                return None if data is None else GivePage(data)


def _index(want: Want) -> int | None:
    """Say which chunk of several it is: they were taken apart."""
    return want.indexes[0] if isinstance(want, WantChunks) else None


def _one_by_one(want: Want) -> tuple[Want, ...]:
    """Take a request for several chunks apart, so that each is answered in its turn."""
    if isinstance(want, WantChunks):
        return tuple(WantChunks(want.model, want.blob, (index,)) for index in want.indexes)
    return (want,)
