"""Who belongs to a community: a total, pure function of the set of its entries.

The rule of this version (decision 20 of docs/protocol.md): the founder is the only voter and decides; it lets nodes in
as observers within the invite budget, it may remove anyone, and everyone may remove itself.  A node that goes on under
a new key (`rotate-key`) stays the same member.  Where two entries know nothing of one another, a removal outweighs an
admission.  An author who signs two entries of one seq lets nobody in from that seq on; what it took away, and its own
rotation, stand: a stolen key must not undo that it was replaced.
"""

import hashlib
from bisect import insort
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from mesh.core import codec, crypto
from mesh.core.acts import Acts
from mesh.core.causality import Causality, parents_first
from mesh.core.entries import Admit, Entry, Genesis, Remove, RotateKey
from mesh.core.equivocation import Equivocation, proof_of
from mesh.errors import MalformedError

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


class Membership(Protocol):
    """What the mesh asks of the ledger, whatever rule decides."""

    @property
    def community(self) -> bytes:
        """The community's id."""
        ...

    @property
    def name(self) -> str:
        """The community's name."""
        ...

    @property
    def number(self) -> int:
        """How often something was taken from somebody; it never falls, and epoch keys belong to one number."""
        ...

    @property
    def members(self) -> Mapping[bytes, Member]:
        """Members by raw id."""
        ...

    @property
    def equivocations(self) -> Mapping[bytes, Equivocation]:
        """The proofs against present keys of members, by raw id."""
        ...

    def may_admit(self, public: bytes) -> bool:
        """Whether an admission signed by this key would count."""
        ...

    def may_remove(self, author: bytes, subject: bytes) -> bool:
        """Whether a removal of one key signed by another would count."""
        ...


@dataclass(frozen=True)
class FounderMembership:
    """Membership where the founder decides."""

    community: bytes
    name: str
    number: int
    members: Mapping[bytes, Member]
    equivocations: Mapping[bytes, Equivocation]
    founder: bytes
    invites_left: int
    admitted: Mapping[bytes, tuple[bytes, ...]]  # ids of the admissions that count, by the key they let in

    def may_admit(self, public: bytes) -> bool:
        """Whether this is the founder, still a member, with invitations left, and no proof against its key."""
        raw_id = crypto.raw_id(public)
        heard = raw_id in self.members and raw_id not in self.equivocations
        return public == self.founder and heard and self.invites_left > 0

    def may_remove(self, author: bytes, subject: bytes) -> bool:
        """Whether a member removes itself, or the founder another."""
        names = (crypto.raw_id(author), crypto.raw_id(subject))
        return all(name in self.members for name in names) and author in {subject, self.founder}


def state_hash(membership: FounderMembership) -> bytes:
    """Hash who belongs, so that two nodes can be compared by one line: SHA-256 over the state's deterministic CBOR.

    [community, name, number, [[id, public, static, name, role]...], founder, invites left, [[author, seq, id, id]...]]
    """
    members = sorted(membership.members.values(), key=lambda member: member.raw_id)
    proofs = sorted(membership.equivocations.values(), key=lambda proof: proof.author)
    state: list[codec.Item] = [
        membership.community,
        membership.name,
        membership.number,
        [[one.raw_id, one.public, one.static, one.name, one.role] for one in members],
        membership.founder,
        membership.invites_left,
        [[proof.author, proof.seq, *proof.ids] for proof in proofs],
    ]
    return hashlib.sha256(codec.encode(state)).digest()


def fold(entries: Iterable[Entry]) -> FounderMembership:
    """Fold a ledger's entries, in any order and however often each comes, into who belongs.

    Errors: MalformedError when there is not exactly one genesis; nothing else can go wrong.
    """
    by_id = {entry.id: entry for entry in entries}
    roll = Roll(by_id)
    places: dict[tuple[bytes, int], list[bytes]] = {}
    for entry in parents_first(by_id):
        twins = places.setdefault((entry.author, entry.seq), [])
        roll.add(entry, twins=twins)
        twins.append(entry.id)
    return roll.membership()


