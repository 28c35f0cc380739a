"""What keys allow, held against what was asked."""

import pytest

from device.core.access import LOOPBACK, OWNER, Key, caller_with
from device.core.budgets import PERIOD_S, Allowance, prompt_tokens
from device.errors import BudgetUsedUpError, BusyError, TooManyRequestsError
from device.meter import MAX_ANSWER_TOKENS, MAX_CLIENTS, PHONES_PART, Meter
from models.core.request import GenerationRequest, Message, SamplingParams

QUESTION = GenerationRequest((Message("user", "hello"),), SamplingParams(max_tokens=100))
GUESTS = Key(name="guests", digest="9" * 64, guest=True, allowance=Allowance(per_minute=3, per_day=400))
PROGRAM = Key(name="program", digest="a" * 64, allowance=Allowance(per_day=150))


class Clock:
    """The node's age."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """See it."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A node just born."""
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    """A meter for the two keys."""
    allowances = {key.digest: key.allowance for key in (GUESTS, PROGRAM)}
    return Meter(allowance=lambda digest: allowances.get(digest, Allowance()), age=clock)


def test_the_owner_is_not_counted(meter: Meter) -> None:
    """Neither questions nor tokens."""
    for caller in (OWNER, LOOPBACK) * 50:
        charge = meter.begin(caller, QUESTION)
        assert charge.request == QUESTION
        charge.settle(10**6)
    assert not meter.spent


def test_a_rate_says_when_the_next_may_come(meter: Meter, clock: Clock) -> None:
    """Each phone has its own; what was refused is not counted."""
    one, two = caller_with(GUESTS, session="1"), caller_with(GUESTS, session="2")
    for _ in range(3):
        meter.begin(one, QUESTION).settle(1)
    for _ in range(5):
        with pytest.raises(TooManyRequestsError, match="the next one in 20 s") as raised:
            meter.begin(one, QUESTION)
        assert raised.value.retry_after_s == 20
    meter.begin(two, QUESTION).settle(1)
    clock.now = 20.0
    meter.begin(one, QUESTION).settle(1)


def test_an_answer_is_cut_to_what_is_left(meter: Meter) -> None:
    """And what it did not need comes back."""
    caller = caller_with(PROGRAM)
    meter.begin(caller, QUESTION).settle(60)
    charge = meter.begin(caller, QUESTION)
    assert charge.request.sampling.max_tokens == 90 - prompt_tokens(QUESTION)
    assert meter.left(PROGRAM.digest, PROGRAM.allowance) == 0
    charge.settle(20)
    assert meter.left(PROGRAM.digest, PROGRAM.allowance) == 70


def test_a_budget_used_up_says_when_it_renews(meter: Meter, clock: Clock) -> None:
    """A day after its first use, and then all of it."""
    caller = caller_with(PROGRAM)
    meter.begin(caller, QUESTION).settle(500)
    clock.now = 3600.0
    with pytest.raises(
        BudgetUsedUpError, match="the 150 tokens a day are used up; they are back in 23 h 0 min"
    ) as used:
        meter.begin(caller, QUESTION)
    assert used.value.retry_after_s == PERIOD_S - 3600
    clock.now = PERIOD_S
    assert meter.begin(caller, QUESTION).request.sampling.max_tokens == 100


def test_one_phone_leaves_something_for_the_others(meter: Meter) -> None:
    """It has a part of what all have; all together have no more than their key."""
    greedy = caller_with(GUESTS, session="greedy")
    charge = meter.begin(greedy, QUESTION)
    charge.settle(400 // PHONES_PART)
    with pytest.raises(BudgetUsedUpError, match="100 tokens a day"):
        meter.begin(greedy, QUESTION)
    for number in range(PHONES_PART - 1):
        meter.begin(caller_with(GUESTS, session=str(number)), QUESTION).settle(100)
    with pytest.raises(BudgetUsedUpError, match="400 tokens a day"):
        meter.begin(caller_with(GUESTS, session="late"), QUESTION)


def asking(words: int, *, max_tokens: int) -> GenerationRequest:
    """A question of some so many tokens."""
    return GenerationRequest((Message("user", "word" * words),), SamplingParams(max_tokens=max_tokens))


def test_many_long_questions_at_once_do_not_overrun_a_budget(meter: Meter) -> None:
    """A prompt counts from the beginning, however short its answer is to be."""
    caller, question = caller_with(PROGRAM), asking(60, max_tokens=1)
    charges = [meter.begin(caller, question) for _ in range(2)]
    for _ in range(30):
        with pytest.raises(BusyError, match="set aside"):
            meter.begin(caller, question)
    for charge in charges:
        charge.settle(70)
    with pytest.raises(BudgetUsedUpError, match="too few are left for a question of some 61"):
        meter.begin(caller, question)
    assert meter.begin(caller, asking(1, max_tokens=1)).request.sampling.max_tokens == 1


def test_what_is_only_set_aside_is_not_used_up(clock: Clock) -> None:
    """Long answers that others wish for lock nobody out for a day: they are cut, and who comes meanwhile waits."""
    allowance = Allowance(per_day=50_000)
    meter = Meter(allowance=lambda _: allowance, age=clock)
    key = Key(name="guests", digest="9" * 64, guest=True, allowance=allowance)
    greedy, other = caller_with(key), caller_with(key, session="other")
    charges = [meter.begin(greedy, asking(1, max_tokens=32_768)) for _ in range(2)]
    assert charges[0].request.sampling.max_tokens == MAX_ANSWER_TOKENS
    meter.begin(other, QUESTION).settle(10)
    with pytest.raises(BusyError, match="set aside"):  # noqa: PT012  however many it takes
        while True:
            charges.append(meter.begin(greedy, asking(1, max_tokens=32_768)))
    with pytest.raises(BusyError, match="50000 tokens a day is set aside"):
        meter.begin(other, asking(1000, max_tokens=1))
    for charge in charges:
        charge.settle(0)
    assert meter.left(key.digest, allowance) == 50_000 - 10


def test_a_question_across_the_renewal_gives_the_new_day_nothing(meter: Meter, clock: Clock) -> None:
    """What was set aside in the old period comes back there, and what it took counts there."""
    caller = caller_with(PROGRAM)
    early = [meter.begin(caller, asking(1, max_tokens=40)) for _ in range(2)]
    clock.now = PERIOD_S
    meter.begin(caller, asking(1, max_tokens=100)).settle(90)
    for charge in early:
        charge.settle(0)
    assert meter.left(PROGRAM.digest, PROGRAM.allowance) == 60


def test_a_forgotten_phone_stays_forgotten(meter: Meter) -> None:
    """Its answer ends later, and is remembered for the key alone."""
    charge = meter.begin(caller_with(GUESTS, session="phone"), QUESTION)
    meter.forget("phone")
    charge.settle(50)
    assert "phone" not in meter.spent
    assert meter.spent[GUESTS.digest].tokens == 50


def test_what_is_remembered_is_bounded(meter: Meter, clock: Clock) -> None:
    """Those who asked last."""
    for number in range(2 * MAX_CLIENTS):
        clock.now += PERIOD_S
        meter.begin(caller_with(GUESTS, session=str(number)), QUESTION).settle(1)
    assert len(meter._paces) <= MAX_CLIENTS
    assert str(2 * MAX_CLIENTS - 1) in meter._paces
    meter.forget("0")
    assert "0" not in meter.spent
