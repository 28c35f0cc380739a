"""What voters decided, epoch by epoch: a function of the set of entries, kept up as they come in.

Each epoch's voters decide on one successor.  Where certificates stand for two, which takes more than a third of
dishonest voters, the community is forked: the epoch before stays in force, and nothing that was decided after it counts
(decision 24 of docs/protocol.md).  What was decided on counts once it is here.  All branches are followed, since what
was taken once must be counted.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mesh.core.acts import Acts, Rotation
from mesh.core.ballots import EPOCH, Commit, Lock, Slot, Vote
from mesh.core.causality import Causality
from mesh.core.charter import Charter, Seat, Succession
from mesh.core.entries import Entry, Genesis, Remove
from mesh.core.tally import Tally


@dataclass(frozen=True)
class Epoch:
    """A charter, the votes on what comes after it, and what came."""

    charter: Charter
    tally: Tally
    next: dict[bytes, "Epoch"] = field(default_factory=dict)


class Decisions:
    """The tree of epochs; entries are added one by one, parents first, to `acts` and `causality` before this."""

    def __init__(self, entries: Mapping[bytes, Entry], acts: Acts, causality: Causality) -> None:
        """entries: those that were added, by id; whoever adds them keeps it."""
        self._entries = entries
        self._acts = acts
        self._succession = Succession(entries, acts, causality)
        self._ballots: defaultdict[int, list[Entry]] = defaultdict(list)  # by the number of their slot
        self._leavings: list[Entry] = []
        self._levels: list[list[Epoch]] = []  # by number
        self._awaited: set[bytes] = set()  # decided, not here yet

    def add(self, entry: Entry) -> bool:
        """Take an entry that was not added yet; say whether epochs may have come of it."""
        body = entry.body
        if isinstance(body, Genesis):
            seat = Seat(entry.author, entry.author, entry.id)
            self._begin(0, Charter(0, entry.id, (seat,)))
            return True
        if isinstance(body, Vote | Lock | Commit) and body.slot.series == EPOCH:
            self._ballots[body.slot.number].append(entry)
            return self._file(entry, self._level(body.slot.number - 1))
        if isinstance(body, Remove) and body.public == entry.author:
            self._leavings.append(entry)
            return self._file(entry, [*self.epochs()])
        return entry.id in self._awaited and self._go_on([*self.epochs()])

    def epochs(self) -> Iterator[Epoch]:
        """Yield every epoch of every branch, those of lower number first."""
        for level in self._levels:
            yield from level

    @property
    def in_force(self) -> list[Epoch]:
        """The epochs that nobody can call into question: the first, and what followed until now or until a fork."""
        chain = self._level(0)[:1]
        while chain and len(chain[-1].next) == 1:
            chain += chain[-1].next.values()
        return chain

    @property
    def count(self) -> int:
        """How many epochs were decided on, in all branches; it never falls."""
        return sum(len(epoch.next) for epoch in self.epochs())

    def ballots(self, number: int) -> Sequence[Entry]:
        """Return what was signed for an epoch, whoever signed it."""
        return self._ballots.get(number, ())

    @property
    def is_stale(self) -> bool:
        """Whether the charter in force lacks what needs nobody's consent, a voter's new key for instance."""
        return self._succession.is_stale(self.in_force[-1].charter, self._leavings)

    def seats(self) -> dict[tuple[bytes, bytes], Seat]:
        """Return all seats ever given, in all branches, as they were last: by public key and by what gave them."""
        return {(seat.public, seat.since): seat for epoch in self.epochs() for seat in epoch.charter.seats}

    def recovered(self) -> dict[bytes, list[Rotation]]:
        """Return, by the key they replace, the rotations that papers of voters signed."""
        found: dict[bytes, dict[bytes, Rotation]] = {}
        papers = {
            (seat.public, seat.recovery) for epoch in self.epochs() for seat in epoch.charter.seats if seat.recovery
        }
        for public, paper in papers:
            for rotation in self._acts.by_paper(public, paper):
                found.setdefault(rotation.old, {})[rotation.id] = rotation
        return {old: [rotation for _, rotation in sorted(by_id.items())] for old, by_id in found.items()}

    def _level(self, number: int) -> list[Epoch]:
        return self._levels[number] if 0 <= number < len(self._levels) else []

    def _file(self, entry: Entry, epochs: list[Epoch]) -> bool:
        """Count it where it belongs."""
        for epoch in epochs:
            if not isinstance(entry.body, Remove) or self._succession.left(epoch.charter, entry):
                epoch.tally.add(entry)
        return self._go_on(epochs) or isinstance(entry.body, Remove)

    def _begin(self, number: int, charter: Charter) -> Epoch:
        tally = Tally(Slot(EPOCH, number + 1), self._succession.electorate(charter))
        epoch = Epoch(charter, tally)
        if number == len(self._levels):
            self._levels.append([])
        self._levels[number].append(epoch)
        for entry in self._leavings:
            if self._succession.left(charter, entry):
                tally.add(entry)
        for entry in self._ballots[number + 1]:
            tally.add(entry)
        return epoch

    def _go_on(self, epochs: list[Epoch]) -> bool:
        """Begin what was decided and has not begun; return whether there was anything."""
        changed, rest = False, [*epochs]
        while rest:
            epoch = rest.pop()
            for value in sorted(epoch.tally.decided - epoch.next.keys()):
                changed = True
                entry = self._entries.get(value)
                if entry is None:
                    self._awaited.add(value)
                    continue
                charter = self._succession.following(epoch.charter, entry, self._leavings)
                epoch.next[value] = self._begin(charter.number, charter)
                rest.append(epoch.next[value])
        return changed