class Roll:
    """The entries by what they do to membership; they are added one by one, parents first.

    Each set in here only grows as entries come in, whoever forks: rotations, removals, and the admissions they end.
    That is why the membership number never falls, and why nothing that was taken comes back by itself.  Only
    `_is_heard` can turn an admission down later on.
    """

    def __init__(self, entries: Mapping[bytes, Entry]) -> None:
        """entries: those that were added, by id; whoever adds them keeps it."""
        self._entries = entries
        self._founding: list[tuple[Entry, Genesis]] = []
        self._admissions: dict[bytes, list[tuple[Entry, Admit]]] = {}  # by author, in the order of the feed
        self._acts = Acts()
        self.equivocations: dict[bytes, Equivocation] = {}
        """The proofs against keys, by author."""
        # By first key: admissions, and what came of them.
        self._judged: dict[bytes, tuple[list[bytes], Member | None]] = {}
        self._causality = Causality()
        self._folded: FounderMembership | None = None

    def add(self, entry: Entry, *, twins: Collection[bytes]) -> None:
        """Take an entry that was not added yet.  twins: the other entries so far of its author and seq."""
        body = entry.body
        self._causality.add(entry, marked=isinstance(body, Remove))
        if twins:
            self.equivocations[entry.author] = proof_of(entry, twins, known=self.equivocations.get(entry.author))
            self._folded = None
            self._judged.clear()
        if self._acts.add(entry) and isinstance(body, Genesis | Admit | Remove | RotateKey):
            self._folded = None
            if not isinstance(body, Admit):  # which concerns its subject alone
                self._judged.clear()
            self._note(entry, body)

    def _note(self, entry: Entry, body: Genesis | Admit | Remove | RotateKey) -> None:
        if isinstance(body, Genesis):
            self._founding.append((entry, body))
        elif isinstance(body, Admit) and body.role == OBSERVER:
            admissions = self._admissions.setdefault(entry.author, [])
            insort(admissions, (entry, body), key=lambda one: (one[0].seq, one[0].id))

    def membership(self) -> FounderMembership:
        """Say who belongs.  Errors: MalformedError when there is not exactly one genesis."""
        if self._folded is None:
            self._folded = self._fold()
        return self._folded

    def _fold(self) -> FounderMembership:
        if len(self._founding) != 1:
            raise MalformedError("a ledger has exactly one genesis")
        [(genesis, body)] = self._founding
        founders, lineage = self._acts.keys_from(genesis.author), self._acts.lineage(genesis.author)
        leaving = self._acts.removals_of(founders, founders)
        decided = [
            (entry, admit)
            for key in lineage
            for entry, admit in self._admissions.get(key, [])
            if self._is_heard(entry) and admit.subject.public not in lineage and self._knows_none(entry, leaving)
        ][: body.invite_budget]
        cases: dict[bytes, list[tuple[Entry, Admit]]] = {}
        for entry, admit in decided:
            cases.setdefault(admit.subject.public, []).append((entry, admit))
        admitted = (self._member(root, found, founders) for root, found in sorted(cases.items()))
        first = Member(crypto.raw_id(genesis.author), genesis.author, body.founder.static, body.node_name, VOTER)
        voter = None if leaving else self._under_last_key(first)
        listed = [voter, *admitted, voter]  # the first in the list, and itself whoever else goes on under its key
        members = {member.raw_id: member for member in listed if member}
        return FounderMembership(
            community=genesis.id,
            name=body.name,
            number=self._number(founders),
            members=members,
            equivocations={
                raw_id: self.equivocations[member.public]
                for raw_id, member in members.items()
                if member.public in self.equivocations
            },
            founder=lineage[-1],
            invites_left=body.invite_budget - len(decided),
            admitted={root: tuple(entry.id for entry, _ in found) for root, found in cases.items()},
        )

    def _under_last_key(self, member: Member) -> Member | None:
        """Return the member under the key it uses now; None if that key has been rotated away too, in a circle."""
        *replaced, key = self._acts.lineage(member.public)
        if self._acts.successor(key):
            return None
        last = self._acts.successor(replaced[-1]) if replaced else None
        static = last.static if last else member.static
        return Member(crypto.raw_id(key), key, static, member.name, member.role)

    def _member(self, root: bytes, admissions: list[tuple[Entry, Admit]], founders: set[bytes]) -> Member | None:
        """Say as what a node belongs, if it does; what was said of the same admissions is said again."""
        ids = [entry.id for entry, _ in admissions]
        known, member = self._judged.get(root, ([], None))
        if known != ids:
            member = self._judge(root, admissions, founders)
            self._judged[root] = ids, member
        return member

    def _judge(self, root: bytes, admissions: list[tuple[Entry, Admit]], founders: set[bytes]) -> Member | None:
        """Look at every removal: it must be known to an admission after it."""
        keys = self._acts.keys_from(root)
        removals = self._acts.removals_of(keys, keys | founders)
        standing = [admit for entry, admit in admissions if all(self._knows(entry, removal) for removal in removals)]
        if not standing:
            return None
        static, name = standing[-1].subject.static, standing[-1].node_name
        return self._under_last_key(Member(crypto.raw_id(root), root, static, name, OBSERVER))

    def _is_heard(self, admission: Entry) -> bool:
        """Whether an admission counts: not in dispute, or what its author's rotation was built on."""
        if admission.author in self._acts.rotations:
            return admission.id in self._acts.built_on(admission.author, self._entries)
        return not self._is_disputed(admission)

    def _knows_none(self, entry: Entry, others: list[Entry]) -> bool:
        """Whether the entry's author knew of none of the others."""
        return not any(self._knows(entry, other) for other in others)

    def _number(self, founders: set[bytes]) -> int:
        """Count rotations, and for each admission the members that took it back and the fork that did."""
        count = len({entry.author for entry in self._acts.removals_of(founders, founders)})
        concerned = set(founders)
        for author in founders:
            for entry, admit in self._admissions.get(author, []):
                keys = self._acts.keys_from(admit.subject.public)
                concerned |= keys
                removals = self._acts.removals_of(keys, keys | founders)
                count += len({removal.author for removal in removals if self._knows_none(entry, [removal])})
                count += self._is_disputed(entry)
        return count + sum(len(self._acts.rotations.get(key, [])) for key in concerned)

    def _is_disputed(self, entry: Entry) -> bool:
        proof = self.equivocations.get(entry.author)
        return proof is not None and entry.seq >= proof.seq

    def _knows(self, admission: Entry, removal: Entry) -> bool:
        return self._causality.knows(admission.id, removal.id)
