"""The order in which a community's entries become leaves of its tree (decision 26 of docs/protocol.md).

Each decision fixes a part: what the decided entry follows, and that entry, down to the decisions before.  So the tree
only grows, and whoever holds the same entries and decisions has the same tree, in whatever order the entries came.  A
branch of a forked feed that turns up later is below no decision that did not know of it.

Within a part, an entry comes after those it follows and after the one that let its author in; of all that could come
next, the one with the lowest id does.  An entry whose author nobody in the tree let in yet waits, with all that follow
it, for the decision that knows of its admission.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence

from mesh.core.entries import Entry, Genesis
from mesh.errors import MalformedError


def fixed(entries: Iterable[Entry], decided: Sequence[bytes]) -> list[Entry]:
    """Put in order what the decisions for these entries fixed, the first decision's id first.

    Errors: MalformedError when one of them, or what it follows, is not here.
    """
    order = _Order(entries)
    for entry_id in decided:
        order.grow_to([entry_id])
    return [*order.placed.values()]


def in_order(entries: Iterable[Entry], decided: Sequence[bytes] = ()) -> list[Entry]:
    """Put all entries of a ledger in order: what was fixed, and then the rest, as a decision on all of it would.

    Errors: as of `fixed`, and when nobody let an author in.
    """
    order = _Order(entries)
    for entry_id in decided:
        order.grow_to([entry_id])
    order.grow_to(order.tips())
    if order.waiting:
        raise MalformedError("an author whom nobody let in")
    return [*order.placed.values()]


class _Order:
    """What is placed already, and what else there is.  waiting: what cannot be placed before somebody is let in."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.placed: dict[bytes, Entry] = {}
        self.waiting: dict[bytes, Entry] = {}
        self._by_id = {entry.id: entry for entry in entries}
        self._let_in = set[bytes]()

    def tips(self) -> list[bytes]:
        """Return what nothing follows."""
        followed = {parent for entry in self._by_id.values() for parent in entry.parents}
        return [entry_id for entry_id in self._by_id if entry_id not in followed]

    def grow_to(self, frontier: Iterable[bytes]) -> None:
        """Place what is at or below the frontier, or has waited, and can be placed."""
        part = self.waiting | self._part(frontier)
        missing: dict[bytes, int] = {}  # by entry: how much of what it must come after is not placed yet
        followers: dict[bytes, list[bytes]] = defaultdict(list)  # by entry or key: what comes after that
        for entry in part.values():
            needed = [parent for parent in entry.parents if parent not in self.placed]
            if entry.author not in self._let_in and not isinstance(entry.body, Genesis):
                needed.append(entry.author)
            missing[entry.id] = len(needed)
            for one in needed:
                followers[one].append(entry.id)
        ready = [entry_id for entry_id, count in missing.items() if count == 0]
        heapq.heapify(ready)
        while ready:
            entry = part.pop(heapq.heappop(ready))
            for one in self._place(entry):
                for follower in followers.pop(one, ()):
                    missing[follower] -= 1
                    if missing[follower] == 0:
                        heapq.heappush(ready, follower)
        self.waiting = part

    def _place(self, entry: Entry) -> list[bytes]:
        """Place an entry; return the id, and the key it lets in, for which others may have waited."""
        self.placed[entry.id] = entry
        key = entry.lets_in
        if key is None or key in self._let_in:
            return [entry.id]
        self._let_in.add(key)
        return [entry.id, key]

    def _part(self, frontier: Iterable[bytes]) -> dict[bytes, Entry]:
        """Return what is at or below the frontier, and neither placed nor waiting, in no order that matters."""
        found: dict[bytes, Entry] = {}
        stack = [*frontier]
        while stack:
            entry_id = stack.pop()
            if entry_id in self.placed or entry_id in found or entry_id in self.waiting:
                continue
            if entry_id not in self._by_id:
                raise MalformedError("what was decided on, or an entry below it, is not here")
            found[entry_id] = self._by_id[entry_id]
            stack.extend(found[entry_id].parents)
        return found
