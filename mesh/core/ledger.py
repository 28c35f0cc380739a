"""The set of entries a node holds: a directed graph in which every entry comes after those it follows.

Only the set counts, never the order of arrival.  An entry whose parents are not here yet waits (bounded: what falls
out is asked for again at the next exchange of heads).
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mesh.core import codec, crypto
from mesh.core.entries import ID_BYTES, MAX_DEPS, MAX_SEQ, Admit, Entry, Genesis, Place, RotateKey
from mesh.errors import MalformedError

MAX_WAITING: Final = 512
MAX_HEADS: Final = 4096


@dataclass(frozen=True)
class Head:
    """The newest entry of one feed that a node holds."""

    author: bytes
    seq: int
    id: bytes

    def to_item(self) -> codec.Item:
        """Write the head for the wire."""
        return [self.author, self.seq, self.id]

    @classmethod
    def parse(cls, item: codec.Item) -> "Head":
        """Read a neighbour's head.  Errors: MalformedError."""
        match item:
            case [author, seq, identity]:
                return cls(
                    codec.fixed_bytes(author, crypto.KEY_BYTES),
                    codec.unsigned(seq, MAX_SEQ),
                    codec.fixed_bytes(identity, ID_BYTES),
                )
        raise MalformedError("not a head")


class Ledger:
    """All entries of one community that this node has admitted."""

    def __init__(self, genesis: Entry) -> None:
        if not isinstance(genesis.body, Genesis):
            raise MalformedError("a ledger begins with a genesis")
        self.genesis = genesis
        self.community = genesis.id
        self._entries: dict[bytes, Entry] = {}  # in an order in which parents come first
        self._feeds: dict[bytes, dict[int, list[bytes]]] = {}
        self._authors = {genesis.author}
        self._tips: set[bytes] = set()
        self._waiting: OrderedDict[bytes, Entry] = OrderedDict()
        self._admit(genesis)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, entry_id: bytes) -> bool:
        return entry_id in self._entries

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry, parents first."""
        return tuple(self._entries.values())

    def add(self, entry: Entry) -> list[Entry]:
        """Take a parsed entry; return what became part of the ledger, parents first (it may have been waited for).

        Errors: MalformedError for another community's entry or one that contradicts its predecessor.
        """
        if entry.community != self.community:
            raise MalformedError("an entry of another community")
        if entry.id in self._entries:
            return []
        self._waiting[entry.id] = entry
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
        admitted: list[Entry] = []
        progress = True
        while progress:
            ready = [waiting for waiting in self._waiting.values() if self._is_ready(waiting)]
            for candidate in ready:
                del self._waiting[candidate.id]
                if self._follows(candidate):
                    self._admit(candidate)
                    admitted.append(candidate)
            progress = bool(ready)
        return admitted

    def heads(self) -> list[Head]:
        """Return the newest entry of every feed."""
        result = []
        for author, feed in self._feeds.items():
            seq = max(feed)
            result.append(Head(author, seq, max(feed[seq])))
        return result

    def missing_at(self, heads: Iterable[Head]) -> list[Entry]:
        """Return what a node with these heads lacks, parents first; of a forked feed, everything."""
        after: dict[bytes, int] = {}
        for head in heads:
            feed = self._feeds.get(head.author)
            if feed is None:
                continue
            forked = any(len(ids) > 1 for ids in feed.values())
            here = head.id in self._entries
            if not forked and (here or head.seq > max(feed)):
                after[head.author] = head.seq
        return [entry for entry in self._entries.values() if entry.seq > after.get(entry.author, -1)]

    def next_place(self, author: bytes) -> Place:
        """Return where this author's next entry goes: after its own last, on top of all that nobody built on."""
        feed = self._feeds.get(author)
        if feed is None:
            return Place(0, None, tuple(sorted(self._tips)[:MAX_DEPS]))
        last = max(feed)
        prev = max(feed[last])
        return Place(last + 1, prev, tuple(sorted(self._tips - {prev})[:MAX_DEPS]))

    def _is_ready(self, entry: Entry) -> bool:
        return entry.author in self._authors and all(parent in self._entries for parent in entry.parents)

    def _follows(self, entry: Entry) -> bool:
        """Whether the predecessor is the author's own entry before.

        Forks are admitted as they are: others may have built on any branch, and the fold knows what a fork is worth.
        """
        if entry.place.prev is None:
            return True
        prev = self._entries[entry.place.prev]
        return prev.author == entry.author and prev.seq == entry.seq - 1

    def _admit(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        self._feeds.setdefault(entry.author, {}).setdefault(entry.seq, []).append(entry.id)
        self._tips.difference_update(entry.parents)
        self._tips.add(entry.id)
        if isinstance(entry.body, Admit):
            self._authors.add(entry.body.subject.public)
        elif isinstance(entry.body, RotateKey):
            self._authors.add(entry.body.new.public)
