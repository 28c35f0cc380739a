"""Which entries know of which: vectors in place of sets of ancestors.

An entry knows of all that it comes after.  A **chain** is a run of entries of which each was built, by `prev`, on the
one before: a feed that was never forked is one chain, and each further branch of a fork begins another.  Who knows of
an entry knows of the chain below it, so one number says what somebody knows of a chain; a seq for every author would
not do, for it says nothing of the branches of a fork.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from mesh.core.entries import Entry

Vector = Mapping[int, int]  # by chain: the last place known, from 1; shared between entries, so never changed
NOTHING: Final[Vector] = {}


class Causality:
    """Says of some entries of a set which of some others they know of.

    A vector names only entries that will be asked about, and entries that learn nothing new share one: a long history
    costs memory only where somebody learns of such an entry.  Vectors are kept for the askers alone.
    """

    def __init__(self, entries: Mapping[bytes, Entry], *, of: set[bytes], to: set[bytes]) -> None:
        """Go through entries by id, in any order; parents that are not among them are known to nobody.

        of: ids that will be asked about; to: ids of which it will be asked what they know.
        """
        self._places: dict[bytes, tuple[int, int]] = {}  # of those asked about: chain and place
        self._known: dict[bytes, Vector] = {}
        ends: dict[bytes, tuple[int, int]] = {}  # of what nobody has gone on from yet: chain and place
        passed: dict[bytes, Vector] = {}  # what the children of an entry know by it, while some are to come
        children = Counter(parent for entry in entries.values() for parent in entry.parents)
        chains = 0
        for entry in _parents_first(entries):
            chain, last = ends.pop(entry.place.prev or b"", (chains, 0))
            chains += last == 0
            ends[entry.id] = chain, last + 1
            known = _join([passed[parent] for parent in entry.parents if parent in passed])
            if entry.id in to:
                self._known[entry.id] = known
            if entry.id in of:
                self._places[entry.id] = ends[entry.id]
                known = {**known, chain: last + 1}
            if entry.id in children:
                passed[entry.id] = known
            children.subtract(entry.parents)
            for parent in entry.parents:
                if not children[parent]:
                    passed.pop(parent, None)

    def knows(self, entry_id: bytes, other_id: bytes) -> bool:
        """Whether one of `to` comes after one of `of`."""
        chain, place = self._places[other_id]
        return self._known[entry_id].get(chain, 0) >= place


def _parents_first(entries: Mapping[bytes, Entry]) -> Iterator[Entry]:
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
    joined = greatest = max(distinct, key=lambda vector: sum(vector.values()))
    for vector in distinct:
        if vector is not greatest:
            news = {chain: place for chain, place in vector.items() if joined.get(chain, 0) < place}
            joined = {**joined, **news} if news else joined
    return joined
