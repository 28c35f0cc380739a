"""Who belongs to a community: a total, pure function of the set of its entries.

The rule of this version (decision 20 of docs/protocol.md): the founder is the only voter and decides; it lets nodes in
as observers within the invite budget, it may remove anyone, and everyone may remove itself.  A node that goes on under
a new key (`rotate-key`) stays the same member.  Where two entries know nothing of one another, a removal outweighs an
admission.  An author who signs two entries of one seq is not heard from that seq on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Protocol

from mesh.core import crypto
from mesh.core.entries import Admit, Entry, Genesis, Remove, RotateKey
from mesh.core.statement import IdentityStatement
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
        """How many removals and rotations count; epoch keys belong to one number."""
        ...

    @property
    def members(self) -> Mapping[bytes, Member]:
        """Members by raw id."""
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
    founder: bytes
    invites_left: int

    def may_admit(self, public: bytes) -> bool:
        """Whether this is the founder, still a member, with invitations left."""
        return public == self.founder and crypto.raw_id(public) in self.members and self.invites_left > 0

    def may_remove(self, author: bytes, subject: bytes) -> bool:
        """Whether a member removes itself, or the founder another."""
        names = (crypto.raw_id(author), crypto.raw_id(subject))
        return all(name in self.members for name in names) and author in {subject, self.founder}


def fold(entries: Iterable[Entry]) -> FounderMembership:
    """Fold a ledger's entries, in any order and however often each comes, into who belongs.

    Errors: MalformedError when there is not exactly one genesis; nothing else can go wrong.
    """
    by_id = {entry.id: entry for entry in entries}
    founding = [(entry, entry.body) for entry in by_id.values() if isinstance(entry.body, Genesis)]
    if len(founding) != 1:
        raise MalformedError("a ledger has exactly one genesis")
    [(genesis, body)] = founding
    live = _without_forks(by_id.values(), genesis)
    rotations = _rotations(live, genesis.author)
    live = [entry for entry in live if entry.author not in rotations or entry.seq <= rotations[entry.author].seq]
    cases = _gather(live, genesis.author, body, rotations)
    founder = cases[genesis.author]
    members = {member.raw_id: member for case in cases.values() if (member := case.member(by_id, rotations))}
    return FounderMembership(
        community=genesis.id,
        name=body.name,
        number=sum(case.changes(by_id) for case in cases.values()),
        members=members,
        founder=founder.keys[-1],
        invites_left=body.invite_budget - sum(len(case.admissions) for case in cases.values()),
    )


@dataclass(frozen=True)
class _Rotation:
    """The entry that ends a key's feed, and who goes on."""

    seq: int
    new: IdentityStatement


@dataclass
class _Case:
    """What counts about one node: its keys in the order it used them, and what was decided about it."""

    keys: list[bytes]
    genesis: Genesis | None = None
    admissions: list[tuple[Entry, Admit]] = field(default_factory=list)
    removals: list[Entry] = field(default_factory=list)

    def changes(self, by_id: Mapping[bytes, Entry]) -> int:
        """Count the removals and rotations that took the epoch key away from someone who had it."""
        if self.genesis is not None:
            return len(self.removals) + len(self.keys) - 1
        hits = (any(not _precedes(r, a, by_id) for a, _ in self.admissions) for r in self.removals)
        return sum(hits) + len(self.keys) - 1

    def member(self, by_id: Mapping[bytes, Entry], rotations: Mapping[bytes, _Rotation]) -> Member | None:
        """Say as what the node belongs, if it does: every removal must be known to an admission after it."""
        key = self.keys[-1]
        if self.genesis is not None:
            if self.removals:
                return None
            static, name, role = self.genesis.founder.static, self.genesis.node_name, VOTER
        else:
            standing = [a for e, a in self.admissions if all(_precedes(r, e, by_id) for r in self.removals)]
            if not standing:
                return None
            static, name, role = standing[-1].subject.static, standing[-1].node_name, OBSERVER
        if len(self.keys) > 1:
            static = rotations[self.keys[-2]].new.static
        return Member(crypto.raw_id(key), key, static, name, role)


