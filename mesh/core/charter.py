"""Who votes, and by which rules: an epoch of the community, and what a decision makes of it.

An epoch follows from the one before and from the entry that was decided on, seen with what that entry knows of; so it
is the same wherever both are.  Every decision also takes up what needs nobody's consent: new keys of voters, the papers
they registered, and who of them has left.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mesh.core.acts import Acts, ancestors
from mesh.core.ballots import MAKE_OBSERVER, MAKE_VOTER, MAX_VOTERS, SHOW_OUT, Amendment, Proposal
from mesh.core.causality import Causality
from mesh.core.entries import Admit, Entry
from mesh.core.tally import Electorate, quorum_of

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

    def seat_under(self, key: bytes) -> Seat | None:
        """Return the seat whose holder uses this key, as far as the epoch's decision knew."""
        return next((seat for seat in self.seats if seat.key == key), None)


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
                for turn in self._acts.turns_to(key):
                    if turn.old not in seen and self._causality.knows(entry.id, turn.id):
                        seen.add(turn.old)
                        after.append((turn.old, papers | ({turn.paper} if turn.paper else frozenset())))
            level = after
        return min(found, key=charter.seats.index, default=None)

    def left(self, charter: Charter, removal: Entry) -> Seat | None:
        """Return whose seat a removal ends, which its author signed of itself; None if it came back since then."""
        seat = self.seat_of(charter, removal)
        return None if seat is None or self._causality.knows(seat.since, removal.id) else seat

    def following(self, charter: Charter, entry: Entry, leavings: Iterable[Entry]) -> Charter:
        """Give the epoch that a decision for this entry makes of another.  leavings: what `left` has an answer to."""
        gone = {self.left(charter, one) for one in leavings if self._causality.knows(entry.id, one.id)}
        staying = [seat for seat in charter.seats if seat not in gone]
        taken = {seat.key for seat in staying}
        seats: list[Seat] = []
        for seat in staying:
            renewed = self._renewed(seat, entry, taken)
            taken.add(renewed.key)
            seats.append(renewed)
        return self._changed(replace(charter, number=charter.number + 1, decided=entry.id), seats, entry)

    def _changed(self, charter: Charter, seats: list[Seat], entry: Entry) -> Charter:
        """Apply what was asked for; what asks for nothing that can be done changes nothing."""
        rules = charter.rules
        match entry.body:
            case Proposal(what=what, public=public) if what in {MAKE_OBSERVER, SHOW_OUT}:
                left = [seat for seat in seats if public not in {seat.public, seat.key}]
                seats = left or seats  # a community without a voter could decide nothing, ever
            case Proposal(what=what, public=public) if what == MAKE_VOTER:
                known = {key for seat in seats for key in (seat.public, seat.key)}
                if public not in known and len(seats) < MAX_VOTERS and self._is_introduced(public, entry):
                    seats = [*seats, Seat(public, public, entry.id, self._paper_of(public, entry))]
            case Amendment() as amendment:
                rules = Rules(amendment.margin, amendment.notice, amendment.invitations)
        return replace(charter, seats=tuple(seats), rules=rules)

    def _is_introduced(self, public: bytes, entry: Entry) -> bool:
        """Whether an entry knows of somebody's admission, or going on, under a key: else there is nobody to vote."""
        if any(self._causality.knows(entry.id, turn.id) for turn in self._acts.turns_to(public)):
            return True
        before = (self._entries[one].body for one in ancestors(entry.id, self._entries))
        return any(isinstance(body, Admit) and body.subject.public == public for body in before)

    def _renewed(self, seat: Seat, entry: Entry, taken: set[bytes]) -> Seat:
        """Give the seat with the keys that an entry knows of; of several rotations a paper's counts first."""
        key, recovery, seen = seat.key, seat.recovery, {seat.key}
        while True:
            turns = [
                turn
                for turn in self._acts.turns_from(key)
                if turn.paper in {None, seat.recovery} and self._causality.knows(entry.id, turn.id)
            ]
            new = min(turns, key=lambda turn: (turn.paper is None, turn.id)).new.public if turns else key
            if new in seen or new in taken:
                break
            key = new
            seen.add(key)
        recovery = self._paper_of(key, entry) if recovery is None else self._paper_of(recovery, entry) or recovery
        return replace(seat, key=key, recovery=recovery)

    def _paper_of(self, author: bytes, entry: Entry) -> bytes | None:
        """Return the recovery key that somebody registered first, as far as an entry knows."""
        known = [one for one in self._acts.papers.get(author, ()) if self._causality.knows(entry.id, one.id)]
        return min(known, key=lambda one: (one.seq, one.id)).public if known else None
