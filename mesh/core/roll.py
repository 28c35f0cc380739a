"""From entries to who belongs: a total, pure function of their set, kept up as they come in.

A voter lets nodes in as observers, within its budget, and may take its own invitations back; everyone may leave.
Everything else is decided (decisions.py): who votes, and who is shown out.  A node that goes on under a new key
(`rotate-key`) stays the same member.  Where two entries know nothing of one another, a removal outweighs an admission.
An author who signs two entries of one seq lets nobody in from that seq on; what it took away, and its own rotation,
stand: a stolen key must not undo that it was replaced.
"""

from bisect import insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mesh.core import crypto
from mesh.core.acts import Acts, ancestors
from mesh.core.ballots import SHOW_OUT, Amendment, Commit, Proposal, Recovery
from mesh.core.causality import Causality, parents_first
from mesh.core.decisions import Decisions, Epoch
from mesh.core.docket import Docket
from mesh.core.entries import Admit, Entry, Genesis, Remove, RotateKey
from mesh.core.equivocation import Equivocation, proof_of
from mesh.core.membership import OBSERVER, VOTER, Expulsion, Member, Membership, Term
from mesh.core.newcomer import inviting_term, with_newcomer
from mesh.errors import MalformedError


def fold(entries: Iterable[Entry]) -> Membership:
    """Fold a ledger's entries, in any order and however often each comes, into who belongs.

    Errors: MalformedError when there is not exactly one genesis; nothing else can go wrong.
    """
    by_id = {entry.id: entry for entry in entries}
    added: dict[bytes, Entry] = {}
    roll = Roll(added)
    places: dict[tuple[bytes, int], list[bytes]] = {}
    for entry in parents_first(by_id):
        added[entry.id] = entry
        twins = places.setdefault((entry.author, entry.seq), [])
        roll.add(entry, twins=twins)
        twins.append(entry.id)
    return roll.membership()


@dataclass(frozen=True)
class Invitation:
    """An admission that counts, and in whose term it was signed."""

    entry: Entry
    admit: Admit
    term: Term