def _without_forks(entries: Iterable[Entry], genesis: Entry) -> list[Entry]:
    """Drop what an author signed at and after the first seq with two entries; order by feed."""
    ordered = sorted(entries, key=lambda entry: (entry.author, entry.seq, entry.id))
    forked_at: dict[bytes, int] = {}
    for one, two in pairwise(ordered):
        if (one.author, one.seq) == (two.author, two.seq):
            forked_at.setdefault(one.author, one.seq)
    return [e for e in ordered if e is genesis or e.author not in forked_at or e.seq < forked_at[e.author]]


def _rotations(live: list[Entry], founder: bytes) -> dict[bytes, _Rotation]:
    """Pick for each key the one entry that replaces it; a new key must belong to nobody else."""
    first: dict[bytes, tuple[Entry, RotateKey]] = {}
    taken = {founder}
    for entry in live:
        if isinstance(entry.body, Admit):
            taken.add(entry.body.subject.public)
        elif isinstance(entry.body, RotateKey) and entry.author == entry.body.old:
            first.setdefault(entry.author, (entry, entry.body))
    chosen = {}
    for entry, body in sorted(first.values(), key=lambda pair: pair[0].id):
        if body.new.public not in taken:
            taken.add(body.new.public)
            chosen[body.old] = _Rotation(entry.seq, body.new)
    return chosen


def _gather(
    live: list[Entry], founding: bytes, genesis: Genesis, rotations: Mapping[bytes, _Rotation]
) -> dict[bytes, _Case]:
    """Sort what counts by the node it is about; a node is named by the key it was admitted with."""
    roots: dict[bytes, bytes] = {}
    cases: dict[bytes, _Case] = {}

    def case_of(key: bytes) -> _Case:
        if key not in roots:
            keys = _lineage(key, rotations)
            roots.update(dict.fromkeys(keys, key))
            cases[key] = _Case(keys)
        return cases[roots[key]]

    founder = case_of(founding)
    founder.genesis = genesis
    feeds: dict[bytes, list[Entry]] = {}
    for entry in live:
        feeds.setdefault(entry.author, []).append(entry)
    decided = _decided([entry for key in founder.keys for entry in feeds.get(key, [])], set(founder.keys))
    invited = 0
    for entry in decided:
        if isinstance(entry.body, Admit) and entry.body.role == OBSERVER and invited < genesis.invite_budget:
            case = case_of(entry.body.subject.public)
            if case is not founder:
                invited += 1
                case.admissions.append((entry, entry.body))
    counted = {entry.id for entry in decided}
    for entry in live:
        if isinstance(entry.body, Remove):
            root = roots.get(entry.body.public)
            own = root is not None and roots.get(entry.author) == root
            if root is not None and (own or (entry.id in counted and root != founding)):
                cases[root].removals.append(entry)
    return cases


def _decided(feed: list[Entry], keys: set[bytes]) -> list[Entry]:
    """Return the founder's entries up to and with the one by which it leaves."""
    for place, entry in enumerate(feed):
        if isinstance(entry.body, Remove) and entry.body.public in keys:
            return feed[: place + 1]
    return feed


def _lineage(key: bytes, rotations: Mapping[bytes, _Rotation]) -> list[bytes]:
    """Return a key and those that replaced it; a new key is taken once, so this ends."""
    keys = [key]
    while keys[-1] in rotations:
        keys.append(rotations[keys[-1]].new.public)
    return keys


def _precedes(early: Entry, late: Entry, by_id: Mapping[bytes, Entry]) -> bool:
    """Whether the later entry's author knew of the earlier one."""
    seen, stack = set[bytes](), [late]
    while stack:
        for parent in stack.pop().parents:
            if parent == early.id:
                return True
            if parent not in seen and parent in by_id:
                seen.add(parent)
                stack.append(by_id[parent])
    return False
