"""The order in which a community's entries become leaves of its tree (decision 26 of docs/protocol.md).

A checkpoint fixes a frontier: the newest entry of every feed, and of every branch of a forked one.  Its part of the
tree is what these entries follow, down to the frontier before.  So the tree only grows, and whoever holds the same
entries and frontiers has the same tree, in whatever order the entries came.  A frontier names entries by their ids: by
author and seq alone, a branch that turns up later would push itself into a part that is fixed already.

Within a part, an entry comes after those it follows and after the one that let its author in; of all that could come
next, the one with the lowest id does.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence

from mesh.core.entries import Entry, Genesis
from mesh.core.ledger import Head
from mesh.errors import MalformedError


def ordered(entries: Iterable[Entry], frontiers: Iterable[Sequence[Head]]) -> list[Entry]:
    """Put in order what is at or below any of the frontiers, which are given in the order they were fixed.

    Errors: MalformedError when a frontier names an entry that is not here, follows one that is not, or has in it an
    author whom nobody in it let in.
    """
    order = _Order(entries)
    for frontier in frontiers:
        order.grow_to(frontier)
    return list(order.placed.values())


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Put all entries of a ledger in order, as its first checkpoint would.  Errors: as of `ordered`."""
    by_id = {entry.id: entry for entry in entries}
    followed = {parent for entry in by_id.values() for parent in entry.parents}
    tips = [Head(entry.author, entry.seq, entry.id) for entry in by_id.values() if entry.id not in followed]
    return ordered(by_id.values(), [tips])


class _Order:
    """What is placed already, and what else there is."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.placed: dict[bytes, Entry] = {}
        self._by_id = {entry.id: entry for entry in entries}
        self._let_in = set[bytes]()

    def grow_to(self, frontier: Sequence[Head]) -> None:
        """Place what is at or below the frontier and not placed yet."""
        part = self._part(frontier)
        missing: dict[bytes, int] = {}  # by entry: how much of what it must come after is not placed yet
        waiting: dict[bytes, list[bytes]] = defaultdict(list)  # by entry or key: who waits for it
        for entry in part:
            needed = [parent for parent in entry.parents if parent not in self.placed]
            if entry.author not in self._let_in and not isinstance(entry.body, Genesis):
                needed.append(entry.author)
            missing[entry.id] = len(needed)
            for one in needed:
                waiting[one].append(entry.id)
        ready = [entry_id for entry_id, count in missing.items() if count == 0]
        heapq.heapify(ready)
        size = len(self.placed) + len(part)
        while ready:
            entry = self._by_id[heapq.heappop(ready)]
            for one in self._place(entry):
                for follower in waiting.pop(one, ()):
                    missing[follower] -= 1
                    if missing[follower] == 0:
                        heapq.heappush(ready, follower)
        if len(self.placed) != size:
            raise MalformedError("a frontier with an author in it whom nobody let in")

    def _place(self, entry: Entry) -> list[bytes]:
        """Place an entry; return the id, and the key it lets in, for which others may have waited."""
        self.placed[entry.id] = entry
        key = entry.lets_in
        if key is None or key in self._let_in:
            return [entry.id]
        self._let_in.add(key)
        return [entry.id, key]

    def _part(self, frontier: Sequence[Head]) -> list[Entry]:
        """Return what is at or below the frontier and not placed yet, in no order that matters."""
        found: dict[bytes, Entry] = {}
        for head in frontier:
            entry = self._by_id.get(head.id)
            if entry is None or (entry.author, entry.seq) != (head.author, head.seq):
                raise MalformedError("a frontier names an entry that is not here")
        stack = [head.id for head in frontier]
        while stack:
            entry_id = stack.pop()
            if entry_id in self.placed or entry_id in found:
                continue
            if entry_id not in self._by_id:
                raise MalformedError("an entry below a frontier is not here")
            found[entry_id] = self._by_id[entry_id]
            stack.extend(found[entry_id].parents)
        return list(found.values())
