"""Nodes that fetch from each other in simulated time, each with a rate up and down and manners of its own."""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from device.core.swarm import Chunk, Holding, Part, Progress, Request, Swarm, TreePage, WantedBlob
from mesh.core.token_bucket import TokenBucket
from models.core.hash_tree import CHUNK_BYTES, Geometry, PageId

MBIT = 1_000_000 / 8
BLOB = "ab" * 32
ASKING_BYTES = 64


@dataclass(eq=False)
class Manners:
    """How a source behaves; these are an honest one's.  Times are seconds of the simulation."""

    dies_at: float = float("inf")  # silently: what it is sent vanishes
    returns_at: float = float("inf")
    forges: Callable[[int], bool] = lambda _served: False  # which of the parts that it serves
    refuses: Callable[[Part], bool] = lambda _part: False  # though it said it holds it
    is_busy: Callable[[int], bool] = lambda _asked: False
    serves_at_most: float = float("inf")  # parts; then it stalls, and stays connected

    def is_dead(self, now: float) -> bool:
        """Whether nothing comes of it."""
        return self.dies_at <= now < self.returns_at


@dataclass(eq=False)
class Peer:
    """A node: what it holds, what it fetches, and its link in bytes a second."""

    name: str
    up: float
    down: float
    holds_all: bool = True
    swarm: Swarm | None = None
    manners: Manners = field(default_factory=Manners)
    had: set[Part] = field(default_factory=set)
    queue: deque[Request] = field(default_factory=deque)  # what it is to serve; `source` is who asked
    is_sending: bool = False
    down_free_at: float = 0.0
    asked: int = 0
    served: int = 0
    received_bytes: int = 0
    done_at: float | None = None
    wake_at: float = float("inf")
    has_news: bool = False

    def holds(self, part: Part) -> bool:
        """Whether it can serve a part."""
        return self.holds_all or part in self.had

    def holding(self) -> Holding:
        """What it says that it holds."""
        chunks = sum(1 << part.index for part in self.had if isinstance(part, Chunk))
        return {BLOB: None if self.holds_all else chunks.to_bytes(-(-chunks.bit_length() // 8), "little")}


class SwarmNet:
    """A simulation; everything follows from the seed."""

    def __init__(self, size: int, *, seed: int = 1, latency_s: float = 0.005, have_every_s: float = 0.5) -> None:
        self.size = size
        self.geometry = Geometry(size)
        self.now = 0.0
        self.steps = 0
        self.peers: dict[str, Peer] = {}
        self._draws = random.Random(seed)  # noqa: S311  an order, not a secret
        self._latency_s = latency_s
        self._have_every_s = have_every_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    def holder(self, name: str, mbit: float = 80, manners: Manners | None = None, **rates: float) -> Peer:
        """Add a node that holds all of it."""
        peer = Peer(name, rates.get("up", mbit * MBIT), mbit * MBIT, manners=manners or Manners())
        self.peers[name] = peer
        return peer

    def fetcher(
        self,
        name: str,
        mbit: float = 80,
        *,
        have: bytes = b"",
        limit: TokenBucket | None = None,
        manners: Manners | None = None,
    ) -> Peer:
        """Add a node that fetches it, and serves what it has got."""
        pages = tuple(self.geometry.page_ids()) if have else ()
        swarm = Swarm([WantedBlob(BLOB, self.size, have, pages)], below=self._draws.randrange, limit=limit)
        peer = Peer(name, mbit * MBIT, mbit * MBIT, holds_all=False, swarm=swarm, manners=manners or Manners())
        self.peers[name] = peer
        return peer

    def introduce(self) -> None:
        """Let everybody hear what the others hold."""
        for peer in self.peers.values():
            for other in self.peers.values():
                if peer is not other and peer.swarm is not None:
                    self.tell(peer, other, {BLOB: None} if other.holds_all else {BLOB: b""})
            if peer.swarm is not None and not peer.holds_all:
                self._announce(peer)

    def tell(self, peer: Peer, source: Peer, holding: Holding) -> None:
        """Let a fetcher hear what a source says it holds."""
        assert peer.swarm is not None
        peer.swarm.source_has(source.name, holding, now=self.now)
        self.at(self.now, lambda: self._decide(peer))

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Let something happen."""
        self._serial += 1
        heapq.heappush(self._events, (when, self._serial, what))

    def run(self, *, until_s: float = 100_000.0) -> None:
        """Let time pass until every fetcher is done, or so long."""
        while self._events and not all(peer.done_at is not None for peer in self.peers.values() if peer.swarm):
            when, _, what = heapq.heappop(self._events)
            if when > until_s:
                self.now = until_s
                return
            self.now = max(self.now, when)
            self.steps += 1
            what()

    def progress(self, peer: Peer) -> Progress:
        """Ask a fetcher how far it is."""
        assert peer.swarm is not None
        return peer.swarm.progress(now=self.now)

    def _decide(self, peer: Peer) -> None:
        swarm = peer.swarm
        if swarm is None or peer.manners.is_dead(self.now):
            return
        decision = swarm.decide(now=self.now)
        for request in decision.requests:
            self._to_source(peer, request)
        if decision.wake_at is not None and not peer.wake_at <= decision.wake_at:
            peer.wake_at = decision.wake_at
            self.at(decision.wake_at, lambda: self._wake(peer))

    def _wake(self, peer: Peer) -> None:
        peer.wake_at = float("inf")
        self._decide(peer)

    def _to_source(self, peer: Peer, request: Request) -> None:
        source = self.peers[request.source]
        self.at(self.now + self._latency_s, lambda: self._enqueue(source, Request(peer.name, request.part)))

    def _enqueue(self, source: Peer, request: Request) -> None:
        if source.manners.is_dead(self.now):
            return
        asker = self.peers[request.source]
        assert asker.swarm is not None
        swarm, part = asker.swarm, request.part
        source.asked += 1
        if source.manners.is_busy(source.asked):
            self._answer(asker, lambda: swarm.refused(source.name, part, now=self.now, busy=True))
        elif source.manners.refuses(part) or not source.holds(part):
            self._answer(asker, lambda: swarm.refused(source.name, part, now=self.now))
        elif source.served + len(source.queue) < source.manners.serves_at_most:
            source.queue.append(request)
            self._send(source)

    def _answer(self, asker: Peer, what: Callable[[], None]) -> None:
        def heard() -> None:
            if not asker.manners.is_dead(self.now):
                what()
                self._decide(asker)

        self.at(self.now + self._latency_s, heard)

    def _send(self, source: Peer) -> None:
        if source.is_sending or not source.queue or source.manners.is_dead(self.now):
            return
        request = source.queue.popleft()
        source.is_sending = True
        source.served += 1
        is_forged = source.manners.forges(source.served)
        size = self._size(request.part)
        asker = self.peers[request.source]
        sent_at = self.now + size / source.up

        def reached() -> None:
            asker.down_free_at = max(self.now, asker.down_free_at + size / asker.down)
            self.at(asker.down_free_at, lambda: self._came(source, asker, request.part, size, is_forged=is_forged))

        self.at(sent_at, lambda: self._sent(source))
        self.at(sent_at + self._latency_s, reached)

    def _sent(self, source: Peer) -> None:
        source.is_sending = False
        self._send(source)

    def _came(self, source: Peer, asker: Peer, part: Part, size: int, *, is_forged: bool) -> None:
        swarm = asker.swarm
        if source.manners.is_dead(self.now) or asker.manners.is_dead(self.now) or swarm is None:
            return
        asker.received_bytes += size
        if not swarm.is_wanted(source.name, part):
            swarm.in_vain(source.name, size, now=self.now)
        elif is_forged:
            swarm.corrupt(source.name, part, now=self.now)
        elif swarm.arrived(source.name, part, now=self.now):
            asker.had.add(part)
            if isinstance(part, Chunk):
                asker.has_news = True
        if swarm.is_done and asker.done_at is None:
            asker.done_at = self.now
        self._decide(asker)

    def _announce(self, peer: Peer) -> None:
        """Tell the others what is here, now and again."""
        has_news, peer.has_news = peer.has_news, False
        for other in self.peers.values():
            if has_news and other is not peer and other.swarm is not None and not peer.manners.is_dead(self.now):
                self._answer(other, self._heard(other.swarm, peer.name, peer.holding()))
        if peer.done_at is None or peer.has_news:
            self.at(self.now + self._have_every_s, lambda: self._announce(peer))

    def _heard(self, swarm: Swarm, source: str, holding: Holding) -> Callable[[], None]:
        return lambda: swarm.source_has(source, holding, now=self.now)

    def _size(self, part: Part) -> int:
        if isinstance(part, TreePage):
            return self.geometry.page_bytes(PageId(part.level, part.index))
        return self.geometry.chunk_bytes(part.index)


def chunks_of(mib: int) -> int:
    """Return the bytes of so many MiB, to the chunk."""
    return mib * 1024 * 1024 // CHUNK_BYTES * CHUNK_BYTES
