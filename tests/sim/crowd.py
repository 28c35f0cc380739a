"""A crowd that asks one simulated engine through the real admission, in virtual time."""

import heapq
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from device.core.admission import DEFAULT_BOUNDS, Admission, Bounds, Client, Ticket
from device.errors import BusyError

TOKENS_PER_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Someone who keeps `at_once` questions in hand, of `tokens` tokens each, and asks again after `pause_s`."""

    client: Client
    at_once: int = 1
    tokens: int = 100
    pause_s: float = 0.0


@dataclass
class Crowd:
    """What became of everybody's questions."""

    served: Counter[Client] = field(default_factory=Counter)  # tokens
    answers: Counter[Client] = field(default_factory=Counter)
    refused: Counter[Client] = field(default_factory=Counter)
    waits: dict[Client, list[float]] = field(default_factory=lambda: defaultdict(list))
    most_waiting: int = 0


def live(askers: Sequence[Asker], *, for_s: float, seed: int = 1, bounds: Bounds = DEFAULT_BOUNDS) -> Crowd:
    """Let them ask for so long."""
    rng, admission, crowd = random.Random(seed), Admission(bounds=bounds), Crowd()  # noqa: S311  a simulation
    number = itertools.count()
    asked: dict[Ticket, tuple[Asker, float]] = {}
    events: list[tuple[float, int, Asker | tuple[Ticket, int]]] = []

    def later(at: float, event: Asker | tuple[Ticket, int]) -> None:
        heapq.heappush(events, (at, next(number), event))

    for asker in askers:
        for _ in range(asker.at_once):
            later(rng.random(), asker)
    while events[0][0] < for_s:
        now, _, event = heapq.heappop(events)
        if isinstance(event, Asker):
            try:
                asked[admission.enter(event.client, event.tokens)] = (event, now)
            except BusyError as error:
                crowd.refused[event.client] += 1
                later(now + error.retry_after_s, event)
        else:
            ticket, tokens = event
            admission.end(ticket, tokens=tokens, now=now)
            crowd.served[ticket.client] += tokens
            crowd.answers[ticket.client] += 1
            asker, _ = asked.pop(ticket)
            later(now + asker.pause_s, asker)
        crowd.most_waiting = max(crowd.most_waiting, admission.waiting.total())
        for ticket in admission.start(now=now):
            asker, asked_at = asked[ticket]
            crowd.waits[ticket.client].append(now - asked_at)
            tokens = max(1, round(asker.tokens * rng.uniform(0.2, 1.8)))
            later(now + tokens / TOKENS_PER_S, (ticket, tokens))
    return crowd


def jain(shares: Iterable[float]) -> float:
    """Jain's index of fairness: 1 when all have the same, 1/n when one has everything."""
    values = list(shares)
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))
