"""A sum that was received is counter-signed and gets on the record, once, whatever is lost and whoever dies."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from device.core.contribution_accounts import Account
from device.core.contribution_messages import Claim, CounterSigned
from mesh.core.contributions import Amount, counter_sign
from mesh.core.entries import Remove
from tests.device.contributions.sides import DAYS_S, PACE, Side, community, days_pass, look
from tests.mesh.core.world import Person
from tests.sim.mesh_net import SimulatedNet

EMBER, SPARK, ATTIC = Person("ember"), Person("spark"), Person("attic")
ENOUGH = Amount(2, 150, 0)
Pair = tuple[Side, Side]


@pytest.fixture
def net() -> SimulatedNet:
    """A net without nodes."""
    return SimulatedNet()


@pytest.fixture
async def pair(net: SimulatedNet, tmp_path: Path) -> AsyncIterator[Pair]:
    """`spark`, which receives, and `ember`, which gives, and founded the community; both have run for days."""
    with community(net, tmp_path, EMBER, SPARK) as (ember, spark):
        await days_pass(ember, spark)
        yield spark, ember


def account(side: Side, other: Side) -> Account:
    """What a node counts between it and another."""
    return side.file.accounts.of(other.node_id)


async def test_what_was_received_gets_on_the_record(pair: Pair) -> None:
    """Claimed, counter-signed, signed, spread; both copies say the same, and nothing is left to be claimed."""
    spark, ember = pair
    ember.gives(spark, ENOUGH)
    await look(spark, ember, spark)
    [said] = spark.said()
    assert (said.giver, said.period, said.amount) == (EMBER.public, 0, ENOUGH)
    [contributor] = ember.folded()
    assert (contributor.key, dict(contributor.by_receiver)) == (EMBER.public, {SPARK.public: ENOUGH})
    assert account(spark, ember) == Account(period=1)
    assert account(ember, spark) == Account(signed_period=0, signed=ENOUGH)
    spark.now_s += DAYS_S
    await look(spark, ember, spark)
    assert len(spark.said()) == 1


async def test_both_give_and_receive(pair: Pair) -> None:
    """Each says what it got; a later sum is the next period's."""
    spark, ember = pair
    for period in range(2):
        ember.gives(spark, ENOUGH)
        spark.gives(ember, Amount(0, 0, 4000))
        await look(spark, ember, spark, ember)
        assert {(one.giver, one.period) for one in spark.said()} == {
            (person.public, number) for person in (SPARK, EMBER) for number in range(period + 1)
        }
        spark.now_s, ember.now_s = spark.now_s + DAYS_S, ember.now_s + DAYS_S
    assert {one.key: one.total for one in spark.folded()} == {
        EMBER.public: ENOUGH + ENOUGH,
        SPARK.public: Amount(0, 0, 8000),
    }


async def test_not_before_the_time_and_not_for_little(pair: Pair, net: SimulatedNet) -> None:
    """Nothing is even claimed."""
    spark, ember = pair
    ember.gives(spark, Amount(1, 99, 999))
    await look(spark)
    assert ember.mesh.seen[Claim.KIND] == []
    ember.gives(spark, Amount(0, 1, 0))
    await look(spark, ember, spark)
    assert len(spark.said()) == 1
    ember.gives(spark, ENOUGH)
    spark.now_s += PACE.wait_s  # the second one waits longer
    await look(spark)
    assert len(ember.mesh.seen[Claim.KIND]) == 1
    net.cut(spark.mesh, ember.mesh)
    spark.now_s += DAYS_S
    await look(spark)
    assert len(ember.mesh.seen[Claim.KIND]) == 1  # nobody is there to hear it
    net.link(spark.mesh, ember.mesh)
    await look(spark, ember, spark)
    assert len(spark.said()) == 2


async def test_the_giver_signs_no_more_than_it_gave(pair: Pair) -> None:
    """The lesser of both counts is what stands; the rest may be claimed when it has given more."""
    spark, ember = pair
    ember.gives(spark, Amount(1, 120, 500), arrives=Amount(3, 400, 400))
    await look(spark, ember, spark)
    assert [one.amount for one in spark.said()] == [Amount(1, 120, 400)]
    assert account(spark, ember).received == Amount(2, 280, 0)
    assert account(ember, spark).given == Amount(0, 0, 100)


async def test_nobody_signs_what_it_did_not_give(pair: Pair) -> None:
    """There is no answer at all; it is claimed again now and then."""
    spark, ember = pair
    spark.contributions.received(ember.node_id, ENOUGH)
    await look(spark, ember, spark)
    spark.now_s += PACE.ask_again_s / 2
    await look(spark, ember, spark)
    assert (len(ember.mesh.seen[Claim.KIND]), spark.mesh.seen[CounterSigned.KIND]) == (1, [])
    spark.now_s += PACE.ask_again_s
    await look(spark, ember, spark)
    assert (len(ember.mesh.seen[Claim.KIND]), spark.said()) == (2, [])


