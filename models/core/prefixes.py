"""Beginnings of token sequences and what has been computed for them, found again by the tokens: a radix tree.

Each edge holds the tokens that lead from its parent to it and the segment of keys and values that was computed for
them.  Together they keep to a byte budget: the leaf that was of use least recently goes first.

Who asks sees how much of the question was there already.  So that nobody can try out what others have asked, each
scope has a tree of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, Self, TypeVar

FEWEST_TOKENS: Final = 16  # what is shorter is computed as fast as it is copied


class Segment(Protocol):
    """What was computed for a stretch of tokens."""

    @property
    def nbytes(self) -> int:
        """What it takes."""
        ...

    def split(self, tokens: int) -> tuple[Self, Self]:
        """Cut it after so many tokens into two that share no memory."""
        ...


S = TypeVar("S", bound=Segment)


@dataclass(eq=False)
class _Edge(Generic[S]):
    """One stretch; used: when it was last of use, in uses."""

    tokens: tuple[int, ...]
    segment: S
    above: "_Edges[S]"
    below: "_Edges[S]" = field(default_factory=dict)
    used: int = 0


_Edges = dict[int, _Edge[S]]  # by their first tokens


class PrefixTree(Generic[S]):
    """Keeps at most `budget` bytes of segments."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._roots: dict[str, _Edges[S]] = {}
        self._uses = 0
        self.nbytes = 0
        """What the segments take."""

    def find(self, scope: str, ids: Sequence[int], *, most: int) -> list[tuple[S, int]]:
        """Give the segments that `ids` begins with, and how many tokens count of each: `most` in all."""
        found = []
        for edge, shared in self._path(scope, ids[:most]):
            edge.used = self._uses
            found.append((edge.segment, shared))
        return found

    def add(self, scope: str, ids: Sequence[int], segment: Callable[[int, int], S]) -> None:
        """Keep what was computed for `ids`; `segment` copies tokens [start, stop) of it where they are not here yet."""
        edges, known = self._roots.setdefault(scope, {}), 0
        for edge, shared in self._path(scope, ids):
            edge.used = self._uses
            known += shared
            if shared < len(edge.tokens) and len(ids) - known >= FEWEST_TOKENS:
                self._cut(edge, shared)
            edges = edge.below
        if len(ids) - known >= FEWEST_TOKENS:
            made = _Edge(tuple(ids[known:]), segment(known, len(ids)), above=edges, used=self._uses)
            edges[made.tokens[0]] = made
            self.nbytes += made.segment.nbytes
        self._make_room()

    def clear(self) -> None:
        """Keep nothing."""
        self._roots, self.nbytes = {}, 0

    def _path(self, scope: str, ids: Sequence[int]) -> list[tuple[_Edge[S], int]]:
        """Follow `ids` from the root; the last edge may be shared in part."""
        self._uses += 1
        path, edges, start = [], self._roots.get(scope, {}), 0
        while start < len(ids) and (edge := edges.get(ids[start])) is not None:
            shared = _shared(edge.tokens, ids, start)
            path.append((edge, shared))
            if shared < len(edge.tokens):
                break
            start, edges = start + shared, edge.below
        return path

    def _cut(self, edge: _Edge[S], at: int) -> None:
        """Make two edges of one, so that another can branch off between them."""
        before = edge.segment.nbytes
        first, second = edge.segment.split(at)
        lower = _Edge(edge.tokens[at:], second, above={}, below=edge.below, used=edge.used)
        edge.tokens, edge.segment, edge.below = edge.tokens[:at], first, {lower.tokens[0]: lower}
        lower.above = edge.below
        self.nbytes += first.nbytes + second.nbytes - before

    def _make_room(self) -> None:
        while self.nbytes > self._budget:
            edge = min(self._leaves(), key=lambda leaf: leaf.used)
            del edge.above[edge.tokens[0]]
            self.nbytes -= edge.segment.nbytes
        self._roots = {scope: edges for scope, edges in self._roots.items() if edges}

    def _leaves(self) -> list[_Edge[S]]:
        left = [edge for edges in self._roots.values() for edge in edges.values()]
        leaves = []
        while left:
            edge = left.pop()
            left += edge.below.values()
            if not edge.below:
                leaves.append(edge)
        return leaves


def _shared(tokens: Sequence[int], ids: Sequence[int], start: int) -> int:
    """How many of `tokens` stand in `ids` from `start` on."""
    for place, (one, other) in enumerate(zip(tokens, ids[start : start + len(tokens)], strict=False)):
        if one != other:
            return place
    return min(len(tokens), len(ids) - start)
