"""What is counted between two nodes: claimed once, signed for no more than was given, whatever is lost on the way."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from device.core.contribution_accounts import MAX_ACCOUNTS, Account, Accounts, Pace
from mesh.core.contributions import MAX_AMOUNT, MAX_PERIOD, NOTHING, Amount

PACE = Pace(min_tokens=100, min_model_bytes=1000)
ENOUGH = Amount(2, 100, 0)


@pytest.fixture
def accounts() -> Accounts:
    """Nothing counted yet."""
    return Accounts()


def test_enough_is_so_many_tokens_or_so_many_bytes() -> None:
    """Of one or the other."""
    assert [PACE.is_worth(one) for one in (Amount(9, 99, 999), Amount(1, 100, 0), Amount(0, 0, 1000))] == [
        False,
        True,
        True,
    ]


def test_from_whom_most_came_is_claimed_first(accounts: Accounts) -> None:
    """In multiples of what is enough; of the same, the lower id."""
    for peer, amount in {"d": Amount(1, 99, 0), "b": ENOUGH, "a": ENOUGH, "c": Amount(0, 0, 3000)}.items():
        accounts.received(peer, amount)
    assert accounts.worthy(PACE) == ["c", "a", "b"]


def test_no_more_is_signed_than_was_given(accounts: Accounts) -> None:
    """Of each the lesser; the rest stays, and is signed another time."""
    accounts.gave("a", Amount(5, 150, 400))
    assert accounts.counter_sign("a", 0, Amount(9, 120, 500), PACE) == Amount(5, 120, 400)
    assert accounts.of("a").given == Amount(0, 30, 0)
    accounts.gave("a", Amount(1, 100, 0))
    assert accounts.counter_sign("a", 1, Amount(1, 900, 0), PACE) == Amount(1, 130, 0)


def test_a_period_is_signed_once(accounts: Accounts) -> None:
    """The same again for who asks again, whatever it claims then; an earlier one never."""
    accounts.gave("a", Amount(9, 900, 0))
    first = accounts.counter_sign("a", 3, ENOUGH, PACE)
    assert accounts.counter_sign("a", 3, Amount(9, 800, 0), PACE) == first == ENOUGH
    assert accounts.of("a").given == Amount(7, 800, 0)
    assert accounts.counter_sign("a", 2, ENOUGH, PACE) is None
    assert accounts.counter_sign("a", 4, ENOUGH, PACE) == ENOUGH


def test_too_little_is_not_signed(accounts: Accounts) -> None:
    """Nor anything for whom nothing was given; the period stays open."""
    assert accounts.counter_sign("a", 0, ENOUGH, PACE) is None
    accounts.gave("a", Amount(1, 99, 999))
    assert accounts.counter_sign("a", 0, Amount(9, 900, 9000), PACE) is None
    accounts.gave("a", Amount(0, 1, 0))
    assert accounts.counter_sign("a", 0, Amount(9, 900, 9000), PACE) == Amount(1, 100, 999)


def test_only_what_was_received_in_the_open_period_is_accepted(accounts: Accounts) -> None:
    """No more of anything, and nothing of another period."""
    accounts.received("a", ENOUGH)
    assert accounts.accepts("a", 0, ENOUGH)
    assert accounts.accepts("a", 0, Amount(1, 99, 0))
    assert not accounts.accepts("a", 1, ENOUGH)
    assert not accounts.accepts("a", 0, Amount(3, 100, 0))
    assert not accounts.accepts("a", 0, Amount(2, 100, 1))


def test_what_is_settled_is_taken_off_once(accounts: Accounts) -> None:
    """What came meanwhile stays."""
    accounts.received("a", Amount(3, 150, 0))
    accounts.settle("a", 0, ENOUGH)
    accounts.settle("a", 0, ENOUGH)
    assert accounts.of("a") == Account(period=1, received=Amount(1, 50, 0))
    accounts.settle("a", 7, NOTHING)
    assert accounts.of("a").period == 8


def test_accounts_are_bounded() -> None:
    """In number: the least gives way; and in amount, as what is signed is."""
    accounts = Accounts()
    for number in range(MAX_ACCOUNTS + 1):
        accounts.received(f"{number}", Amount(0, number + 1, 0))
    assert len(accounts.all()) == MAX_ACCOUNTS
    assert accounts.of("0") == Account()
    for _ in range(2):
        accounts.gave("1", Amount(0, MAX_AMOUNT, 0))
        accounts.received("1", Amount(0, 0, MAX_AMOUNT))
    assert accounts.of("1").given.tokens == accounts.of("1").received.model_bytes == MAX_AMOUNT


def test_who_is_no_member_any_more_is_forgotten(accounts: Accounts) -> None:
    """And periods that have run out are claimed no more."""
    accounts.received("a", ENOUGH)
    accounts.received("b", ENOUGH)
    accounts.keep(frozenset("b"))
    assert [*accounts.all()] == ["b"]
    accounts.settle("b", MAX_PERIOD, NOTHING)
    accounts.received("b", ENOUGH)
    assert accounts.worthy(PACE) == []


class TwoNodes(RuleBasedStateMachine):
    """A giver and a receiver that lose messages and power at any moment; what was saved is all that is left then."""

    @initialize()
    def begin(self) -> None:
        """Nothing was given yet."""
        self.giver, self.receiver = Accounts(), Accounts()
        self.givers_disk, self.receivers_disk = Accounts(), Accounts()
        self.record: list[tuple[int, Amount]] = []
        self.given = NOTHING
        self.claims: list[tuple[int, Amount]] = []
        self.answers: list[tuple[int, Amount]] = []

    @rule(amount=st.builds(Amount, st.integers(0, 3), st.integers(0, 300), st.integers(0, 3000)), arrives=st.booleans())
    def give(self, amount: Amount, arrives: bool) -> None:  # noqa: FBT001  hypothesis draws it
        """What is sent is counted before it arrives, if it does."""
        self.giver.gave("receiver", amount)
        self.given += amount
        if arrives:
            self.receiver.received("giver", amount)

    @rule()
    def claim(self) -> None:
        """What is claimed is saved before."""
        if self.receiver.worthy(PACE):
            self.receivers_disk = Accounts(self.receiver.all())
            account = self.receiver.of("giver")
            self.claims.append((account.period, account.received))

    @rule(index=st.integers(0, 20))
    def sign(self, index: int) -> None:
        """A claim arrives, whichever, perhaps again; what is signed is saved before it is sent."""
        if self.claims:
            period, claimed = self.claims[index % len(self.claims)]
            amount = self.giver.counter_sign("receiver", period, claimed, PACE)
            if amount is not None:
                self.givers_disk = Accounts(self.giver.all())
                self.answers.append((period, amount))

    @rule(index=st.integers(0, 20), dies=st.booleans())
    def settle(self, index: int, dies: bool) -> None:  # noqa: FBT001  hypothesis draws it
        """An answer arrives, whichever, perhaps again; the entry is on the disk before the account is."""
        if not self.answers:
            return
        period, amount = self.answers[index % len(self.answers)]
        for said in self.record:
            self.receiver.settle("giver", *said)
        if self.receiver.accepts("giver", period, amount):
            self.record.append((period, amount))
            if dies:
                self.receiver_dies()
            else:
                self.receiver.settle("giver", period, amount)
                self.receivers_disk = Accounts(self.receiver.all())

    @rule()
    def receiver_dies(self) -> None:
        """It goes on with what it had saved."""
        self.receiver = Accounts(self.receivers_disk.all())

    @rule()
    def giver_dies(self) -> None:
        """So does the giver."""
        self.giver = Accounts(self.givers_disk.all())

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        """Every period stands once on the record, and all of them together are no more than was given."""
        assert len({period for period, _ in self.record}) == len(self.record)
        total = sum((amount for _, amount in self.record), start=NOTHING)
        assert total.common(self.given) == total


TestTwoNodes = TwoNodes.TestCase
TestTwoNodes.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
