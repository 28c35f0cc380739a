"""Whose turn it is at the engine: the owner's, then everybody's in fair shares of its tokens.

The owner does not wait for the answers of others, either: they step aside, and go on afterwards where they were.

Stride scheduling on two levels: the standings share equally, and in each the clients do.  Whoever has been served
least goes first; whoever was away neither saves up nor owes.  The cost of a question is guessed when it is taken and
put right once it is known.  Source: C. Waldspurger, W. Weihl, "Stride scheduling", MIT/LCS/TM-528 (1995).

How many may wait follows the room that is left: nobody may hold more places than are free, so that a newcomer finds
one however greedy the others are.  Source: A. Choudhury, E. Hahne, "Dynamic queue length thresholds" (1998).
Guests, who may be as many as somebody has addresses, share half of the room among themselves.
"""

import enum
import heapq
import math
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from device.errors import BusyError

SERVICE_S: Final = 5.0  # how long an answer takes, until some have been measured
NEWEST_WEIGHT: Final = 0.2  # of the last answer in the mean
MAX_RETRY_S: Final = 300
MAX_REST_S: Final = 60.0
MAX_REMEMBERED: Final = 512  # clients whose share is kept in mind
MIN_OWNERS: Final = 16  # questions of the owner that wait, however few others may


class Standing(enum.StrEnum):
    """What a client is to this node."""

    OWNER = "owner"  # comes over the owner's socket
    OWN = "own"  # a program on this machine, or one that the owner has given a key
    GUEST = "guest"
    NEIGHBOUR = "neighbour"

    @property
    def is_other(self) -> bool:
        """Whether it is served as far as heat and battery allow."""
        return self in (Standing.GUEST, Standing.NEIGHBOUR)


@dataclass(frozen=True)
class Client:
    """One of those who share the engine; ids are unique within a standing."""

    id: str
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How many questions are held.  owner: the owner's; shared: of all others together; single: of one of them.

    All guests together hold at most half of `shared`.
    """

    owner: int = 16
    shared: int = 32
    single: int = 16

    @classmethod
    def of_queue(cls, waiting: int) -> "Bounds":
        """Give the bounds of a queue where `waiting` questions of others find room, at least 2."""
        return cls(owner=max(MIN_OWNERS, waiting // 2), shared=waiting, single=waiting // 2)

    def doubled(self) -> "Bounds":
        """Give the bounds of twice as many."""
        return Bounds(owner=2 * self.owner, shared=2 * self.shared, single=2 * self.single)


DEFAULT_BOUNDS: Final = Bounds()


@dataclass(eq=False)
class Ticket:
    """A question that waits or is being answered; cost in tokens, times monotonic."""

    client: Client
    cost: float
    started_at: float = 0.0


def has_room(held: Collection[Client], client: Client, bounds: Bounds) -> bool:
    """Whether one more question of `client` is taken, where those of `held` are in hand."""
    own = sum(one == client for one in held)
    if client.standing is Standing.OWNER:
        return own < bounds.owner
    free = bounds.shared - sum(one.standing is not Standing.OWNER for one in held)
    if client.standing is Standing.GUEST:
        free = min(free, bounds.shared // 2 - sum(one.standing is Standing.GUEST for one in held))
    return own < min(free, bounds.single)


class Admission:
    """Questions in, turns out; every `now` is monotonic.  slots: how many are answered at a time."""

    def __init__(self, *, slots: int = 1, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self._slots = slots
        self._bounds = bounds
        self._waiting: list[Ticket] = []  # in the order they came
        self._running: set[Ticket] = set()
        self._shares = _Shares()
        self._service_s = SERVICE_S
        self._offered = 1.0
        self._rests_until = -math.inf

    @property
    def waiting(self) -> Counter[Standing]:
        """How many questions wait, by standing."""
        return Counter(ticket.client.standing for ticket in self._waiting)

    @property
    def retry_after_s(self) -> int:
        """In how many seconds there may be room again: one answer's time, as measured."""
        return min(MAX_RETRY_S, max(1, math.ceil(self._service_s / self._slots)))

    def enter(self, client: Client, cost: float) -> Ticket:
        """Take a question into the queue.  Raises BusyError when there is no room, or nothing on offer."""
        if client.standing.is_other and not self._offered:
            error = BusyError(
                "this node spares itself now, and answers nobody but its owner", retry_after_s=MAX_RETRY_S
            )
            error.hint = "it is too hot, or its battery is low: ask again later, or ask another node"
            raise error
        if not has_room([ticket.client for ticket in self._waiting], client, self._bounds):
            mine = sum(ticket.client == client for ticket in self._waiting)
            message = f"{len(self._waiting)} questions are waiting here, {mine} of them yours"
            raise BusyError(message, retry_after_s=self.retry_after_s)
        ticket = Ticket(client, max(1.0, cost))
        self._waiting.append(ticket)
        return ticket

    def start(self, *, now: float) -> tuple[Ticket, ...]:
        """Choose who begins now; they run until `end`."""
        begun = []
        while len(self._running) < self._slots and (ticket := _first(self._eligible(now), self._shares)) is not None:
            ticket.started_at = now
            self._waiting.remove(ticket)
            self._running.add(ticket)
            self._shares.serve(ticket.client, ticket.cost)
            begun.append(ticket)
        return tuple(begun)

    def end(self, ticket: Ticket, *, tokens: float = 0.0, now: float) -> None:
        """Let a question go, answered or not; tokens: what it took, if it had its turn."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        if ticket not in self._running:
            return
        self._running.discard(ticket)
        self._shares.correct(ticket.client, tokens - ticket.cost)
        took_s = now - ticket.started_at
        self._service_s += NEWEST_WEIGHT * (took_s - self._service_s)
        if ticket.client.standing.is_other and 0 < self._offered < 1:
            self._rests_until = now + min(MAX_REST_S, took_s * (1 / self._offered - 1))

    def to_interrupt(self) -> tuple[Ticket, ...]:
        """List who is to step aside now, because the owner waits: the one that began last first."""
        owners = sum(ticket.client.standing is Standing.OWNER for ticket in self._waiting)
        others = [ticket for ticket in self._running if ticket.client.standing is not Standing.OWNER]
        return tuple(sorted(others, key=lambda one: -one.started_at)[:owners])

    def pause(self, ticket: Ticket, *, tokens: float) -> None:
        """Take its turn from a question that is not over; it comes back with `resume`, or leaves with `end`."""
        self._running.discard(ticket)
        self._shares.correct(ticket.client, tokens - ticket.cost)
        ticket.cost = max(1.0, ticket.cost - tokens)

    def resume(self, ticket: Ticket) -> None:
        """Have a question that was paused wait for another turn, before what else its client asks."""
        self._waiting.insert(0, ticket)

    def offer(self, share: float) -> tuple[Ticket, ...]:
        """Work for others `share` of the time from now on; return who can wait no longer, because it is none."""
        self._offered = share
        if share >= 1:
            self._rests_until = -math.inf
        return () if share else tuple(one for one in self._waiting if one.client.standing.is_other)

    def wake_at(self, *, now: float) -> float | None:
        """When to call `start` again though nothing has happened."""
        waits = any(ticket.client.standing.is_other for ticket in self._waiting)
        return self._rests_until if waits and self._rests_until > now else None

    def order(self) -> tuple[Ticket, ...]:
        """List who waits, in the order they would be served if nobody else came."""
        return tuple(_forecast(self._waiting, self._shares.copy()))

    def _eligible(self, now: float) -> list[Ticket]:
        resting = now < self._rests_until
        return [one for one in self._waiting if not (resting and one.client.standing.is_other)]


def _first(tickets: list[Ticket], shares: "_Shares") -> Ticket | None:
    """Choose among tickets in the order they came: the owner's, else of whoever was served least."""
    return min(tickets, key=lambda one: shares.rank(one.client), default=None)


