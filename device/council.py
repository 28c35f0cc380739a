"""What the owner has to do with the community's decisions: looking, proposing, answering, and the paper key."""

from collections.abc import Mapping, Sequence
from typing import Final

from device.api_of_council import Begun, Council, Fixed, Motion, Moved, Paper, Proposed, Seat
from device.errors import AmbiguousNodeError, BadRequestError
from device.record.reading import Reading, Readings
from device.wording import deciding
from mesh.checkpoints import Checkpoints
from mesh.checkpoints import Fixed as FixedInMesh
from mesh.community_fork import CommunityFork
from mesh.core import crypto
from mesh.core.agenda import Motion as Agendum
from mesh.core.ballots import MAX_INVITATIONS, MAX_VOTERS, Amendment
from mesh.core.membership import Membership
from mesh.council import Agenda
from mesh.council import Council as MeshCouncil
from mesh.errors import UnknownProposalError

MIN_PREFIX: Final = 4


class CouncilRoom:
    """Shows the mesh's council in words, and hands on what the owner says there."""

    def __init__(
        self,
        council: MeshCouncil,
        checkpoints: Checkpoints,
        fork: CommunityFork,
        readings: Readings,
        own_id: str,
    ) -> None:
        self._council = council
        self._checkpoints = checkpoints
        self._fork = fork
        self._readings = readings
        self._own_id = own_id

    async def shown(self) -> Council:
        """Show who decides, by which rules, and on what.  Raises NoCommunityError."""
        fixed, reading = await self._checkpoints.latest(), await self._readings.now()
        agenda = self._council.agenda()
        membership = agenda.membership
        charter = membership.charter
        names = {seat.public: self._name(membership, seat.public, reading) for seat in charter.seats}
        left = agenda.left | {seat.public for seat in charter.seats if seat.public not in membership.voters}
        return Council(
            community=membership.name,
            rule=deciding(len(charter.seats), charter.quorum),
            seats=tuple(
                Seat(
                    node_id=(node_id := self._node_id(membership, seat.public)),
                    name=names[seat.public],
                    this_node=node_id == self._own_id,
                    left=seat.public in left,
                    paper=seat.recovery is not None,
                )
                for seat in charter.seats
            ),
            quorum=charter.quorum,
            margin=charter.rules.margin,
            notice=charter.rules.notice,
            invitations=charter.rules.invitations,
            invitations_left=self._invitations_left(membership),
            decided=charter.number,
            fixed=_fixed(fixed, names),
            votes=agenda.is_voter,
            forked=tuple(rival.hex() for rival in membership.rivals),
            motions=tuple(_motion(one, agenda, names, left, reading) for one in agenda.motions),
            begun=tuple(
                Begun(id=one.id.hex(), by=reading.standing.name_of(one.by), members=one.members)
                for one in self._fork.offered()
            ),
        )

    def propose(self, what: str, node_id: str, reason: str) -> Proposed:
        """Propose something about a member, by its whole id.  Raises MeshError."""
        entry = self._council.propose(what, crypto.parse_node_id(node_id), reason)
        return self._proposed(entry.id)

    def amend(self, changes: dict[str, int], reason: str) -> Proposed:
        """Propose other rules; what is not named stays.  Raises BadRequestError, MeshError."""
        rules = self._council.agenda().membership.charter.rules
        margin, notice = changes.get("margin", rules.margin), changes.get("notice", rules.notice)
        invitations = changes.get("invitations", rules.invitations)
        if not (max(margin, notice) <= MAX_VOTERS and invitations <= MAX_INVITATIONS):
            raise BadRequestError(f"margin and notice: up to {MAX_VOTERS}; invitations: up to {MAX_INVITATIONS}")
        if Amendment(margin, notice, invitations, "") == Amendment(rules.margin, rules.notice, rules.invitations, ""):
            error = BadRequestError("these are the rules already")
            error.hint = "say what else should be: --margin, --notice or --invitations"
            raise error
        return self._proposed(self._council.amend(Amendment(margin, notice, invitations, reason)).id)

    async def answer(self, prefix: str, *, agrees: bool) -> Council:
        """Say yes or no to a proposal, by the beginning of its id.  Raises UnknownProposalError, MeshError."""
        proposal = _one_of([one.id for one in self._council.agenda().motions], prefix)
        self._council.answer(proposal, agrees=agrees)
        return await self.shown()

    def make_paper(self) -> Paper:
        """Make a recovery key and show its words, once.  Raises MeshError."""
        return Paper(words=self._council.make_paper())

    async def recover(self, words: str) -> Council:
        """Take over the seat whose paper this is.  Raises MeshError."""
        self._council.recover(words)
        return await self.shown()

    async def fork(self, without: Sequence[str]) -> Moved:
        """Begin the community anew without some members, by their whole ids.  Raises MeshError."""
        return Moved(kept=str(await self._fork.begin([crypto.parse_node_id(one) for one in without])))

    async def choose(self, prefix: str) -> Moved:
        """Go along with what a member began, by the beginning of its id.  Raises MeshError."""
        return Moved(kept=str(await self._fork.choose(_one_of([one.id for one in self._fork.offered()], prefix))))

    def _proposed(self, proposal: bytes) -> Proposed:
        return Proposed(id=proposal.hex(), decided=proposal in self._council.agenda().membership.decided)

    def _invitations_left(self, membership: Membership) -> int:
        own = membership.members.get(crypto.parse_node_id(self._own_id))
        return membership.invitations.get(own.public, 0) if own is not None else 0

    def _node_id(self, membership: Membership, seat: bytes) -> str:
        holder = membership.voters.get(seat)
        return holder.node_id if holder is not None else crypto.node_id(crypto.raw_id(seat))

    def _name(self, membership: Membership, seat: bytes, reading: Reading) -> str:
        holder = membership.voters.get(seat)
        return holder.name if holder is not None else reading.standing.name_of(seat)


def _one_of(ids: Sequence[bytes], prefix: str) -> bytes:
    """Return the one id that begins so.  Raises UnknownProposalError, AmbiguousNodeError."""
    found = [one for one in ids if one.hex().startswith(prefix.lower())]
    if len(prefix) < MIN_PREFIX or not found:
        raise UnknownProposalError(f"nothing that can be decided on begins with {prefix[:64]!r}")
    if len(found) > 1:
        raise AmbiguousNodeError(f"{len(found)} ids begin with {prefix!r}")
    return found[0]


def _fixed(found: FixedInMesh, names: Mapping[bytes, str]) -> Fixed:
    return Fixed(
        entries=found.checkpoint.size,
        root=found.checkpoint.root.hex(),
        signed=tuple(name for seat, name in names.items() if seat in found.signed),
        disputed=tuple(name for seat, name in names.items() if seat in found.disputed),
    )


def _motion(
    one: Agendum, agenda: Agenda, names: dict[bytes, str], left: frozenset[bytes] | set[bytes], reading: Reading
) -> Motion:
    answer = agenda.answers.get(one.id)
    return Motion(
        id=one.id.hex(),
        says=reading.scribe.line(0, one.entry).says,
        agreed=tuple(names[seat] for seat in names if seat in one.agreed),
        waiting=tuple(names[seat] for seat in names if seat not in one.agreed and seat not in left),
        seen=one.seen,
        answer="" if answer is None else "yes" if answer else "no",
    )
