"""Which entries know of which: vectors in place of sets of ancestors.

An entry knows of all that it comes after.  A **chain** is a run of entries of which each was built, by `prev`, on the
one before: a feed that was never forked is one chain, and each further branch of a fork begins another.  Who knows of
an entry knows of the chain below it, so one number says what somebody knows of a chain; a seq for every author would
not do, for it says nothing of the branches of a fork.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from mesh.core.entries import Entry

Vector = tuple[int, ...]  # by chain: how many marked entries of it are known; shared between entries
NOTHING: Final[Vector] = ()
STRIDE: Final = 32


@dataclass(slots=True)
class _Chain:
    """index: among the chains that have a marked entry; marked: how many they are; known: at the end of the chain."""

    index: int = -1
    marked: int = 0
    known: Vector = NOTHING


class Causality:
    """Says which of some marked entries others know of; entries are added one by one, parents first.

    A vector is noted where it is another than at the entry before, and now and then on the way, so that it is found
    within STRIDE steps; chains without a marked entry are in no vector.  So a long history costs next to nothing.
    """

    def __init__(self, entries: Mapping[bytes, Entry]) -> None:
        """entries: by id, at least those that were added."""
        self._entries = entries
        self._noted: dict[bytes, Vector] = {}  # by entry: what those who build on it know by it
        self._places: dict[bytes, tuple[int, int]] = {}  # of marked ones: chain and place, from 1
        self._ends: dict[bytes, _Chain] = {}  # of chains: by the entry that nobody has gone on from yet
        self._chains = 0

    def add(self, entry: Entry, *, marked: bool) -> None:
        """Take an entry that was not added yet; parents that were not added are known to nobody."""
        before = self._vector(entry.prev) if entry.prev is not None else NOTHING
        known = _join([before, *(self._vector(dep) for dep in entry.deps)])
        chain = self._ends.pop(entry.prev or b"", None) or _Chain()
        self._ends[entry.id] = chain
        if marked:
            if chain.index < 0:
                chain.index, self._chains = self._chains, self._chains + 1
            chain.marked += 1
            self._places[entry.id] = chain.index, chain.marked
            padded = [*known, *[0] * (chain.index + 1 - len(known))]
            padded[chain.index] = chain.marked
            known = tuple(padded)
        if known is not before or entry.seq % STRIDE == 0:
            self._noted[entry.id] = known
        chain.known = known

    def knows(self, entry_id: bytes, other_id: bytes) -> bool:
        """Whether an entry comes after a marked one."""
        index, place = self._places[other_id]
        known = self._vector(entry_id)
        return entry_id != other_id and index < len(known) and known[index] >= place

    def _vector(self, entry_id: bytes | None) -> Vector:
        """Return what those who build on an entry know by it."""
        while entry_id is not None:
            if (chain := self._ends.get(entry_id)) is not None:
                return chain.known
            if (known := self._noted.get(entry_id)) is not None:
                return known
            entry = self._entries.get(entry_id)
            entry_id = entry.prev if entry is not None else None
        return NOTHING


def parents_first(entries: Mapping[bytes, Entry]) -> Iterator[Entry]:
    """Yield each entry once, after those of its parents that are here; no stack of calls, however long a feed."""
    done = set[bytes]()
    for start in entries.values():
        stack = [start]
        while stack:
            entry = stack[-1]
            first = [entries[parent] for parent in entry.parents if parent in entries and parent not in done]
            stack.extend(first)
            if not first:
                stack.pop()
                if entry.id not in done:
                    done.add(entry.id)
                    yield entry


def _join(vectors: list[Vector]) -> Vector:
    """Return the least vector that holds all of these, which is one of them where that holds the others."""
    distinct = list({id(vector): vector for vector in vectors}.values())
    if len(distinct) <= 1:
        return distinct[0] if distinct else NOTHING
    joined = tuple(max(places) for places in zip_longest(*distinct, fillvalue=0))
    return next((vector for vector in distinct if vector == joined), joined)
