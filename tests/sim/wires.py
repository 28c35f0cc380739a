"""The simulated network's time, its wires, and the shapes it comes in."""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Pair = frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Wire:
    """What the wires do to each frame."""

    loss: float = 0.0
    twice: float = 0.0
    delay_s: tuple[float, float] = (0.001, 0.003)
    noticed_s: tuple[float, float] = (0.01, 0.01)  # how late an end notices that the other is gone


GOOD: Final = Wire()


class Clock:
    """Virtual time: calls in the order of when they are due."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call later."""
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), call))

    def run(self, seconds: float) -> None:
        """Let so much time go by."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.now = end


def random_graph(size: int, rng: random.Random, *, extra: int, most: int = 12) -> set[Pair]:
    """Draw a connected graph of at most so many links a node: a tree, and some more."""
    degree: Counter[int] = Counter()
    pairs: set[Pair] = set()
    for number in range(1, size):
        other = rng.choice([one for one in range(number) if degree[one] < most])
        pairs.add(frozenset((number, other)))
        degree.update((number, other))
    for _ in range(extra):
        one, two = rng.sample(range(size), 2)
        if degree[one] < most and degree[two] < most and frozenset((one, two)) not in pairs:
            pairs.add(frozenset((one, two)))
            degree.update((one, two))
    return pairs
