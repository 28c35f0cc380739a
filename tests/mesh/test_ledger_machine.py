"""Nodes that sign, fork, meet in part, hear things twice and lose power: once all have everything, they are one."""

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mesh.community import CommunityStore
from mesh.core.ballots import MAKE_VOTER, SHOW_OUT
from mesh.core.entries import Admit, Remove, RotateKey, write_entry
from mesh.core.ledger import Ledger
from mesh.core.membership import OBSERVER, state_hash
from mesh.core.roll import fold
from mesh.identity import Identity
from tests.mesh.core.council import decided
from tests.mesh.core.world import Person, copy_of, of_the_future

NODES = 4
WHO = st.integers(0, NODES - 1)


class Nodes(RuleBasedStateMachine):
    """Four stores on disk; the first founds the community and lets the others in."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hearth-test-"))
        self.identities = [Identity.open(self.folder / f"identity{number}") for number in range(NODES)]
        self.stores: list[CommunityStore] = []

    @initialize()
    def begin(self) -> None:
        """Found it, and let everybody in."""
        self.stores = [self._open(number) for number in range(NODES)]
        founder = self.stores[0]
        founder.found("Harbour", "node 0")
        for number, identity in enumerate(self.identities[1:], 1):
            founder.sign(Admit(identity.statement, f"node {number}", OBSERVER))
        for store in self.stores[1:]:
            store.enter(Ledger.of(self._ledger(0).entries), founder.keys.keys)

    @rule(who=WHO, whom=WHO, what=st.sampled_from(["admit", "remove", "note"]))
    def signs(self, who: int, whom: int, what: str) -> None:
        """Sign something, whether it counts or not."""
        store, subject = self.stores[who], self.identities[whom]
        if what == "admit":
            store.sign(Admit(subject.statement, f"node {whom}", OBSERVER))
        elif what == "remove":
            store.sign(Remove(subject.public, "because"))
        else:
            store.take([of_the_future(self._person(who), self._ledger(who), 5)])

    @rule(who=WHO, name=st.integers(0, 3))
    def rotates(self, who: int, name: int) -> None:
        """Go on under another key, which this machine never uses."""
        new = Person(f"key {name} of {who}").statement
        self.stores[who].sign(RotateKey(self.identities[who].public, new))

    @rule(who=WHO, to=WHO, back=st.integers(1, 3))
    def forks(self, who: int, to: int, back: int) -> None:
        """Sign for a place that is taken already, and tell one node of it."""
        own = [entry for entry in self._ledger(who).entries if entry.author == self.identities[who].public]
        if len(own) > back:
            body = Remove(bytes(32), f"another {back} {to}")
            entry = write_entry(self.identities[who].seed, self._ledger(who).community, own[-back].place, body)
            self.stores[to].take([entry])

    @rule(one=WHO, other=WHO, some=st.integers(1, 12), again=st.booleans(), rng=st.randoms(use_true_random=False))
    def hears(self, one: int, other: int, some: int, *, again: bool, rng: random.Random) -> None:
        """Hand over some of what is missing, in any order, perhaps twice."""
        missing = self._ledger(other).missing_at(self._ledger(one).heads())[:some]
        rng.shuffle(missing)
        self.stores[one].take([*missing, *missing] if again else missing)

    @rule(who=WHO)
    def loses_power(self, who: int) -> None:
        """Begin again with what is on the disk."""
        before = self._ledger(who).entries
        self.stores[who].close()
        self.stores[who] = self._open(who)
        assert set(self._ledger(who).entries) == set(before)

    @invariant()
    def each_is_what_its_set_says(self) -> None:
        """Whatever has come so far."""
        for number in range(len(self.stores)):
            assert state_hash(self._ledger(number).membership()) == state_hash(fold(self._ledger(number).entries))

    def teardown(self) -> None:
        """Heal every partition; compare."""
        for _ in range(NODES):
            for one in range(len(self.stores)):
                for other in range(len(self.stores)):
                    news = self._ledger(other).entries
                    self.stores[one].take([entry for entry in news if entry.id not in self._ledger(one)])
        assert len({state_hash(self._ledger(number).membership()) for number in range(len(self.stores))}) <= 1
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)

    def _open(self, number: int) -> CommunityStore:
        return CommunityStore(self.folder / f"community{number}.db", self.identities[number])

    def _ledger(self, number: int) -> Ledger:
        ledger = self.stores[number].ledger
        assert ledger is not None
        return ledger

    def _person(self, number: int) -> Person:
        person = Person("")
        person.seed, person.public = self.identities[number].seed, self.identities[number].public
        return person


test_ledger_nodes_agree_in_any_order = Nodes.TestCase
test_ledger_nodes_agree_in_any_order.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@pytest.mark.slow
def test_ledger_ten_thousand_orders_have_one_state_hash() -> None:
    """Decisions, forks, rotations, removals, returns and unknown kinds among them."""
    anna, *others = people = [Person(name) for name in ("Anna", "Ben", "Cleo", "Dara")]
    ledger = anna.founds(budget=12)
    for person in others:
        anna.admits(ledger, person)
    decided(ledger, [anna], MAKE_VOTER, others[0])
    elsewhere = copy_of(ledger)
    ben, cleo, dara = others
    signed = [ben.removes(ledger, ben), anna.admits(ledger, ben), anna.removes(ledger, dara)]
    signed += [cleo.becomes(elsewhere, Person("Cleo's next")), dara.removes(elsewhere, cleo)]
    signed += [anna.admits(elsewhere, Person("Eli")), ben.removes(elsewhere, dara), dara.removes(elsewhere, dara)]
    signed += [of_the_future(person, elsewhere, 9) for person in people[1:]]
    decided(elsewhere, [anna, ben], SHOW_OUT, cleo)
    rng = random.Random(7)  # noqa: S311  the same each time
    union = copy_of(elsewhere)
    everything = [*ledger.entries[1:], *elsewhere.entries[1:], *signed]
    for entry in everything:
        union.add(entry)
    expected = {state_hash(fold(union.entries))}
    assert len(union.equivocations) >= 2
    found = set()
    for _ in range(10_000):
        rng.shuffle(everything)
        other = Ledger(ledger.genesis)
        for entry in everything:
            other.add(entry)
        found.add(state_hash(other.membership()))
    assert found == expected
