"""What members put before the voters, and what voters said last: kept by author as entries come in."""

from collections import deque
from collections.abc import Container, Mapping
from typing import Final

from mesh.core.attestation import Attestation
from mesh.core.ballots import Amendment, Proposal
from mesh.core.causality import Causality
from mesh.core.decisions import Epoch
from mesh.core.entries import Entry

MAX_PROPOSED: Final = 16  # under one key, the last ones: more are not voted on


class Docket:
    """Proposals, attestations, and the last word of each voter; entries are added one by one, parents first."""

    def __init__(self, entries: Mapping[bytes, Entry], causality: Causality) -> None:
        """entries, causality: of all so far; whoever adds to them keeps them."""
        self._entries = entries
        self._causality = causality
        self._proposed: dict[bytes, deque[bytes]] = {}  # by author
        self._attested: dict[bytes, list[Entry]] = {}  # by what was decided
        self._last: dict[bytes, bytes] = {}  # by voter's key: the entry that came last

    def add(self, entry: Entry, *, votes: bool) -> None:
        """Take an entry that was not added yet.  votes: whether its author does, or did."""
        body = entry.body
        if isinstance(body, Proposal | Amendment):
            self._proposed.setdefault(entry.author, deque(maxlen=MAX_PROPOSED)).append(entry.id)
        elif isinstance(body, Attestation):
            self._attested.setdefault(body.decided, []).append(entry)
        if votes:
            self._last[entry.author] = entry.id

    def proposals(self, voters: Container[bytes]) -> list[Entry]:
        """Return the last MAX_PROPOSED proposals under each of these keys."""
        return [self._entries[one] for author, found in self._proposed.items() if author in voters for one in found]

    def seen(self, proposal: bytes, epoch: Epoch) -> int:
        """Return of how many voters something is here that knows of a proposal, or is it."""
        ends = (one for one in self._last.values() if one == proposal or self._causality.knows(one, proposal))
        return len({epoch.tally.electorate.voter_of(self._entries[one]) for one in ends} - {None})

    def attestations(self, epoch: Epoch) -> list[tuple[bytes, Entry]]:
        """Return what voters say of the tree at the decision that an epoch follows from, by the keys of their seats."""
        said = self._attested.get(epoch.charter.decided, ())
        found = ((epoch.tally.electorate.voter_of(entry), entry) for entry in said)
        return [(seat, entry) for seat, entry in found if seat is not None]
