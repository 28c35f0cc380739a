"""The set of entries a node holds: a directed graph in which every entry comes after those it follows.

Only the set counts, never the order of arrival.  An entry whose parents are not here yet waits (bounded: what falls
out is asked for again at the next exchange of heads).
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mesh.core import codec, crypto
from mesh.core.agenda import Motion, motions
from mesh.core.authors import Authors
from mesh.core.decisions import Epoch
from mesh.core.entries import ID_BYTES, MAX_DEPS, MAX_SEQ, Entry, Genesis, Place, Remove, RotateKey
from mesh.core.equivocation import Equivocation
from mesh.core.membership import Membership
from mesh.core.roll import Roll
from mesh.core.surplus import Surplus, cited_by
from mesh.errors import MalformedError

MAX_WAITING: Final = 512
MAX_HEADS: Final = 4096
CHECKPOINT_EVERY: Final = 1024  # entries; a decision among thirty voters, and what they attest, is a tenth of that
# What one feed may hold, counted along `prev`.  The feeds of a founder and of all it may admit fit an admission.
MAX_FEED_BYTES: Final = 16 * 1024
MAX_VOTER_FEED_BYTES: Final = 256 * 1024  # a decision costs a voter some 1.5 KB
MAX_FOUNDER_FEED_BYTES: Final = 2 * 1024 * 1024
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


@dataclass(frozen=True)
class Mark:
    """How far a ledger was, so that it can be taken back there."""

    size: int
    tips: frozenset[bytes]
    acts: frozenset[bytes]
    waiting: tuple[Entry, ...]


class Ledger:
    """All entries of one community that this node has admitted."""

    def __init__(self, genesis: Entry) -> None:
        if not isinstance(genesis.body, Genesis):
            raise MalformedError("a ledger begins with a genesis")
        self.genesis = genesis
        self.community = genesis.id
        self._entries: dict[bytes, Entry] = {}  # in an order in which parents come first
        self._feeds: dict[bytes, list[bytes]] = {}  # by author and seq
        self._twins: dict[tuple[bytes, int], tuple[bytes, ...]] = {}  # where a feed is forked: the others of that place
        self._ends: dict[bytes, set[bytes]] = {}  # by author: what the author has not built on; more than one is a fork
        self._spent: dict[bytes, int] = {}  # by the end of a feed: the bytes of that feed
        self._keys = {genesis.author: genesis.author}  # of authors: by what equals them, so that each is kept once
        self._tips: set[bytes] = set()  # what nobody built on, surplus left out
        self._acts: set[bytes] = set()  # surplus that changes who belongs
        self._waiting: OrderedDict[bytes, Entry] = OrderedDict()
        self._released: list[Entry] = []
        self._roll = Roll(self._entries)
        self._authors = Authors(self._roll.is_voters)
        self._surplus = Surplus(self._entries, self._authors, self._account_limit)
        self._admit(genesis)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Ledger":
        """Make a ledger of entries, the genesis first.  Errors: MalformedError."""
        rest = iter(entries)
        genesis = next(rest, None)
        if genesis is None:
            raise MalformedError("a ledger without entries")
        ledger = cls(genesis)
        for entry in rest:
            ledger.add(entry)
        return ledger

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
        if not self._waiting and self._is_ready(entry):  # as most are
            return [entry] if self._takes(entry) else []
        self._waiting[entry.id] = entry
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
        admitted: list[Entry] = []
        progress = True
        while progress:
            ready = [waiting for waiting in self._waiting.values() if self._is_ready(waiting)]
            for candidate in ready:
                del self._waiting[candidate.id]
                if self._takes(candidate):
                    admitted.append(candidate)
            progress = bool(ready)
        return admitted

    def __getitem__(self, entry_id: bytes) -> Entry:
        return self._entries[entry_id]

    def membership(self) -> Membership:
        """Say who belongs, by the entries that are here; the same object until that may have changed."""
        return self._roll.membership()

    def epoch(self) -> Epoch:
        """Return the charter in force, and the votes on what comes next."""
        return self._roll.epoch()

    def ballots(self) -> Sequence[Entry]:
        """Return what was signed for the decision that is open, whoever signed it."""
        return self._roll.ballots()

    @property
    def needs_refresh(self) -> bool:
        """Whether it is time for a decision that needs nobody's consent: something to take up, or much to fix."""
        return self.membership().is_stale or self._roll.since_decision >= CHECKPOINT_EVERY

    def motions(self) -> list[Motion]:
        """Return what can be decided on now."""
        proposals, membership, tally = self._roll.proposals(), self.membership(), self.epoch().tally
        return motions(proposals, membership, tally, self._roll.seen, needs_refresh=self.needs_refresh)

    def attestations(self) -> list[tuple[bytes, Entry]]:
        """Return what voters say of the tree at the last decision, by the keys of their seats."""
        return self._roll.attestations()

    @property
    def equivocations(self) -> Mapping[bytes, Equivocation]:
        """The proofs that are here, by author."""
        return self._roll.equivocations

    def mark(self) -> Mark:
        """Note how far it is."""
        waiting = tuple(self._waiting.values())
        return Mark(len(self), frozenset(self._tips), frozenset(self._acts), waiting)

    def back_to(self, mark: Mark) -> None:
        """Forget what was admitted since, as if it had never come."""
        if len(self) > mark.size:
            while len(self) > mark.size:
                self._withdraw(self._entries.popitem()[1])
            left = [*self._entries.values()]
            self._entries.clear()
            self._roll = Roll(self._entries)
            self._authors = Authors(self._roll.is_voters)
            self._surplus = Surplus(self._entries, self._authors, self._account_limit)
            for entry in left:
                self._entries[entry.id] = entry
                self._enrol(entry)
        self._tips, self._acts, self._released = set(mark.tips), set(mark.acts), []
        self._waiting = OrderedDict((entry.id, entry) for entry in mark.waiting)

    def heads(self) -> list[Head]:
        """Return the newest entry of every feed, and of every branch of a forked one; forked ones come last."""
        feeds = sorted(self._ends.items(), key=lambda feed: len(feed[1]) > 1)
        return [Head(author, self._entries[one].seq, one) for author, ids in feeds for one in sorted(ids)]

    def missing_at(self, heads: Iterable[Head]) -> list[Entry]:
        """Return what a node with these heads lacks, parents first.

        What is only of forked feeds, or surplus, and nobody built on, comes last: no fork keeps anything else back.
        """
        by_author: dict[bytes, list[Head]] = {}
        for head in heads:
            by_author.setdefault(head.author, []).append(head)
        held, ahead = set[bytes](), set[bytes]()
        for author, theirs in by_author.items():
            for head in theirs:
                self._mark_chain(head.id, held)
            ours = self._feeds.get(author)
            if ours is not None and len(theirs) == len(self._ends[author]) == 1 and theirs[0].seq >= len(ours):
                ahead.add(author)
        missing = [e for e in self._entries.values() if e.id not in held and e.author not in ahead]
        urgent = set[bytes]()
        for entry in reversed(missing):
            if entry.id in urgent or (len(self._ends[entry.author]) == 1 and entry.id not in self._surplus):
                urgent |= {entry.id, *cited_by(entry)}
        return sorted(missing, key=lambda entry: (entry.id not in urgent, self._surplus.rank(entry)))

    def for_newcomer(self, max_bytes: int) -> list[Entry]:
        """Return what somebody begins with, parents first: no surplus, and of forks what there is room for.

        The rest comes over links.  What is neither is bounded by the feeds of those whom voters let in.
        """
        entries, size = list[Entry](), 0
        for entry in self.missing_at([]):
            size += len(entry.raw)
            if entry.id in self._surplus or size > max_bytes:
                break
            entries.append(entry)
        return entries

    def rivals_of(self, new: Iterable[Entry]) -> list[Entry]:
        """Return what was here of the other branch where these, just admitted, forked a feed that had one branch only.

        Who holds the longer branch was not sent the shorter one: its head looked like that of a feed which is ahead.
        """
        fresh, first = set[bytes](), dict[bytes, int]()
        for entry in new:
            fresh.add(entry.id)
            first[entry.author] = min(entry.seq, first.get(entry.author, MAX_SEQ))
        rivals: list[Entry] = []
        for author, seq in first.items():
            proof = self.equivocations.get(author)
            if proof is not None and proof.seq >= seq:  # else nothing was forked, or it had been before
                older = [[one for one in ids if one not in fresh] for ids in self._from(author, seq)]
                if all(len(ids) <= 1 for ids in older):
                    rivals += [self._entries[one] for ids in older for one in ids]
        return rivals

    def next_place(self, author: bytes) -> Place:
        """Return where this author's next entry goes: after its own last, on top of all that nobody built on.

        Of a key in dispute observers build on one branch, so that its forks do not fill their feeds; voters and papers
        on all, and on what changes who belongs though it is surplus: what they sign takes up what it knows of.
        """
        feed = self._feeds.get(author)
        if feed is None:
            return Place(0, None, self._to_build_on(author, b""))
        prev = max(self._at(author, len(feed) - 1))
        return Place(len(feed), prev, self._to_build_on(author, prev))

    def _to_build_on(self, author: bytes, prev: bytes) -> tuple[bytes, ...]:
        if self._roll.is_voters(author) or self._authors.is_paper(author):
            owed, acts = sorted(self._tips - {prev}), sorted(self._acts - {prev})
            return tuple(sorted([*owed, *acts][:MAX_DEPS]))  # no flood keeps out what is owed
        deps: list[bytes] = []
        disputed = set[bytes]()
        for one in sorted(self._tips - {prev}):
            author = self._entries[one].author
            if author not in disputed:
                deps.append(one)
            if author in self.equivocations:
                disputed.add(author)
        return tuple(deps[:MAX_DEPS])

    def has_room_for(self, entry: Entry) -> bool:
        """Whether an author has not said too much yet; leaving and rotating have room of their own."""
        body = entry.body
        own = body.public if isinstance(body, Remove) else body.old if isinstance(body, RotateKey) else None
        last_words = LAST_WORDS_BYTES if own == entry.author else 0
        return self._spent_with(entry) <= self._limit(entry.author) + last_words

    def is_surplus(self, entry: Entry) -> bool:
        """Whether an entry that is here is more than its author is owed, and nobody's who is not has built on it."""
        return entry.id in self._surplus

    def pop_released(self) -> list[Entry]:
        """Return what has stopped being surplus since this was asked last: others need it by now."""
        released, self._released = self._released, []
        return released

    def surplus_among(self, entries: Sequence[Entry]) -> set[bytes]:
        """Say which of these, which are not here yet, would be surplus, and no other of them is built on."""
        return self._surplus.among(entries, before=self._waiting.values())

    def _limit(self, key: bytes) -> int:
        if self._roll.is_founders(key):
            return MAX_FOUNDER_FEED_BYTES
        return MAX_VOTER_FEED_BYTES if self._roll.is_voters(key) else MAX_FEED_BYTES

    def _account_limit(self, key: bytes) -> int:
        return LAST_WORDS_BYTES if self._authors.is_paper(key) else self._limit(key)

    def _spent_with(self, entry: Entry) -> int:
        spent, prev = len(entry.raw), entry.prev
        while prev is not None and prev not in self._spent:  # a fork: it goes on from where others have gone on
            spent, prev = spent + len(self._entries[prev].raw), self._entries[prev].prev
        return spent + (self._spent[prev] if prev is not None else 0)

    def _mark_chain(self, entry_id: bytes | None, held: set[bytes]) -> None:
        """Add an entry that is here, and those its author signed below it."""
        while entry_id is not None and entry_id in self._entries and entry_id not in held:
            held.add(entry_id)
            entry_id = self._entries[entry_id].prev

    def _takes(self, entry: Entry) -> bool:
        """Admit what is ready, if it is sound."""
        if not (self._follows(entry) and self.has_room_for(entry)):
            return False
        self._admit(entry)
        return True

    def _is_ready(self, entry: Entry) -> bool:
        return entry.author in self._authors and all(parent in self._entries for parent in entry.parents)

    def _follows(self, entry: Entry) -> bool:
        """Whether the predecessor is the author's own entry before.

        Forks are admitted as they are: others may have built on any branch, and the fold knows what a fork is worth.
        """
        if entry.prev is None:
            return True
        prev = self._entries[entry.prev]
        return prev.author == entry.author and prev.seq == entry.seq - 1

    def _at(self, author: bytes, seq: int) -> tuple[bytes, ...]:
        """Return what an author signed for one place."""
        return self._feeds[author][seq], *self._twins.get((author, seq), ())

    def _from(self, author: bytes, seq: int) -> Iterator[tuple[bytes, ...]]:
        return (self._at(author, one) for one in range(seq, len(self._feeds[author])))

    def _others_at(self, entry: Entry) -> tuple[bytes, ...]:
        """Return what its author signed for the place of an entry besides that."""
        return tuple(one for one in self._at(entry.author, entry.seq) if one != entry.id)

    def _withdraw(self, entry: Entry) -> None:
        """Undo `_admit` for the entry that was admitted last, as far as feeds go."""
        feed, ends, prev = self._feeds[entry.author], self._ends[entry.author], entry.prev
        twins = self._others_at(entry)
        self._twins.pop((entry.author, entry.seq), None)
        if twins:
            feed[entry.seq] = twins[0]
        if len(twins) > 1:
            self._twins[entry.author, entry.seq] = twins[1:]
        ends.discard(entry.id)
        spent = self._spent.pop(entry.id)
        if prev is not None and not any(self._entries[one].prev == prev for one in twins):
            ends.add(prev)
            self._spent[prev] = spent - len(entry.raw)
        if not twins:
            feed.pop()
        if not feed:
            del self._feeds[entry.author], self._ends[entry.author]

    def _enrol(self, entry: Entry) -> list[Entry]:
        """Take what was admitted into account; return what is surplus no more by it."""
        self._roll.add(entry, twins=self._others_at(entry))
        self._authors.add(entry)
        return self._surplus.add(entry)

    def _sharing(self, entry: Entry) -> Entry:
        """Give the same entry, with the ids and keys that are in memory already: three of them are half of it."""
        prev, deps = entry.prev, tuple(self._entries[dep].id for dep in entry.deps)
        prev, author = prev and self._entries[prev].id, self._keys.setdefault(entry.author, entry.author)
        return Entry(entry.raw, entry.id, self.community, author, entry.seq, prev, deps, entry.ts, entry.body)

    def _admit(self, entry: Entry) -> None:
        entry = self._sharing(entry)
        self._entries[entry.id] = entry
        feed = self._feeds.setdefault(entry.author, [])
        if entry.seq < len(feed):
            self._twins[entry.author, entry.seq] = (*self._at(entry.author, entry.seq)[1:], entry.id)
        else:
            feed.append(entry.id)
        released = self._enrol(entry)
        self._released += reversed(released)
        self._ends.setdefault(entry.author, set()).add(entry.id)
        self._spent[entry.id] = self._spent_with(entry)
        if entry.prev is not None:
            self._ends[entry.author].discard(entry.prev)
            self._spent.pop(entry.prev, None)
        self._acts.difference_update(one.id for one in released)
        if entry.id in self._surplus:
            self._acts.update({entry.id} if self._surplus.is_act(entry) else ())
        else:
            self._tips.difference_update(*(one.parents for one in (entry, *released)))
            self._tips.add(entry.id)