class Roll:
    """The entries by what they do to membership; they are added one by one, parents first.

    Each set in here only grows as entries come in, whoever forks: rotations, removals, decisions, and the admissions
    they end.  That is why the membership number never falls, and why nothing that was taken comes back by itself.  Only
    `_is_heard` can turn an admission down later on.
    """

    def __init__(self, entries: Mapping[bytes, Entry]) -> None:
        """entries: those that were added, by id, and no others; whoever adds one puts it there first."""
        self._entries = entries
        self._founding: list[tuple[Entry, Genesis]] = []
        self._admissions: dict[bytes, list[tuple[Entry, Admit]]] = {}  # by author, in the order of the feed
        # By key: the lowest id of an entry that lets it in, with the static key and the name given there.
        self._introduced: dict[bytes, tuple[bytes, bytes, str]] = {}
        self._acts = Acts()
        self.equivocations: dict[bytes, Equivocation] = {}
        """The proofs against keys, by author."""
        # By first key: invitations, and what came of them.
        self._judged: dict[bytes, tuple[list[bytes], Member | None, frozenset[bytes]]] = {}
        self._causality = Causality(entries)
        self._decisions = Decisions(entries, self._acts, self._causality)
        self._ancestors: dict[bytes, set[bytes]] = {}
        self._seated: dict[bytes, bool] = {}  # keys of voters, then or now: whether the founder's
        self._docket = Docket(entries, self._causality)
        self._size_then = 0  # how many entries there were when something was decided last
        self._folded: Membership | None = None

    def add(self, entry: Entry, *, twins: Collection[bytes]) -> None:
        """Take an entry that was not added yet.  twins: the other entries so far of its author and seq."""
        body = entry.body
        # Of these it is asked whether another entry knows of them; of all others nobody needs to know that.
        marked = isinstance(body, Remove | RotateKey | Commit | Proposal | Amendment | Recovery)
        self._causality.add(entry, marked=marked)
        if twins:
            self.equivocations[entry.author] = proof_of(entry, twins, known=self.equivocations.get(entry.author))
            self._forget()
        if not self._acts.add(entry):
            return
        if isinstance(body, Recovery | Commit):  # there may be several for one decision
            self._folded = None
        elif isinstance(body, Admit):  # which concerns its subject alone
            before, self._folded = self._folded, None
            if self._admits(entry, body) and before is not None:
                self._folded = self._grown(before, entry, body)
        elif isinstance(body, Genesis | Remove | RotateKey):
            self._forget()
            if isinstance(body, Genesis):
                self._founding.append((entry, body))
        self._docket.add(entry, votes=entry.author in self._seated)
        decided = self._decisions.add(entry)
        if decided:
            self._forget()
            self._size_then = len(self._entries)
        if decided or isinstance(body, RotateKey):
            self._seat_keys()

    def is_voters(self, key: bytes) -> bool:
        """Whether this is, or was, a voter's key."""
        return key in self._seated

    def is_founders(self, key: bytes) -> bool:
        """Whether this is, or was, the founder's key."""
        return self._seated.get(key, False)

    def membership(self) -> Membership:
        """Say who belongs.  Errors: MalformedError when there is not exactly one genesis."""
        if self._folded is None:
            self._folded = self._fold()
        return self._folded

    def epoch(self) -> Epoch:
        """Return what is in force, with the votes on what comes next."""
        return self._decisions.in_force[-1]

    def ballots(self) -> Sequence[Entry]:
        """Return what was signed for the slot that is open, whoever signed it."""
        return self._decisions.ballots(self.epoch().tally.slot.number)

    def attestations(self) -> list[tuple[bytes, Entry]]:
        """Return what voters say of the tree at the last decision, by the keys of their seats."""
        return self._docket.attestations(self.epoch())

    @property
    def since_decision(self) -> int:
        """How many entries have come since something was decided last."""
        return len(self._entries) - self._size_then

    def proposals(self) -> list[Entry]:
        """Return the last proposals under each key that is, or was, a voter's."""
        return self._docket.proposals(self._seated)

    def seen(self, proposal: bytes) -> int:
        """Return of how many voters something is here that knows of a proposal, or is it."""
        return self._docket.seen(proposal, self.epoch())

    def _seat_keys(self) -> None:
        """Note which keys are voters'; none that was one is ever forgotten."""
        self._acts.accepted = self._decisions.recovered()
        for public, since in self._decisions.seats():
            founders = isinstance(self._entries[since].body, Genesis)
            for key in self._acts.keys_from(public):
                self._seated[key] = founders or self._seated.get(key, False)

    def _forget(self) -> None:
        self._folded = None
        self._judged.clear()

    def _admits(self, entry: Entry, body: Admit) -> bool:
        """Note an admission; return whether it is the last of its author's."""
        named = entry.id, body.subject.static, body.node_name
        self._introduced[body.subject.public] = min(named, self._introduced.get(body.subject.public, named))
        if body.role != OBSERVER:
            return False
        admissions = self._admissions.setdefault(entry.author, [])
        insort(admissions, (entry, body), key=lambda one: (one[0].seq, one[0].id))
        return admissions[-1][0] is entry

    def _grown(self, before: Membership, entry: Entry, body: Admit) -> Membership | None:
        """Say who belongs with one more admission, if that can be told without folding."""
        term = inviting_term(before, entry, body, self._acts, self.equivocations)
        return with_newcomer(before, entry, body) if term and self._is_within(entry, term) else None

    def _fold(self) -> Membership:
        if len(self._founding) != 1:
            raise MalformedError("a ledger has exactly one genesis")
        [(genesis, founding)] = self._founding
        chain = self._decisions.in_force
        terms = self._terms(chain)
        expulsions = [_expulsion(*pair, self._entries) for pair in pairwise(chain)]
        shown_out = [one for one in expulsions if one is not None]
        budgets = {term: self._budget(term, chain[-1], founding) for term in terms}
        invitations = {term: self._invitations(term)[: budgets[term]] for term in terms}
        cases: dict[bytes, list[Invitation]] = {}
        for invitation in {one.entry.id: one for found in invitations.values() for one in found}.values():
            cases.setdefault(invitation.admit.subject.public, []).append(invitation)
        judged = {root: self._judge(root, found, shown_out) for root, found in sorted(cases.items())}
        observers = {root: member for root, (member, _) in judged.items()}
        members = {member.raw_id: member for member in observers.values() if member}
        # Of two who go on under one key it is the one whose own that is.
        members |= {crypto.raw_id(root): one for root, one in observers.items() if one and one.public == root}
        seated = self._seat(chain, terms, shown_out, members)
        present = {term.public: term for term in terms if term.until is None and term.public in seated}
        inviters = {
            member.raw_id: inviters
            for member, inviters in judged.values()
            if member and members[member.raw_id] is member
        }
        return Membership(
            community=genesis.id,
            name=founding.name,
            number=self._number(),
            members={member.raw_id: member for member in seated.values()} | members,
            equivocations={
                raw_id: self.equivocations[member.public]
                for raw_id, member in members.items()
                if member.public in self.equivocations
            },
            charter=chain[-1].charter,
            decided=tuple(epoch.charter.decided for epoch in chain),
            rivals=tuple(sorted(chain[-1].next)),
            voters=seated,
            is_stale=self._decisions.is_stale,
            invitations={
                seated[public].public: budgets[term] - len(invitations[term]) for public, term in present.items()
            },
            inviters=inviters,
            admitted={root: tuple(one.entry.id for one in found) for root, found in cases.items()},
            terms=tuple(terms),
            expulsions=tuple(shown_out),
            recovered=self._acts.accepted,
        )

    def _terms(self, chain: list[Epoch]) -> list[Term]:
        """Read from the epochs in force who voted from when till when."""
        terms: dict[tuple[bytes, bytes], Term] = {}
        before: Epoch | None = None
        for epoch in chain:
            here = {(seat.public, seat.since) for seat in epoch.charter.seats}
            for place, term in terms.items():
                if place not in here and term.until is None:
                    terms[place] = replace(term, until=epoch.charter.decided)
            commits = before.tally.certificates(epoch.charter.decided) if before is not None else frozenset[bytes]()
            for public, since in sorted(here - terms.keys()):
                keys = frozenset(self._acts.keys_from(public))
                terms[public, since] = Term(public, keys, since, commits)
            before = epoch
        return [*terms.values()]

    def _budget(self, term: Term, last: Epoch, founding: Genesis) -> int:
        return last.charter.rules.invitations if term.commits else founding.invite_budget

    def _invitations(self, term: Term) -> list[Invitation]:
        """Return the admissions of a term, in their order, whatever became of them."""
        own = {*term.keys}
        leaving = [one for one in self._acts.removals_of(own, own) if not self._causality.knows(term.since, one.id)]
        return [
            Invitation(entry, admit, term)
            for key in self._acts.lineage(term.public)
            for entry, admit in self._admissions.get(key, [])
            if self._is_heard(entry)
            and not any(self._causality.knows(entry.id, one.id) for one in leaving)
            and self._is_within(entry, term)
        ]

    def _is_within(self, entry: Entry, term: Term) -> bool:
        """Whether an admission was signed by who knew that it votes, and before what ended that."""
        begun = not term.commits or any(self._causality.knows(entry.id, commit) for commit in term.commits)
        return begun and (term.until is None or entry.id in self._before(term.until))

    def _before(self, entry_id: bytes) -> set[bytes]:
        """Return all that an entry comes after; asked of the few entries that ended somebody's vote."""
        if entry_id not in self._ancestors:
            self._ancestors[entry_id] = ancestors(entry_id, self._entries)
        return self._ancestors[entry_id]

    def _seat(
        self, chain: list[Epoch], terms: list[Term], expulsions: list[Expulsion], members: dict[bytes, Member]
    ) -> dict[bytes, Member]:
        """Add to the members all that vote or have voted; return those that do, by the key of their seat."""
        seated: dict[bytes, Member] = {}
        numbers = {epoch.charter.decided: epoch.charter.number for epoch in chain}
        for term in terms:
            later = [one for one in expulsions if numbers[one.proposal] > numbers[term.since]]
            member = self._holder(term, later, members)
            if member is not None:
                members[member.raw_id] = member
                if term.until is None:
                    seated[term.public] = member
        for member in seated.values():  # itself, whoever else goes on under its key
            members[member.raw_id] = member
        return seated

    def _holder(self, term: Term, expulsions: list[Expulsion], members: Mapping[bytes, Member]) -> Member | None:
        """Say as what somebody belongs because of a seat; None if it left or was shown out after that."""
        keys = {*term.keys}
        leaving = [one for one in self._acts.removals_of(keys, keys) if not self._causality.knows(term.since, one.id)]
        if leaving or any(one.public in keys for one in expulsions):
            return None
        role = VOTER if term.until is None else OBSERVER
        known = members.get(crypto.raw_id(self._acts.lineage(term.public)[-1]))
        if known is not None:
            return replace(known, role=role)
        static, name = self._introduction(term.public)
        member = Member(crypto.raw_id(term.public), term.public, static, name, role)
        return self._under_last_key(member) if static else None

    def _introduction(self, public: bytes) -> tuple[bytes, str]:
        """Return the static key and the name that somebody was brought in with."""
        [(genesis, founding)] = self._founding
        if public == genesis.author:
            return founding.founder.static, founding.node_name
        named = self._introduced.get(public)
        return named[1:] if named is not None else (b"", "")

    def _under_last_key(self, member: Member) -> Member | None:
        """Return the member under the key it uses now; None if that key has been rotated away too, in a circle."""
        *replaced, key = self._acts.lineage(member.public)
        if self._acts.successor(key):
            return None
        last = self._acts.successor(replaced[-1]) if replaced else None
        static = last.new.static if last else member.static
        return Member(crypto.raw_id(key), key, static, member.name, member.role)

    def _judge(
        self, root: bytes, invitations: list[Invitation], expulsions: list[Expulsion]
    ) -> tuple[Member | None, frozenset[bytes]]:
        """Say as what a node belongs, if it does, and who alone can take that back.

        What was said of the same invitations is said again.
        """
        ids = [one.entry.id for one in invitations]
        known, member, inviters = self._judged.get(root, ([], None, frozenset[bytes]()))
        if known != ids:
            standing = self._standing(root, invitations, expulsions)
            member, inviters = None, self._inviters({one.term for one in standing})
            for one in standing[-1:]:
                static, name = one.admit.subject.static, one.admit.node_name
                member = self._under_last_key(Member(crypto.raw_id(root), root, static, name, OBSERVER))
            self._judged[root] = ids, member, inviters
        return member, inviters

    def _standing(self, root: bytes, invitations: list[Invitation], expulsions: list[Expulsion]) -> list[Invitation]:
        """Return the invitations that know of every removal that concerns them."""
        keys = self._acts.keys_from(root)
        own = self._acts.removals_of(keys, keys)
        decided = [one for one in expulsions if one.public in keys]
        return [one for one in invitations if self._stands(one, keys, own, decided)]

    def _stands(self, one: Invitation, keys: set[bytes], own: list[Entry], decided: list[Expulsion]) -> bool:
        taken_back = [
            removal
            for removal in self._acts.removals_of(keys, {*one.term.keys})
            if one.term.until is None or self._causality.knows(one.term.until, removal.id)
        ]
        knows = self._causality.knows
        return all(knows(one.entry.id, removal.id) for removal in [*own, *taken_back]) and all(
            any(knows(one.entry.id, commit) for commit in expulsion.commits) for expulsion in decided
        )

    def _inviters(self, terms: set[Term]) -> frozenset[bytes]:
        """Return the present key of who alone let somebody in, while it votes."""
        if len(terms) != 1:
            return frozenset()
        [term] = terms
        return frozenset({self._acts.lineage(term.public)[-1]}) if term.until is None else frozenset()

    def _is_heard(self, admission: Entry) -> bool:
        """Whether an admission counts: not in dispute, or what its author's rotation was built on."""
        rotation = self._acts.successor(admission.author)
        if rotation is not None:
            return admission.id in self._acts.built_on(rotation, self._entries)
        return not self._is_disputed(admission)

    def _number(self) -> int:
        """Count decisions, rotations, and for each admission and seat those who took it back, and the fork that did."""
        count = self._decisions.count
        seats = self._decisions.seats()
        voters = {key for public, _ in seats for key in self._acts.keys_from(public)}
        concerned = set(voters)
        for public, since in seats:
            own = self._acts.keys_from(public)
            count += self._takers(since, self._acts.removals_of(own, own))
        for author in voters:
            for entry, admit in self._admissions.get(author, []):
                keys = self._acts.keys_from(admit.subject.public)
                concerned |= keys
                count += self._takers(entry.id, self._acts.removals_of(keys, keys | voters))
                count += self._is_disputed(entry)
        return count + sum(len(self._acts.rotations(key)) for key in concerned)

    def _takers(self, entry_id: bytes, removals: list[Entry]) -> int:
        return len({one.author for one in removals if not self._causality.knows(entry_id, one.id)})

    def _is_disputed(self, entry: Entry) -> bool:
        proof = self.equivocations.get(entry.author)
        return proof is not None and entry.seq >= proof.seq


def _expulsion(before: Epoch, after: Epoch, entries: Mapping[bytes, Entry]) -> Expulsion | None:
    body = entries[after.charter.decided].body
    if isinstance(body, Proposal) and body.what == SHOW_OUT:
        return Expulsion(body.public, after.charter.decided, before.tally.certificates(after.charter.decided))
    return None
