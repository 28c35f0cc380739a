"""Voters that decide on one slot over a network that delays and reorders as chance has it; some of them lie."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

from mesh.core import crypto
from mesh.core.ballots import EPOCH, Ballot, Commit, Lock, Slot, Vote
from mesh.core.entries import Entry, Place, Remove, write_entry
from mesh.core.tally import Electorate, Tally, Value, quorum_of
from mesh.core.voting import VotingLog, next_step

COMMUNITY = hashlib.sha256(b"an assembly").digest()
SLOT = Slot(EPOCH, 1)
ALE, BEER, CIDER = (hashlib.sha256(name).digest() for name in (b"ale", b"beer", b"cider"))


class Pen:
    """Signs entries in a feed of its own."""

    def __init__(self, number: int) -> None:
        self.seed = hashlib.sha256(b"voter %d" % number).digest()
        self.public = crypto.ed25519_public(self.seed)
        self._place = Place(0, None, (COMMUNITY,))

    def sign(self, body: Ballot | Remove) -> Entry:
        """Sign the next entry."""
        entry = write_entry(self.seed, COMMUNITY, self._place, body)
        self._place = Place(self._place.seq + 1, entry.id, ())
        return entry


def electorate_of(pens: Sequence[Pen], *others: tuple[Pen, Pen]) -> Electorate:
    """Let each of these vote, and each first of the others for its second."""
    voter_of = {pen.public: pen.public for pen in pens} | {pen.public: voter.public for pen, voter in others}
    voters = frozenset(voter_of.values())
    return Electorate(voters, quorum_of(len(voters)), lambda entry: voter_of.get(entry.author))


class Voter:
    """An honest one: signs what `next_step` says, and remembers it first."""

    def __init__(self, pen: Pen, electorate: Electorate, approved: Sequence[bytes] | None) -> None:
        self.pen = pen
        self.tally = Tally(SLOT, electorate)
        self.log = VotingLog()
        self.approved = approved
        self.impatient = False

    def acts(self) -> list[Entry]:
        """Sign whatever is due."""
        signed: list[Entry] = []
        while body := next_step(self.tally, self.log, approved=self.approved, impatient=self.impatient):
            if isinstance(body, Vote):
                self.log = replace(self.log, votes={**self.log.votes, body.round: body.value})
            elif isinstance(body, Lock):
                self.log = replace(self.log, locks={**self.log.locks, body.round: body.value})
            signed.append(self.pen.sign(body))
            self.tally.add(signed[-1])
        return signed


class Assembly:
    """Honest voters, liars, and what is on its way."""

    def __init__(self, honest: int, liars: int, *, chance: random.Random, approved: Sequence[Sequence[bytes]]) -> None:
        """approved: what each honest voter agrees with, in turn."""
        pens = [Pen(number) for number in range(honest + liars)]
        electorate = electorate_of(pens)
        self.electorate = electorate
        self.voters = [Voter(pen, electorate, approved[n % len(approved)]) for n, pen in enumerate(pens[:honest])]
        self.liars = pens[honest:]
        self.all = Tally(SLOT, electorate)
        self._chance = chance
        self._lied: set[int] = set()
        self._signed: list[Entry] = []
        self._coming: list[tuple[Voter, Entry]] = []

    def run(self) -> None:
        """Deliver everything, in any order and some of it twice, until nobody has anything to say."""
        while self._all_act() or self._coming:
            while self._coming:
                self._deliver_one()

    def _all_act(self) -> bool:
        signed = [(voter, voter.acts()) for voter in self.voters]
        for voter, entries in signed:
            self._publish(entries, voter)
        return any(entries for _, entries in signed)

    def _deliver_one(self) -> None:
        place = self._chance.randrange(len(self._coming))
        self._coming[place], self._coming[-1] = self._coming[-1], self._coming[place]
        voter, entry = self._coming[-1]
        if self._chance.random() < 0.95:  # else it comes once more
            self._coming.pop()
        voter.tally.add(entry)
        if self._chance.random() < 0.3:  # not everybody looks at once
            self._publish(voter.acts(), voter)

    def hurry(self, *, times: int = 1) -> None:
        """Let everybody hear of everything, as ledgers do in the end, and lose patience; until it is decided."""
        for _ in range(times):
            for voter in self.voters:
                voter.impatient = True
                self._coming += [(voter, entry) for entry in self._signed]
            self.run()
            if self.all.decided:
                break

    def _publish(self, entries: Sequence[Entry], author: Voter) -> None:
        for entry in entries:
            self._note(entry)
            self._coming += [(voter, entry) for voter in self.voters if voter is not author]
            if isinstance(entry.body, Vote | Lock):
                self._lie(entry.body.round)

    def _lie(self, number: int) -> None:
        """Tell some one thing and some another, in every way that a round offers."""
        if number in self._lied:
            return
        self._lied.add(number)
        for pen in self.liars:
            values: list[Value] = [ALE, BEER, CIDER, None]
            self._chance.shuffle(values)
            for value in values[: self._chance.randint(0, 4)]:
                self._tell_some(pen.sign(Vote(SLOT, number, value)))
                votes = self.all.votes(number).get(value, {})
                lock = pen.sign(Lock(SLOT, number, value, tuple(sorted(votes.values()))[: self.electorate.quorum]))
                self._tell_some(lock)
                locks = self.all.locks(number).get(value, {})
                if value is not None:
                    self._tell_some(pen.sign(Commit(SLOT, number, value, tuple(sorted(locks.values())))))

    def _note(self, entry: Entry) -> None:
        self._signed.append(entry)
        self.all.add(entry)

    def _tell_some(self, entry: Entry) -> None:
        self._note(entry)
        some = self._chance.sample(self.voters, self._chance.randint(0, len(self.voters)))
        self._coming += [(voter, entry) for voter in some]
