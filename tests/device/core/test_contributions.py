"""What a record says that members gave each other; docs/governance.md has the rules in plain words."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.core.contributions import Contributor, fold_contributions, shown
from mesh.core.contributions import Amount
from mesh.core.ledger import Ledger
from mesh.core.roll import fold
from mesh.core.standing import Standing
from tests.device.core.histories import ANNA, BEN, CLEO, DARA, PEOPLE, Step, lived, shuffled, steps
from tests.mesh.core.world import Person, copy_of

NAMES = {person.public: person.name for person in PEOPLE}


def folded(ledger: Ledger) -> tuple[Contributor, ...]:
    """Who gave what, by a ledger."""
    return fold_contributions(ledger.entries, Standing(ledger.entries, fold(ledger.entries)))


def tokens(ledger: Ledger) -> dict[str, dict[str, int]]:
    """The tokens of answers that each gave to each."""
    return {
        NAMES[one.key]: {NAMES[key]: amount.tokens for key, amount in one.by_receiver.items()} for one in folded(ledger)
    }


@pytest.fixture
def ledger() -> Ledger:
    """Anna's community, with Ben and Cleo."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, CLEO)
    return ledger


def test_what_was_received_is_summed_up_by_giver_and_receiver(ledger: Ledger) -> None:
    """Period after period."""
    assert folded(ledger) == ()
    BEN.receives(ledger, ANNA, 100)
    BEN.receives(ledger, ANNA, 20, period=1)
    CLEO.receives(ledger, ANNA, 3)
    ANNA.receives(ledger, BEN, 4)
    assert tokens(ledger) == {"Anna": {"Ben": 120, "Cleo": 3}, "Ben": {"Anna": 4}}
    [anna] = [one for one in folded(ledger) if one.key == ANNA.public]
    assert anna.total == Amount(3, 123, 0)


def test_a_period_counts_once(ledger: Ledger) -> None:
    """Said again, with the same words or others, the entry of the lowest id does."""
    twice = [BEN.receives(ledger, ANNA, 100), BEN.receives(ledger, ANNA, 7)]
    first = min(twice, key=lambda entry: entry.id)
    assert tokens(ledger) == {"Anna": {"Ben": 100 if first is twice[0] else 7}}
    BEN.receives(ledger, ANNA, 1, period=5)
    CLEO.receives(ledger, ANNA, 1, period=5)
    assert tokens(ledger)["Anna"] == {"Ben": 101 if first is twice[0] else 8, "Cleo": 1}


def test_strangers_give_and_receive_nothing(ledger: Ledger) -> None:
    """Both ends were let in by an admission that counts."""
    BEN.admits(ledger, DARA)
    DARA.receives(ledger, ANNA, 100)
    ANNA.receives(ledger, DARA, 100)
    assert tokens(ledger) == {}
    ANNA.admits(ledger, DARA)
    assert tokens(ledger) == {"Anna": {"Dara": 100}, "Dara": {"Anna": 100}}


def test_a_forked_receiver_is_not_heard_from_there_on(ledger: Ledger) -> None:
    """What it said before stands."""
    BEN.receives(ledger, ANNA, 100)
    place = ledger.next_place(BEN.public)
    BEN.receives(ledger, ANNA, 1, period=1, place=place)
    BEN.receives(ledger, CLEO, 1, place=place)
    assert tokens(ledger) == {"Anna": {"Ben": 100}}


def test_what_was_given_and_received_outlives_a_membership(ledger: Ledger) -> None:
    """What a receiver says after its own removal, or unknown to it, does not count; a giver's removal takes nothing."""
    BEN.receives(ledger, CLEO, 100)
    apart = copy_of(ledger)
    unseen = BEN.receives(apart, CLEO, 1, period=1)
    ANNA.removes(ledger, BEN)
    ledger.add(unseen)
    BEN.receives(ledger, CLEO, 1, period=2)
    ANNA.removes(ledger, CLEO)
    assert tokens(ledger) == {"Cleo": {"Ben": 100}}


def test_keys_of_one_person_are_one_receiver(ledger: Ledger) -> None:
    """Rotating makes nobody two, on either end; and nobody gives to the key it had before."""
    BEN.receives(ledger, CLEO, 100)
    BEN.becomes(ledger, DARA)
    DARA.receives(ledger, CLEO, 20)
    assert tokens(ledger) == {"Cleo": {"Ben": 120}}
    DARA.receives(ledger, BEN, 7)
    CLEO.receives(ledger, DARA, 5)
    assert tokens(ledger) == {"Cleo": {"Ben": 120}, "Ben": {"Cleo": 5}}


def test_who_rotates_to_anothers_key_gains_nothing(ledger: Ledger) -> None:
    """What the other one gave and received stays its own; only what passed between the two is void."""
    CLEO.receives(ledger, BEN, 100)
    ANNA.receives(ledger, BEN, 30)
    CLEO.receives(ledger, ANNA, 4)
    CLEO.becomes(ledger, BEN)
    assert tokens(ledger) == {"Anna": {"Cleo": 4}, "Ben": {"Anna": 30}}


def test_who_gave_to_most_is_shown_first(ledger: Ledger) -> None:
    """With what each says that it received, and whether the giver is still a member."""
    BEN.receives(ledger, CLEO, 1000)
    BEN.receives(ledger, ANNA, 10)
    CLEO.receives(ledger, ANNA, 20)
    ANNA.removes(ledger, CLEO)
    members = fold(ledger.entries)
    present = frozenset(member.public for member in members.members.values())
    anna, cleo = shown(folded(ledger), Standing(ledger.entries, members), present).givers
    assert (anna.name, anna.member, anna.answers, anna.tokens, anna.model_bytes) == ("Anna", True, 2, 30, 0)
    assert {(one.name, one.tokens) for one in anna.receivers} == {("Ben", 10), ("Cleo", 20)}
    assert (cleo.node_id, cleo.member, len(cleo.receivers)) == (CLEO.statement.node_id, False, 1)


def says(ledger: Ledger, person: Person, what: str, whom: int, _side: int, number: int) -> None:
    """Have somebody receive something; with a fork, two things for one place."""
    other = PEOPLE[whom]
    if other is person:
        return
    place = ledger.next_place(person.public)
    person.receives(ledger, other, 100 + number, period=number % 2, place=place)
    if what == "fork":
        person.receives(ledger, other, 1, period=2, place=place)


@settings(max_examples=150, deadline=None)
@given(steps("receive", "receive", "receive"), st.randoms(use_true_random=False))
def test_ledger_any_order_gives_the_same_contributions(drawn: list[Step], rng: random.Random) -> None:
    """However entries arrive, and however often, whoever signs what: the same set gives the same sums."""
    ledger = lived(drawn, says)
    entries = shuffled(ledger, rng)
    judge = Standing(entries, fold(entries))
    expected = folded(ledger)
    assert fold_contributions(entries, judge) == expected
    for one in expected:
        assert one.key not in one.by_receiver
        assert all(judge.name_of(key) for key in (one.key, *one.by_receiver))