@pytest.mark.parametrize("kind", [Claim.KIND, CounterSigned.KIND])
async def test_a_lost_message_costs_a_moment(pair: Pair, net: SimulatedNet, kind: int) -> None:
    """It is claimed again, signed again with the same words, and stands once."""
    spark, ember = pair
    ember.gives(spark, ENOUGH)
    net.lost = lambda received: received.kind == kind
    await look(spark, ember, spark)
    assert spark.said() == []
    net.lost = lambda _: False
    ember.gives(spark, ENOUGH)
    spark.now_s += PACE.ask_again_s
    await look(spark, ember, spark)
    whole = ENOUGH + ENOUGH
    assert [one.amount for one in spark.said()] == [whole if kind == Claim.KIND else ENOUGH]
    assert account(spark, ember).received + spark.said()[0].amount == whole
    assert account(ember, spark).given + spark.said()[0].amount == whole


@pytest.mark.parametrize("moment", ["claimed", "counter-signed", "signed", "settled"])
@pytest.mark.parametrize("who", ["receiver", "giver", "both"])
async def test_whoever_dies_at_whatever_moment_nothing_counts_twice(pair: Pair, moment: str, who: str) -> None:
    """After a power cut there is what was on the disk; the sum gets on the record once, and the next one too."""
    spark, ember = pair
    ember.gives(spark, ENOUGH)
    disks: dict[Side, bytes] = {}

    def dies() -> None:
        disks.update({one: one.path.read_bytes() for one in pair if one.path.exists()})

    spark.on_signed = dies if moment == "signed" else lambda: None
    for step, side in {"claimed": spark, "counter-signed": ember, "settled": spark}.items():
        await look(side)
        if moment == step:
            dies()
            break
    spark.on_signed = lambda: None
    for side, dead in ((spark, who != "giver"), (ember, who != "receiver")):
        if dead:
            side.starts(disks.get(side))
    for _ in range(3):
        await look(spark, ember, spark)
        spark.now_s += DAYS_S
    given = [one.amount for one in spark.said()]
    if moment == "claimed" and who != "receiver":
        assert given == []  # the giver's count since it was last written is lost, and nothing else
    else:
        assert given == [ENOUGH]
    before = len(given)
    ember.gives(spark, ENOUGH)
    await look(spark, ember, spark)
    assert len(spark.said()) == before + 1
    assert len({one.period for one in spark.said()}) == before + 1
    [contributor] = ember.folded()
    assert contributor.total == sum((one.amount for one in spark.said()), start=Amount())


async def test_what_is_only_counted_is_written_now_and_then(pair: Pair) -> None:
    """And at the end."""
    spark, ember = pair
    ember.gives(spark, Amount(1, 1, 0))
    await look(spark, ember)
    assert not spark.path.exists()
    assert not ember.path.exists()
    spark.now_s += PACE.write_every_s
    await look(spark)
    await ember.contributions.aclose()
    for side, other in (pair, pair[::-1]):
        before = account(side, other)
        side.starts()
        assert account(side, other) == before != Account()


async def test_a_count_that_is_lost_costs_what_was_in_it(pair: Pair) -> None:
    """The record knows which period is open; and the giver that knows nothing signs what it gives from then on."""
    spark, ember = pair
    ember.gives(spark, ENOUGH)
    await look(spark, ember, spark)
    for side in pair:
        side.path.unlink()
        side.starts()
    await days_pass(*pair)
    ember.gives(spark, ENOUGH + ENOUGH)
    await look(spark, ember, spark)
    assert [(one.period, one.giver) for one in spark.said()] == [(0, EMBER.public), (1, EMBER.public)]


async def says(net: SimulatedNet, sender: Side, receiver: Side, message: Claim | CounterSigned) -> None:
    """Let somebody send what it likes, and the other one look at it."""
    net.carry(sender.node_id, receiver.node_id, message.KIND, message.to_body(), None)
    await arrived()
    await look(receiver)


async def arrived() -> None:
    """Let what is on the net arrive, which it does in the loop's next turn."""
    await asyncio.sleep(0)


async def test_what_a_giver_answers_is_not_believed(pair: Pair, net: SimulatedNet) -> None:
    """Forged, of another period, of more than was received, of nobody's claim: nothing gets on the record."""
    spark, ember = pair
    community_id = ember.record.view().membership.community
    spark.contributions.received(ember.node_id, ENOUGH)

    def signed(period: int, amount: Amount, *, receiver: Person = SPARK) -> bytes:
        return counter_sign(EMBER.seed, community_id, receiver.public, period, amount)

    more = ENOUGH + Amount(0, 1, 0)
    for message in (
        CounterSigned(0, ENOUGH, bytes(64)),
        CounterSigned(0, ENOUGH, signed(1, ENOUGH)),
        CounterSigned(0, ENOUGH, signed(0, ENOUGH, receiver=ATTIC)),
        CounterSigned(1, ENOUGH, signed(1, ENOUGH)),
        CounterSigned(0, more, signed(0, more)),
    ):
        await says(net, ember, spark, message)
        assert (spark.said(), account(spark, ember).period) == ([], 0)
        spark.now_s += DAYS_S  # it may say so much in a while
    await says(net, ember, spark, CounterSigned(0, ENOUGH, signed(0, ENOUGH)))
    assert len(spark.said()) == 1


