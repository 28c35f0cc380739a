"""A quarter of a feed is for contributions, and each makes the next one wait longer."""

import pytest

from device.core.contribution_accounts import Pace
from device.core.contribution_room import ENTRY_BYTES, PART, OwnFeed
from mesh.core.contributions import MAX_PERIOD, MOST, Contribution, counter_sign
from mesh.core.entries import Place, write_entry
from mesh.core.ledger import MAX_FEED_BYTES, MAX_VOTER_FEED_BYTES, Ledger
from tests.mesh.core.world import Person, of_the_future

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")
PACE = Pace()
DAY_S = 24 * 3600.0


@pytest.fixture
def ledger() -> Ledger:
    """Anna's community, with Ben and Cleo."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, CLEO)
    return ledger


def feed_of(ledger: Ledger, person: Person, *, votes: bool = False) -> OwnFeed:
    """What somebody's feed holds."""
    return OwnFeed.of(ledger.entries, person.public, votes=votes)


def test_it_knows_what_was_said_in_it(ledger: Ledger) -> None:
    """By this key, and nobody else's."""
    mine = [BEN.receives(ledger, ANNA, 100), BEN.receives(ledger, CLEO, 200, period=4)]
    published = BEN.publishes(ledger, "tiny")
    CLEO.receives(ledger, BEN, 7)
    feed = feed_of(ledger, BEN)
    assert [(giver, period, amount.tokens) for giver, period, amount in feed.said] == [
        (ANNA.statement.node_id, 0, 100),
        (CLEO.statement.node_id, 4, 200),
    ]
    assert feed.said_bytes == sum(len(entry.raw) for entry in mine)
    assert feed.all_bytes == feed.said_bytes + len(published.raw)


def test_the_longest_entry_is_no_longer_than_is_thought(ledger: Ledger) -> None:
    """With the greatest numbers, and all it follows."""
    signature = counter_sign(ANNA.seed, ledger.community, BEN.public, MAX_PERIOD, MOST)
    body = Contribution(ANNA.public, MAX_PERIOD, MOST, signature)
    longest = write_entry(BEN.seed, ledger.community, Place(2**32 - 1, b"p" * 32, ()), body)
    assert len(longest.raw) <= ENTRY_BYTES
    for person in (ANNA, CLEO):
        ledger.add(of_the_future(person, ledger, 1, place=ledger.next_place(person.public)))
    assert len(BEN.signs(ledger, body).raw) <= feed_of(ledger, BEN).next_bytes


def test_the_wait_grows_and_a_quarter_is_never_passed(ledger: Ledger) -> None:
    """A day first, a year in the end, for an observer's twelve or thirteen."""
    waits = list[float]()
    while (wait_s := feed_of(ledger, BEN).wait_s(PACE)) is not None:
        waits.append(wait_s)
        BEN.receives(ledger, ANNA, 10_000, period=len(waits))
    assert waits[0] == DAY_S
    assert waits == sorted(waits)
    assert 12 <= len(waits) <= 13
    assert 2.5 * 365 * DAY_S < sum(waits) < 3 * 365 * DAY_S
    assert feed_of(ledger, BEN).said_bytes <= MAX_FEED_BYTES // PART


def test_who_votes_has_a_voters_room(ledger: Ledger) -> None:
    """Though waits grow there too."""
    for period in range(20):
        ANNA.receives(ledger, BEN, 10_000, period=period)
    assert feed_of(ledger, ANNA).wait_s(PACE) is None
    wait_s = feed_of(ledger, ANNA, votes=True).wait_s(PACE)
    assert wait_s is not None
    assert DAY_S < wait_s < 2 * DAY_S
    assert feed_of(ledger, ANNA, votes=True).most_bytes == MAX_VOTER_FEED_BYTES


def test_a_feed_that_is_full_takes_none(ledger: Ledger) -> None:
    """Of whatever it is full."""
    while len(ledger.entries) < 100:
        before = len(ledger.entries)
        BEN.publishes(ledger, f"model {before}")
        if len(ledger.entries) == before:
            break
    assert feed_of(ledger, BEN).said_bytes == 0
    assert feed_of(ledger, BEN).wait_s(PACE) is None
