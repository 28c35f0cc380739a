"""The set of entries a node holds: a directed graph in which every entry comes after those it follows.

Only the set counts, never the order of arrival.  An entry whose parents are not here yet waits (bounded: what falls
out is asked for again at the next exchange of heads).
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mesh.core import codec, crypto
from mesh.core.entries import ID_BYTES, MAX_DEPS, MAX_SEQ, Admit, Entry, Genesis, Place, Remove, RotateKey
from mesh.errors import MalformedError

MAX_WAITING: Final = 512
MAX_HEADS: Final = 4096
# What one feed may hold, counted along `prev`.  The feeds of a founder and of all it may admit fit an admission.
MAX_FEED_BYTES: Final = 16 * 1024
MAX_VOTER_FEED_BYTES: Final = 2 * 1024 * 1024
LAST_WORDS_BYTES: Final = 4 * 1024  # kept free for leaving and for going on under another key


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
        self._ends: dict[bytes, set[bytes]] = {}  # by author: what the author has not built on; more than one is a fork
        self._spent: dict[bytes, int] = {}  # by entry: the bytes of its author's feed up to and with it
        self._authors = {genesis.author}
        self._voters = {genesis.author}
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
                if self._follows(candidate) and self.has_room_for(candidate):
                    self._admit(candidate)
                    admitted.append(candidate)
            progress = bool(ready)
        return admitted

    def copy(self) -> "Ledger":
        """Return a ledger of the same entries, to which others can be added."""
        other = Ledger(self.genesis)
        other._entries = dict(self._entries)
        other._feeds = {author: {seq: [*ids] for seq, ids in feed.items()} for author, feed in self._feeds.items()}
        other._ends = {author: set(ids) for author, ids in self._ends.items()}
        other._spent = dict(self._spent)
        other._authors, other._voters, other._tips = set(self._authors), set(self._voters), set(self._tips)
        other._waiting = OrderedDict(self._waiting)
        return other

    def heads(self) -> list[Head]:
        """Return the newest entry of every feed, and of every branch of a forked one; forked ones come last."""
        feeds = sorted(self._ends.items(), key=lambda feed: len(feed[1]) > 1)
        return [Head(author, self._entries[one].seq, one) for author, ids in feeds for one in sorted(ids)]

    def missing_at(self, heads: Iterable[Head]) -> list[Entry]:
        """Return what a node with these heads lacks, parents first.

        What is only of forked feeds, and nobody built on, comes last: no fork keeps anything else back.
        """
        by_author: dict[bytes, list[Head]] = {}
        for head in heads:
            by_author.setdefault(head.author, []).append(head)
        held, ahead = set[bytes](), set[bytes]()
        for author, theirs in by_author.items():
            for head in theirs:
                self._mark_chain(head.id, held)
            ours = self._feeds.get(author)
            if ours is not None and len(theirs) == len(self._ends[author]) == 1 and theirs[0].seq > max(ours):
                ahead.add(author)
        missing = [e for e in self._entries.values() if e.id not in held and e.author not in ahead]
        urgent = set[bytes]()
        for entry in reversed(missing):
            if entry.id in urgent or len(self._ends[entry.author]) == 1:
                urgent |= {entry.id, *entry.parents}
        return sorted(missing, key=lambda entry: entry.id not in urgent)

    def rivals_of(self, new: Iterable[Entry]) -> list[Entry]:
        """Return what is here of the other branch, parents first, where these fork a feed that had one branch only.

        Who holds the longer branch was not sent the shorter one: its head looked like that of a feed which is ahead.
        """
        first: dict[bytes, int] = {}
        for entry in new:
            first[entry.author] = min(entry.seq, first.get(entry.author, MAX_SEQ))
        forked = {author: seq for author, seq in first.items() if len(self._ends.get(author, ())) == 1}
        return [e for e in self._entries.values() if e.author in forked and e.seq >= forked[e.author]]

    def next_place(self, author: bytes) -> Place:
        """Return where this author's next entry goes: after its own last, on top of all that nobody built on."""
        feed = self._feeds.get(author)
        if feed is None:
            return Place(0, None, tuple(sorted(self._tips)[:MAX_DEPS]))
        last = max(feed)
        prev = max(feed[last])
        return Place(last + 1, prev, tuple(sorted(self._tips - {prev})[:MAX_DEPS]))

    def has_room_for(self, entry: Entry) -> bool:
        """Whether an author has not said too much yet; leaving and rotating have room of their own."""
        limit = MAX_VOTER_FEED_BYTES if entry.author in self._voters else MAX_FEED_BYTES
        body = entry.body
        own = body.public if isinstance(body, Remove) else body.old if isinstance(body, RotateKey) else None
        return self._spent_with(entry) <= limit + (LAST_WORDS_BYTES if own == entry.author else 0)

    def _spent_with(self, entry: Entry) -> int:
        before = self._spent[entry.place.prev] if entry.place.prev else 0
        return before + len(entry.raw)

    def _mark_chain(self, entry_id: bytes | None, held: set[bytes]) -> None:
        """Add an entry that is here, and those its author signed below it."""
        while entry_id is not None and entry_id in self._entries and entry_id not in held:
            held.add(entry_id)
            entry_id = self._entries[entry_id].place.prev

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
        self._ends.setdefault(entry.author, set()).add(entry.id)
        self._spent[entry.id] = self._spent_with(entry)
        if entry.place.prev is not None:
            self._ends[entry.author].discard(entry.place.prev)
        self._tips.difference_update(entry.parents)
        self._tips.add(entry.id)
        if isinstance(entry.body, Admit):
            self._authors.add(entry.body.subject.public)
        elif isinstance(entry.body, RotateKey):
            self._authors.add(entry.body.new.public)
            if entry.author in self._voters and entry.body.old == entry.author:
                self._voters.add(entry.body.new.public)
