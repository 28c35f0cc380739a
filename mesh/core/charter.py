"""Who votes, and by which rules: an epoch of the community, and what a decision makes of it.

An epoch follows from the one before and from the entry that was decided on, seen with what that entry knows of; so it
is the same wherever both are.  Every decision also takes up what needs nobody's consent: new keys of voters, the papers
they registered, and who of them has left.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mesh.core.acts import Acts, ancestors
from mesh.core.ballots import MAKE_OBSERVER, MAKE_VOTER, MAX_VOTERS, SHOW_OUT, Amendment, Proposal
from mesh.core.causality import Causality
from mesh.core.entries import Admit, Entry
from mesh.core.tally import Electorate, quorum_of

Knows = Callable[[bytes], bool]  # of the ids of removals, rotations and papers: those that an entry comes after

INVITATIONS: Final = 16  # of a voter who did not found the community


@dataclass(frozen=True, slots=True)
class Rules:
    """What a charter may change: see Amendment."""

    margin: int = 0
    notice: int = 0
    invitations: int = INVITATIONS


@dataclass(frozen=True, slots=True)
class Seat:
    """A voter's place.

    public: the key it was given to; key: the one its holder uses, as the epoch's decision knew it; since: the id of
    the entry that gave it; recovery: the key on its holder's paper, if there is one.
    """

    public: bytes
    key: bytes
    since: bytes
    recovery: bytes | None = None


@dataclass(frozen=True, slots=True)
class Charter:
    """An epoch.  number: how many were decided before; decided: the id of the entry that it follows from."""

    number: int
    decided: bytes
    seats: tuple[Seat, ...]
    rules: Rules = Rules()

    @property
    def quorum(self) -> int:
        """How many voters decide."""
        return min(len(self.seats), quorum_of(len(self.seats)) + self.rules.margin)


class Succession:
    """Follows epochs and the keys of voters through a growing ledger; all it says of an entry stays so."""

    def __init__(self, entries: Mapping[bytes, Entry], acts: Acts, causality: Causality) -> None:
        """entries, acts, causality: of all so far; whoever adds to them keeps them."""
        self._entries = entries
        self._acts = acts
        self._causality = causality

    def electorate(self, charter: Charter) -> Electorate:
        """Say who decides on what follows an epoch."""

        def voter_of(entry: Entry) -> bytes | None:
            seat = self.seat_of(charter, entry)
            return seat.public if seat is not None else None

        return Electorate(frozenset(seat.public for seat in charter.seats), charter.quorum, voter_of)

    def seat_of(self, charter: Charter, entry: Entry) -> Seat | None:
        """Return whose entry this is: the voter's whose key signed it, or whose key was replaced by that one.

        Of rotations only those count which the entry knows of.  A voter that goes on under another voter's key gets
        nothing of what that one signs.
        """
        seats = {seat.key: seat for seat in charter.seats}
        found, seen, level = set[Seat](), {entry.author}, [(entry.author, frozenset[bytes]())]
        while level and not found:
            after: list[tuple[bytes, frozenset[bytes]]] = []
            for key, papers in level:
                seat = seats.get(key)
                if seat is not None:
                    found |= {seat} if papers <= {seat.recovery} else set()
                    continue
                for rotation in self._acts.rotations_to(key):
                    if rotation.old not in seen and self._causality.knows(entry.id, rotation.id):
                        seen.add(rotation.old)
                        after.append((rotation.old, papers | ({rotation.paper} if rotation.paper else frozenset())))
            level = after
        return min(found, key=charter.seats.index, default=None)

    def left(self, charter: Charter, removal: Entry) -> Seat | None:
        """Return whose seat a removal ends, which its author signed of itself; None if it came back since then."""
        seat = self.seat_of(charter, removal)
        return None if seat is None or self._causality.knows(seat.since, removal.id) else seat

    def following(self, charter: Charter, entry: Entry, leavings: Iterable[Entry]) -> Charter:
        """Give the epoch that a decision for this entry makes of another.  leavings: what `left` has an answer to."""

        def knows(other_id: bytes) -> bool:
            return self._causality.knows(entry.id, other_id)

        seats = self._renewed(charter, leavings, knows)
        return self._changed(replace(charter, number=charter.number + 1, decided=entry.id), seats, entry, knows)

    def is_stale(self, charter: Charter, leavings: Iterable[Entry]) -> bool:
        """Whether a decision that asks for nothing would change something, by what needs nobody's consent."""
        return self._renewed(charter, leavings, lambda _: True) != [*charter.seats]

    def _renewed(self, charter: Charter, leavings: Iterable[Entry], knows: Knows) -> list[Seat]:
        """Take up who has left, which keys voters go on under, and their papers.

        Nobody goes on under the key of another seat, and who goes round in a circle goes nowhere: doing it again
        changes nothing, whatever anybody signed.
        """
        gone = {self.left(charter, one) for one in leavings if knows(one.id)}
        staying = [seat for seat in charter.seats if seat not in gone]
        taken = {seat.key for seat in staying}
        seats: list[Seat] = []
        for seat in staying:
            key = _end_of(seat.key, lambda key, seat=seat: self._next_key(key, seat, taken, knows))  # type: ignore[misc]
            paper = seat.recovery or self._paper_of(key, knows)
            recovery = _end_of(paper, lambda paper: self._paper_of(paper, knows)) if paper else None
            taken.add(key)
            seats.append(replace(seat, key=key, recovery=recovery))
        return seats

    def _changed(self, charter: Charter, seats: list[Seat], entry: Entry, knows: Knows) -> Charter:
        """Apply what was asked for; what asks for nothing that can be done changes nothing."""
        rules = charter.rules
        match entry.body:
            case Proposal(what=what, public=public) if what in {MAKE_OBSERVER, SHOW_OUT}:
                left = [seat for seat in seats if public not in {seat.public, seat.key}]
                seats = left or seats  # a community without a voter could decide nothing, ever
            case Proposal(what=what, public=public) if what == MAKE_VOTER:
                known = {key for seat in seats for key in (seat.public, seat.key)}
                if public not in known and len(seats) < MAX_VOTERS and self._is_introduced(public, entry, knows):
                    seats = [*seats, Seat(public, public, entry.id, self._paper_of(public, knows))]
            case Amendment() as amendment:
                rules = Rules(amendment.margin, amendment.notice, amendment.invitations)
        return replace(charter, seats=tuple(seats), rules=rules)

    def _is_introduced(self, public: bytes, entry: Entry, knows: Knows) -> bool:
        """Whether an entry knows of somebody's admission, or going on, under a key: else there is nobody to vote."""
        if any(knows(rotation.id) for rotation in self._acts.rotations_to(public)):
            return True
        before = (self._entries[one].body for one in ancestors(entry.id, self._entries))
        return any(isinstance(body, Admit) and body.subject.public == public for body in before)

    def _next_key(self, key: bytes, seat: Seat, taken: set[bytes], knows: Knows) -> bytes | None:
        """Return what replaced a seat's key: of several rotations one by its paper first, then the lowest id."""
        rotations = [
            rotation
            for rotation in self._acts.rotations_from(key)
            if rotation.paper in {None, seat.recovery} and knows(rotation.id)
        ]
        if not rotations:
            return None
        new = min(rotations, key=lambda rotation: (rotation.paper is None, rotation.id)).new.public
        return None if new in taken - {seat.key} else new

    def _paper_of(self, author: bytes, knows: Knows) -> bytes | None:
        """Return the recovery key that somebody registered first."""
        known = [one for one in self._acts.papers.get(author, ()) if knows(one.id)]
        return min(known, key=lambda one: (one.seq, one.id)).public if known else None


def _end_of(key: bytes, following: Callable[[bytes], bytes | None]) -> bytes:
    """Follow keys to the last one; back at one that was passed, it is the first that stays."""
    seen, last = {key}, key
    while (new := following(last)) is not None:
        if new in seen:
            return key
        seen.add(new)
        last = new
    return last