def _forecast(tickets: list[Ticket], shares: "_Shares") -> Iterator[Ticket]:
    """Yield what `_first` would choose, each one served before the next is chosen, in n log n steps.

    Serving whoever had least changes the share of nobody else who waits, so each stays where it is in its heap.
    """
    theirs: dict[Client, deque[tuple[int, Ticket]]] = {}
    for number, ticket in enumerate(tickets):
        theirs.setdefault(ticket.client, deque()).append((number, ticket))
    heaps: dict[Standing, list[tuple[float, int, Client]]] = {}
    for client, queue in theirs.items():
        heapq.heappush(heaps.setdefault(client.standing, []), (shares.had(client), queue[0][0], client))
    while heaps:
        standing = min(heaps, key=shares.rank_of_standing)
        _, _, client = heapq.heappop(heaps[standing])
        _, ticket = theirs[client].popleft()
        yield ticket
        shares.serve(client, ticket.cost)
        if queue := theirs[client]:
            heapq.heappush(heaps[standing], (shares.had(client), queue[0][0], client))
        elif not heaps[standing]:
            del heaps[standing]


class _Shares:
    """How much each standing, and each client in it, has had: in tokens, from a common beginning that moves on."""

    def __init__(self) -> None:
        self._standings = _Level()
        self._clients = {standing: _Level() for standing in Standing}

    def copy(self) -> "_Shares":
        """Make another that can be charged without consequence."""
        other = _Shares()
        other._standings = self._standings.copy()
        other._clients = {standing: level.copy() for standing, level in self._clients.items()}
        return other

    def had(self, client: Client) -> float:
        """How much a client has had; the owner nothing, whatever it asks."""
        return self._clients[client.standing].had(client.id)

    def rank_of_standing(self, standing: Standing) -> tuple[bool, float, str]:
        """What is least for the standing that goes first."""
        return standing is not Standing.OWNER, self._standings.had(standing), standing

    def rank(self, client: Client) -> tuple[bool, float, str, float]:
        """What is least for who goes first; equal for all questions of one client."""
        return *self.rank_of_standing(client.standing), self.had(client)

    def serve(self, client: Client, tokens: float) -> None:
        """Count what a client takes whose turn it is; the owner's counts for nobody."""
        if client.standing is not Standing.OWNER:
            self._standings.serve(client.standing, tokens)
            self._clients[client.standing].serve(client.id, tokens)

    def correct(self, client: Client, tokens: float) -> None:
        """Add what it took beyond what was counted, or take away what it did not."""
        if client.standing is not Standing.OWNER:
            self._standings.correct(client.standing, tokens)
            self._clients[client.standing].correct(client.id, tokens)


class _Level:
    """What each of several names has had.  Who is not remembered has had as much as who was served last."""

    def __init__(self) -> None:
        self._had: dict[str, float] = {}
        self._floor = 0.0

    def copy(self) -> "_Level":
        other = _Level()
        other._had, other._floor = dict(self._had), self._floor
        return other

    def had(self, name: str) -> float:
        return max(self._floor, self._had.get(name, 0.0))

    def serve(self, name: str, tokens: float) -> None:
        self._floor = self.had(name)  # it was its turn: nobody who waits has had less
        self.correct(name, tokens)

    def correct(self, name: str, tokens: float) -> None:
        self._had[name] = self.had(name) + tokens
        if len(self._had) > MAX_REMEMBERED:
            self._had = dict(heapq.nlargest(MAX_REMEMBERED // 2, self._had.items(), key=lambda item: item[1]))
