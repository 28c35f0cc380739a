"""Who votes, and by which rules: an epoch of the community, and what a decision makes of it.

An epoch follows from the one before and from the entry that was decided on, seen with what that entry knows of; so it
is the same wherever both are.  Every decision also takes up what needs nobody's consent: new keys of voters, the papers
they registered, and who of them has left.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mesh.core.acts import Acts, Rotation, ancestors
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
            line = self._line(seat.key, seat, taken, knows)
            key = line[-1].new.public if line else seat.key
            paper = seat.recovery or self._first_paper(line, knows) or self._paper_of(key, knows)
            recovery = self._last_paper(paper, knows) if paper else None
            taken.add(key)
            seats.append(replace(seat, key=key, recovery=recovery))
        return seats

    def _changed(self, charter: Charter, seats: list[Seat], entry: Entry, knows: Knows) -> Charter:
        """Apply what was asked for; what asks for nothing that can be done changes nothing."""
        rules = charter.rules
        match entry.body:
            case Proposal(what=what, public=public) if what in {MAKE_OBSERVER, SHOW_OUT}:
                left = [seat for seat in seats if public not in self._keys_of(seat, seats, knows)]
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

    def _keys_of(self, seat: Seat, seats: Iterable[Seat], knows: Knows) -> set[bytes]:
        """Return the keys that the holder of a seat has used, as far as an entry knows."""
        line = self._line(seat.public, seat, {one.key for one in seats}, knows)
        return {seat.public, seat.key, *(rotation.new.public for rotation in line)}

    def _line(self, key: bytes, seat: Seat, taken: set[bytes], knows: Knows) -> list[Rotation]:
        """Return the rotations that lead from a seat's key to the one in use; none where they go round in a circle."""
        line, seen = list[Rotation](), {key}
        while (rotation := self._next(key, seat, taken, knows)) is not None:
            key = rotation.new.public
            if key in seen:
                return []
            seen.add(key)
            line.append(rotation)
        return line

    def _next(self, key: bytes, seat: Seat, taken: set[bytes], knows: Knows) -> Rotation | None:
        """Return what replaced a seat's key: of several rotations one by its paper first, then the lowest id."""
        may = (one for one in self._acts.rotations_from(key) if one.paper in {None, seat.recovery})
        rotations = [one for one in may if knows(one.id)]
        if not rotations:
            return None
        rotation = min(rotations, key=lambda one: (one.paper is None, one.id))
        return None if rotation.new.public in taken - {seat.key} else rotation

    def _first_paper(self, line: Iterable[Rotation], knows: Knows) -> bytes | None:
        """Return the recovery key that was registered under a key which was replaced before a decision knew of that.

        Only what the rotation was built on counts: whoever stole a key that was replaced registers nothing.
        """
        for rotation in line:
            below = self._acts.built_on(rotation, self._entries)
            paper = self._paper_of(rotation.old, lambda one, below=below: one in below and knows(one))  # type: ignore[misc]
            if paper is not None:
                return paper
        return None

    def _last_paper(self, paper: bytes, knows: Knows) -> bytes:
        """Follow the papers that papers name; back at one that was passed, it is the first that stays."""
        seen, last = {paper}, paper
        while (new := self._paper_of(last, knows)) is not None:
            if new in seen:
                return paper
            seen.add(new)
            last = new
        return last

    def _paper_of(self, author: bytes, knows: Knows) -> bytes | None:
        """Return the recovery key that somebody registered first."""
        known = [one for one in self._acts.papers.get(author, ()) if knows(one.id)]
        return min(known, key=lambda one: (one.seq, one.id)).public if known else None
