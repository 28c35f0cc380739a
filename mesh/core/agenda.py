"""What voters can decide on now: the proposals that would change something, and how far each has come."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mesh.core import ballots, crypto
from mesh.core.ballots import Amendment, Proposal
from mesh.core.charter import Rules
from mesh.core.entries import Entry
from mesh.core.membership import OBSERVER, Membership
from mesh.core.tally import Tally, Value
from mesh.core.voting import VotingLog, open_round


@dataclass(frozen=True)
class Motion:
    """A proposal on the agenda.

    agreed: the seats that vote for it in the round that is open, or in the one before if nobody has voted yet;
    seen: how many voters have signed something that knows of it.
    """

    entry: Entry
    agreed: frozenset[bytes]
    seen: int

    @property
    def id(self) -> bytes:
        """What is voted for."""
        return self.entry.id

    @property
    def is_routine(self) -> bool:
        """Whether it needs nobody's consent: it takes up what has happened already."""
        return isinstance(self.entry.body, Proposal) and self.entry.body.what == ballots.REFRESH


def motions(
    proposals: Iterable[Entry],
    membership: Membership,
    tally: Tally,
    seen: Callable[[bytes], int],
    *,
    needs_refresh: bool,
) -> list[Motion]:
    """List what a voter proposed and would change something, in the order of ids.

    seen: by how many voters; needs_refresh: whether what needs nobody's consent is due.
    """
    votes = _latest_votes(tally)
    found = [
        Motion(entry, frozenset(votes.get(entry.id, ())), seen(entry.id))
        for entry in proposals
        if entry.id not in membership.decided  # what is proposed anew has an id of its own
        and tally.electorate.voter_of(entry)
        and _changes_anything(entry, membership, needs_refresh=needs_refresh)
    ]
    return sorted(found, key=lambda motion: motion.id)


def own_log(ballots_here: Iterable[Entry], tally: Tally, seat: bytes) -> VotingLog:
    """Read what the holder of a seat has signed for a slot, under whichever key."""
    own = (entry for entry in ballots_here if tally.electorate.voter_of(entry) == seat)
    return VotingLog.of(tally.slot, (entry.body for entry in own))


def has_quorum_of_votes(tally: Tally) -> bool:
    """Whether enough have voted in the round that is open for it to end, agreed or not."""
    votes = tally.votes(open_round(tally))
    return len({*tally.left, *(voter for voters in votes.values() for voter in voters)}) >= tally.electorate.quorum


def _latest_votes(tally: Tally) -> Mapping[Value, Mapping[bytes, bytes]]:
    """Return the votes of the round that is open, or of the one before if nobody has voted in that."""
    number = open_round(tally)
    return tally.votes(number) or tally.votes(number - 1)


def _changes_anything(entry: Entry, membership: Membership, *, needs_refresh: bool) -> bool:
    match entry.body:
        case Proposal(what=ballots.MAKE_VOTER, public=public):
            member = membership.members.get(crypto.raw_id(public))
            return member is not None and member.role == OBSERVER
        case Proposal(what=ballots.MAKE_OBSERVER, public=public):
            return len(membership.charter.seats) > 1 and any(
                public in {seat.public, seat.key} for seat in membership.charter.seats
            )
        case Proposal(what=ballots.SHOW_OUT, public=public):
            return crypto.raw_id(public) in membership.members and len(membership.members) > 1
        case Proposal(what=ballots.REFRESH):
            return needs_refresh
        case Amendment() as rules:
            return Rules(rules.margin, rules.notice, rules.invitations) != membership.charter.rules
    return False
