"""Who belongs to a community, who votes, and whose word counts there: what a ledger's entries fold to (roll.py)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mesh.core import codec, crypto
from mesh.core.acts import Rotation
from mesh.core.charter import Charter
from mesh.core.equivocation import Equivocation

OBSERVER: Final = "observer"
VOTER: Final = "voter"
INVITE_BUDGET: Final = 256  # admissions the founder may sign, returning members included


@dataclass(frozen=True)
class Member:
    """A node that belongs to the community, under the key it uses now."""

    raw_id: bytes
    public: bytes
    static: bytes
    name: str
    role: str

    @property
    def node_id(self) -> str:
        """The node's id as people see it."""
        return crypto.node_id(self.raw_id)


@dataclass(frozen=True)
class Term:
    """A time in which somebody votes: between two decisions, whatever the order in which entries come.

    keys: all the holder has used, or was made to seem to use; since: the entry that gave the seat (the genesis, or what
    was decided); commits: those who know of one of these may act (none: everybody may); until: the entry that ended it.
    """

    public: bytes
    keys: frozenset[bytes]
    since: bytes
    commits: frozenset[bytes]
    until: bytes | None = None


@dataclass(frozen=True)
class Expulsion:
    """A decision to show somebody out: the key it names, the proposal, the commits that stand for it."""

    public: bytes
    proposal: bytes
    commits: frozenset[bytes]


@dataclass(frozen=True)
class Membership:
    """A community.

    number: how often something was taken from somebody; it never falls, and epoch keys belong to one number.
    members: by raw id.  equivocations: the proofs against present keys of members, by raw id.
    charter: what is in force; decided: the ids of what led there, from the genesis on.
    rivals: where the community is forked, the ids of what was decided in one place.
    voters: the members who vote, by the key of their seat; of the charter's seats the others are of who has left.
    is_stale: whether the charter lacks what needs nobody's consent, a voter's new key for instance.
    invitations: how many each key that may invite has left.
    """

    community: bytes
    name: str
    number: int
    members: Mapping[bytes, Member]
    equivocations: Mapping[bytes, Equivocation]
    charter: Charter
    rivals: tuple[bytes, ...]
    decided: tuple[bytes, ...]
    voters: Mapping[bytes, Member]
    is_stale: bool
    invitations: Mapping[bytes, int]
    inviters: Mapping[bytes, frozenset[bytes]]
    """By raw id of who is here by nothing but admissions: the present keys of those who can take all of them back."""
    admitted: Mapping[bytes, tuple[bytes, ...]]
    """Ids of the admissions that count, by the key they let in."""
    terms: tuple[Term, ...]
    expulsions: tuple[Expulsion, ...]
    recovered: Mapping[bytes, Sequence[Rotation]]
    """What papers signed, by the key they replace."""

    def votes(self, public: bytes) -> bool:
        """Whether this is the key that a voter uses now."""
        return self.seat_of(public) is not None

    def seat_of(self, public: bytes) -> bytes | None:
        """Return the key of the seat whose holder uses this key now."""
        return next((seat for seat, member in self.voters.items() if member.public == public), None)

    def may_admit(self, public: bytes) -> bool:
        """Whether this is a voter's key, with invitations left, and no proof against it."""
        return self.invitations.get(public, 0) > 0 and crypto.raw_id(public) not in self.equivocations

    def may_remove(self, author: bytes, subject: bytes) -> bool:
        """Whether a removal of one key that the other signs is enough: its own, or that of who alone let it in."""
        names = (crypto.raw_id(author), crypto.raw_id(subject))
        return all(name in self.members for name in names) and (
            author == subject or author in self.inviters.get(crypto.raw_id(subject), ())
        )


def state_hash(membership: Membership) -> bytes:
    """Hash who belongs, so that two nodes can be compared by one line: SHA-256 over the state's deterministic CBOR.

    [community, name, number, [[id, public, static, name, role]...], [[author, seq, id, id]...], [key, invitations...],
    epoch, what was decided last, [[public, key, since, recovery]...], margin, notice, invitations, [rival...]]
    """
    members = sorted(membership.members.values(), key=lambda member: member.raw_id)
    proofs = sorted(membership.equivocations.values(), key=lambda proof: proof.author)
    charter = membership.charter
    state: list[codec.Item] = [
        membership.community,
        membership.name,
        membership.number,
        [[one.raw_id, one.public, one.static, one.name, one.role] for one in members],
        [[proof.author, proof.seq, *proof.ids] for proof in proofs],
        [item for pair in sorted(membership.invitations.items()) for item in pair],
        charter.number,
        charter.decided,
        [[seat.public, seat.key, seat.since, seat.recovery] for seat in charter.seats],
        charter.rules.margin,
        charter.rules.notice,
        charter.rules.invitations,
        [*membership.rivals],
    ]
    return hashlib.sha256(codec.encode(state)).digest()
