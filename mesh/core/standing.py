"""Whose word counts, entry by entry: what the record's other kinds are folded by.

A pure, total function of the set of entries and of the membership it folds to, in plain words in docs/governance.md:

1. Nobody's entries count who was never let in.
2. From the first seq on for which a key signed two entries, nothing of it counts; of a key that was rotated away, what
   the rotation was built on does, whatever is signed with that key afterwards.
3. Of somebody who was removed, or left, that counts which every removal knows of: who backdates an entry gains nothing.
   Somebody let in again also counts from there on.  The removal that was decided on is the proposal.
4. A voter's say has what was signed in its term: by who knew of the decision that gave it, and known to what ended it.
"""

from collections.abc import Iterable, Mapping

from mesh.core.acts import Acts
from mesh.core.attestation import Attestation
from mesh.core.ballots import Amendment, Commit, Lock, Proposal, Recovery, Vote
from mesh.core.causality import Causality, parents_first
from mesh.core.community_fork import Fork
from mesh.core.contributions import Contribution
from mesh.core.entries import Admit, Entry, Genesis, PublishModel, Remove, RetireModel, RotateKey
from mesh.core.equivocation import equivocations
from mesh.core.membership import Membership, Term


class Standing:
    """Says of each entry of a set whether it counts, and of each key whose it is.

    A **person** is the key by which somebody was let in, or founded the community; rotations give it further keys, and
    one key can be that of several.
    """

    def __init__(self, entries: Iterable[Entry], membership: Membership) -> None:
        """Take a ledger's entries, in any order and however often each comes, and the membership they fold to."""
        by_id = {entry.id: entry for entry in entries}  # not kept: what is, is small
        self._membership = membership
        self._equivocations = equivocations(by_id.values())
        self._acts = _acts_in(by_id)
        self._acts.accepted = membership.recovered
        genesis = by_id[membership.community]
        admits = {entry.id: entry.body for entry in by_id.values() if isinstance(entry.body, Admit)}
        names = {person: admits[ids[-1]].node_name for person, ids in membership.admitted.items()}
        names[genesis.author] = genesis.body.node_name if isinstance(genesis.body, Genesis) else ""
        voters = {public: member.name for public, member in membership.voters.items()}
        names |= {term.public: voters.get(term.public, "") for term in membership.terms if term.public not in names}
        rotations = {entry.author: self._acts.successor(entry.author) for entry in by_id.values()}
        self._chains = {
            key: self._acts.built_on(rotation, by_id) for key, rotation in rotations.items() if rotation is not None
        }
        self._keys = {person: self._acts.keys_from(person) for person in names}
        self._people: dict[bytes, list[bytes]] = {}  # by key
        for person in sorted(names):
            for key in self._keys[person]:
                self._people.setdefault(key, []).append(person)
        self._names = {key: names.get(key) or names[people[-1]] for key, people in self._people.items()}
        self._names |= dict.fromkeys(self._keys[genesis.author], names[genesis.author])
        self._removed = {person: self._removals_of(person, by_id) for person in names}
        self._causality = self._compare(by_id)

    def name_of(self, key: bytes) -> str:
        """Return what somebody was called who was let in under this key, or went on under it; "" where nobody was."""
        return self._names.get(key, "")

    def people_of(self, key: bytes) -> tuple[bytes, ...]:
        """Return the people whose key it is, or was, the one first whom others take for its owner."""
        people = sorted(self._people.get(key, ()), reverse=True)  # the last of them gives the key its name
        return tuple(sorted(people, key=lambda person: person != key))

    def keys_from(self, key: bytes) -> set[bytes]:
        """Return a key and all that any of its rotations, and theirs, go on under."""
        return self._acts.keys_from(key)

    def goes_on_from(self, later: bytes, earlier: bytes) -> bool:
        """Whether a key is another one, or what that was rotated to; never the other way round.

        Anybody can rotate to somebody else's key, but nobody can make that key rotate to their own.
        """
        return later in self.keys_from(earlier)

    def votes(self, key: bytes) -> bool:
        """Whether this is the key that a voter uses now."""
        return self._membership.votes(key)

    def is_voters(self, entry: Entry) -> bool:
        """Whether a publication or retirement of the set was signed by somebody who voted then."""
        return any(self._is_within(entry, term) for term in self._membership.terms if entry.author in term.keys)

    def counts(self, entry: Entry) -> bool:
        """Whether an entry of the set has the say that its author claims; one of an unknown kind has none.

        A ballot has it if its author votes, or did, whatever came of it.
        """
        match entry.body:
            case Genesis():
                return True
            case Admit(subject=subject):
                return entry.id in self._membership.admitted.get(subject.public, ())
            case Remove(public=public):
                return any(entry.id in self._removed[person] for person in self._people.get(public, ()))
            case RotateKey(old=old):
                return old in self._people and entry.id in {rotation.id for rotation in self._acts.rotations(old)}
            case PublishModel() | RetireModel() | Contribution():
                return self._is_heard(entry) and any(
                    self._stands(entry, person) for person in self._people.get(entry.author, ())
                )
        return self._is_entitled(entry)

    def knows(self, publication: Entry, retirement: Entry) -> bool:
        """Whether a publication of the set comes causally after a retirement of the set."""
        return self._causality.knows(publication.id, retirement.id)

    def _is_entitled(self, entry: Entry) -> bool:
        """Whether the author of a ballot, or of what is said of the tree, votes, or did; and a fork's was let in."""
        if isinstance(entry.body, Proposal | Amendment | Recovery | Vote | Lock | Commit | Attestation):
            return any(entry.author in term.keys for term in self._membership.terms)
        return isinstance(entry.body, Fork) and entry.author in self._people

    def _removals_of(self, person: bytes, by_id: Mapping[bytes, Entry]) -> set[bytes]:
        """Return what ended somebody's membership: own words, an inviter's, and proposals that were decided on."""
        keys, membership = self._keys[person], self._membership
        entitled = set(keys)
        if not any(term.public in keys for term in membership.terms):
            inviters = {by_id[one].author for one in membership.admitted.get(person, ())}
            entitled |= {key for term in membership.terms if not term.keys.isdisjoint(inviters) for key in term.keys}
        signed = {entry.id for entry in self._acts.removals_of(keys, entitled)}
        return signed | {one.proposal for one in membership.expulsions if one.public in keys}

    def _compare(self, by_id: Mapping[bytes, Entry]) -> Causality:
        """Learn what entries know of those few that will be asked about."""
        of = set[bytes]()
        said: dict[bytes, set[bytes]] = {}  # by person
        terms = self._membership.terms
        former = {key for term in terms if term.until for key in term.keys}
        for entry in by_id.values():
            if isinstance(entry.body, PublishModel | RetireModel | Contribution):
                if isinstance(entry.body, RetireModel) or entry.author in former:
                    of.add(entry.id)
                for person in self._people.get(entry.author, ()):
                    said.setdefault(person, set()).add(entry.id)
        for person, ids in said.items():
            if removals := self._removed[person]:
                of |= ids | removals | {*self._membership.admitted.get(person, ())}
        if said:
            of |= {term.since for term in terms if term.commits}
        causality = Causality(by_id)
        if of:
            for entry in parents_first(by_id):
                causality.add(entry, marked=entry.id in of)
        return causality

    def _is_within(self, entry: Entry, term: Term) -> bool:
        begun = not term.commits or self._causality.knows(entry.id, term.since)
        return begun and (term.until is None or self._causality.knows(term.until, entry.id))

    def _is_heard(self, entry: Entry) -> bool:
        chain = self._chains.get(entry.author)
        if chain is not None:
            return entry.id in chain
        proof = self._equivocations.get(entry.author)
        return proof is None or entry.seq < proof.seq

    def _stands(self, entry: Entry, person: bytes) -> bool:
        """Whether somebody belonged when signing this, as far as every removal and some admission can tell."""
        knows = self._causality.knows
        removals = self._removed[person]
        before = [removal for removal in removals if knows(removal, entry.id)]
        if len(before) == len(removals):
            return True
        after = removals - set(before)
        return any(
            knows(entry.id, admission) and all(knows(admission, removal) for removal in after)
            for admission in self._membership.admitted.get(person, ())
        )


def _acts_in(by_id: Mapping[bytes, Entry]) -> Acts:
    """Read removals and rotations; only feeds in which keys were rotated need be gone through in their order."""
    acts = Acts()
    rotating = {entry.author for entry in by_id.values() if isinstance(entry.body, RotateKey)}
    feeds = [entry for entry in by_id.values() if entry.author in rotating]
    for entry in sorted(feeds, key=lambda entry: (entry.author, entry.seq, entry.id)):
        acts.add(entry)
    for entry in by_id.values():
        if entry.author not in rotating and isinstance(entry.body, Remove):
            acts.add(entry)
    return acts
