"""Whose word counts, entry by entry: what the record's other kinds are folded by.

A pure, total function of the set of entries and of the membership it folds to, in plain words in docs/governance.md:

1. Nobody's entries count who was never let in.
2. From the first seq on for which a key signed two entries, nothing of it counts; of a key that was rotated away, what
   the rotation was built on does, whatever is signed with that key afterwards.
3. Of somebody who was removed, or left, that counts which every removal knows of: who backdates an entry gains nothing.
   Somebody let in again also counts from there on.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from mesh.core.acts import Acts
from mesh.core.causality import Causality, parents_first
from mesh.core.contributions import Contribution
from mesh.core.entries import Admit, Entry, Genesis, PublishModel, Remove, RetireModel, RotateKey
from mesh.core.equivocation import equivocations


class Admissions(Protocol):
    """What is asked of the membership that the entries fold to."""

    @property
    def admitted(self) -> Mapping[bytes, tuple[bytes, ...]]:
        """Ids of the admissions that count, by the key they let in."""
        ...


class Standing:
    """Says of each entry of a set whether it counts, and of each key whose it is.

    A **person** is the key by which somebody was let in, or founded the community; rotations give it further keys, and
    one key can be that of several.
    """

    def __init__(self, entries: Iterable[Entry], membership: Admissions) -> None:
        """Take a ledger's entries, in any order and however often each comes, the one genesis among them."""
        by_id = {entry.id: entry for entry in entries}  # not kept: what is, is small
        self._admitted = membership.admitted
        self._equivocations = equivocations(by_id.values())
        self._acts = _acts_in(by_id)
        [(self._founder, genesis)] = [(e.author, e.body) for e in by_id.values() if isinstance(e.body, Genesis)]
        admits = {entry.id: entry.body for entry in by_id.values() if isinstance(entry.body, Admit)}
        names = {person: admits[ids[-1]].node_name for person, ids in self._admitted.items()}
        names[self._founder] = genesis.node_name
        self._chains = {key: self._acts.built_on(key, by_id) for key in self._acts.rotations}
        self._keys = {person: self._acts.keys_from(person) for person in names}
        self._people: dict[bytes, list[bytes]] = {}  # by key
        for person in sorted(names):
            for key in self._keys[person]:
                self._people.setdefault(key, []).append(person)
        self._names = {key: names.get(key, names[people[-1]]) for key, people in self._people.items()}
        self._names |= dict.fromkeys(self._keys[self._founder], genesis.node_name)
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

    def is_voter(self, key: bytes) -> bool:
        """Whether a key is, or was, that of somebody who votes: in this version the founder."""
        return key in self._keys[self._founder]

    def counts(self, entry: Entry) -> bool:
        """Whether an entry of the set has the say that its author claims; one of an unknown kind has none."""
        match entry.body:
            case Genesis():
                return True
            case Admit(subject=subject):
                return entry.id in self._admitted.get(subject.public, ())
            case Remove(public=public):
                return any(entry in self._removals_of(person) for person in self._people.get(public, ()))
            case RotateKey():
                return entry.author in self._people and entry.id in {
                    one for one, _ in self._acts.rotations.get(entry.author, ())
                }
            case PublishModel() | RetireModel() | Contribution():
                return self._is_heard(entry) and any(
                    self._stands(entry, person) for person in self._people.get(entry.author, ())
                )
        return False

    def knows(self, publication: Entry, retirement: Entry) -> bool:
        """Whether a publication of the set comes causally after a retirement of the set."""
        return self._causality.knows(publication.id, retirement.id)

    def _removals_of(self, person: bytes) -> list[Entry]:
        """Return the removals of somebody that somebody entitled to it signed: the person, or the founder."""
        keys = self._keys[person]
        return self._acts.removals_of(keys, keys | self._keys[self._founder])

    def _compare(self, by_id: Mapping[bytes, Entry]) -> Causality:
        """Learn what entries know of those few that will be asked about."""
        of = set[bytes]()
        said: dict[bytes, set[bytes]] = {}  # by person
        for entry in by_id.values():
            if isinstance(entry.body, PublishModel | RetireModel | Contribution):
                if isinstance(entry.body, RetireModel):
                    of.add(entry.id)
                for person in self._people.get(entry.author, ()):
                    said.setdefault(person, set()).add(entry.id)
        for person, ids in said.items():
            if removals := {entry.id for entry in self._removals_of(person)}:
                of |= ids | removals | {*self._admitted.get(person, ())}
        causality = Causality()
        if of:
            for entry in parents_first(by_id):
                causality.add(entry, marked=entry.id in of)
        return causality

    def _is_heard(self, entry: Entry) -> bool:
        chain = self._chains.get(entry.author)
        if chain is not None:
            return entry.id in chain
        proof = self._equivocations.get(entry.author)
        return proof is None or entry.seq < proof.seq

    def _stands(self, entry: Entry, person: bytes) -> bool:
        """Whether somebody belonged when signing this, as far as every removal and some admission can tell."""
        knows = self._causality.knows
        removals = [removal.id for removal in self._removals_of(person)]
        before = [removal for removal in removals if knows(removal, entry.id)]
        if len(before) == len(removals):
            return True
        after = set(removals) - set(before)
        return any(
            knows(entry.id, admission) and all(knows(admission, removal) for removal in after)
            for admission in self._admitted.get(person, ())
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