async def test_a_giver_that_signs_little_wastes_no_room(pair: Pair, net: SimulatedNet) -> None:
    """That period is left out, and what was received is claimed in the next."""
    spark, ember = pair
    community_id = ember.record.view().membership.community
    ember.gives(spark, ENOUGH)
    little = Amount(0, 1, 0)
    signature = counter_sign(EMBER.seed, community_id, SPARK.public, 0, little)
    await says(net, ember, spark, CounterSigned(0, little, signature))
    assert (spark.said(), account(spark, ember)) == ([], Account(period=1, received=ENOUGH))
    await look(spark, ember, spark)
    assert [one.period for one in spark.said()] == [1]


async def test_nonsense_is_dropped_and_a_flood_is_bounded(
    pair: Pair, net: SimulatedNet, caplog: pytest.LogCaptureFixture
) -> None:
    """Of one member some messages are looked at, the last of those that came together."""
    spark, ember = pair
    net.carry(spark.node_id, ember.node_id, Claim.KIND, b"\xff", None)
    net.carry(spark.node_id, ember.node_id, 17, b"\xff", None)
    await arrived()
    assert [record.message for record in caplog.records] == ["messages dropped"]
    ember.gives(spark, Amount(9, 9000, 0))
    for number in range(100):
        claim = Claim(number, ENOUGH)
        net.carry(spark.node_id, ember.node_id, claim.KIND, claim.to_body(), None)
        if number % 2:
            await arrived()
            await look(ember)
    assert 1 <= len(spark.mesh.seen[CounterSigned.KIND]) <= 8


async def test_who_does_not_answer_keeps_nobody_waiting(net: SimulatedNet, tmp_path: Path) -> None:
    """The next one is asked, and so on in turn; only one sum gets on the record at a time."""
    with community(net, tmp_path, EMBER, SPARK, ATTIC) as (ember, spark, attic):
        await days_pass(ember, spark, attic)
        spark.contributions.received(attic.node_id, Amount(9, 9000, 0))  # as attic does not see it
        ember.gives(spark, ENOUGH)
        await look(spark, attic, spark, ember, spark)
        assert [one.giver for one in spark.said()] == [EMBER.public]
        attic.contributions.gave(spark.node_id, Amount(9, 9000, 0))
        ember.gives(spark, ENOUGH)
        spark.now_s += DAYS_S
        await look(spark, attic, ember)
        await look(spark, attic, ember, spark)
        assert [one.giver for one in spark.said()] == [EMBER.public, ATTIC.public]
        assert account(spark, ember).received == ENOUGH


async def test_only_members_count_with_each_other(net: SimulatedNet, tmp_path: Path) -> None:
    """Who was removed is forgotten, and signs nothing; who belongs to no community has nothing to do."""
    with community(net, tmp_path, EMBER, SPARK, ATTIC) as (ember, spark, attic):
        await days_pass(ember, spark, attic)
        ember.gives(spark, ENOUGH)
        ember.gives(attic, ENOUGH)
        entry = ember.store.sign(Remove(ATTIC.public, ""))
        for one in (spark, attic):
            one.store.take([entry])
        await look(attic)
        await says(net, attic, ember, Claim(0, ENOUGH))
        assert attic.mesh.seen[CounterSigned.KIND] == ember.mesh.seen[CounterSigned.KIND] == []
        assert [*ember.file.accounts.all()] == [spark.node_id]
        spark.store.leave()
        await look(spark)
        assert [one.peer for one in ember.mesh.seen[Claim.KIND]] == [attic.node_id]


async def test_another_community_begins_at_nothing(net: SimulatedNet, tmp_path: Path) -> None:
    """What was counted for the one is not claimed in the other, and the time begins anew."""
    with community(net, tmp_path, EMBER, SPARK) as (ember, spark):
        await days_pass(ember, spark)
        ember.gives(spark, ENOUGH)
        spark.store.leave()
        spark.store.found("Elsewhere", "spark")
        await look(spark)
        assert spark.file.accounts.all() == {}
        assert spark.file.said_at_s == spark.file.age()


async def test_nothing_is_sent_that_is_not_on_the_disk(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that takes nothing is said, and costs time only."""
    spark, ember = pair
    for side, waiting in ((spark, ember.mesh.seen[Claim.KIND]), (ember, spark.mesh.seen[CounterSigned.KIND])):
        ember.gives(spark, ENOUGH)
        aside = side.path.parent.rename(side.path.parent.with_suffix(".aside"))
        caplog.clear()
        await look(spark, ember)
        assert waiting == []
        assert "a contribution has to wait" in caplog.text
        await side.contributions.aclose()
        assert any(record.levelno == logging.ERROR for record in caplog.records)
        aside.rename(side.path.parent)
        spark.now_s += PACE.ask_again_s
    await look(spark, ember, spark)
    assert sum(one.amount.tokens for one in spark.said()) == 300
