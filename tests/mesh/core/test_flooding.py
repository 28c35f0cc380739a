"""Flooding: what is said anew is newer, what others say is believed once, and nobody can use up another's share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.announcements import Announcement, Stamp, Topic, announce
from mesh.core.flooding import (
    CHECKED_BURST,
    CHECKED_PER_S,
    FOREIGN_BURST,
    FOREIGN_PER_S,
    GATHER_S,
    NEIGHBOURS_HEARD,
    OWN_BURST,
    OWN_PER_S,
    Flood,
    Verdict,
)
from mesh.core.token_bucket import TokenBucket
from mesh.errors import CryptoError, MalformedError
from tests.mesh.core.world import Person

COMMUNITY = b"c" * 32
ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")


def said(who: Person, seq: int, *, boot: int = 1) -> Announcement:
    """Let somebody announce something."""
    return announce(who.seed, COMMUNITY, Topic.LINKS, Stamp(boot, seq), b"")


def judge(flood: Flood, one: Announcement, *, author: Person, sender: Person = CLEO, now: float = 0.0) -> Verdict:
    """Let a node judge what a neighbour passed on."""
    return flood.judge(one, sender=sender.raw_id, public=author.public, community=COMMUNITY, now=now)


def test_what_is_said_anew_is_newer() -> None:
    """Each topic counts for itself, and the next start begins above all of it."""
    flood = Flood(ANNA.raw_id, 1)
    stamps = [
        flood.say(ANNA.seed, COMMUNITY, topic, b"", now=0.0).stamp for topic in (Topic.LINKS, Topic.DEVICE, Topic.LINKS)
    ]
    assert stamps == [Stamp(1, 1), Stamp(1, 1), Stamp(1, 2)]
    flood.live_again(7)
    one = flood.say(ANNA.seed, COMMUNITY, Topic.LINKS, b"", now=0.0)
    assert one.stamp > Stamp(1, 2)
    assert flood.board.of(ANNA.raw_id, Topic.LINKS) == one
    with pytest.raises(MalformedError):
        flood.say(ANNA.seed, COMMUNITY, Topic.LINKS, bytes(2**16), now=0.0)


def test_news_is_news_until_it_is_known() -> None:
    """It is judged again and again until it is on the board."""
    flood = Flood(ANNA.raw_id, 1)
    one = said(BEN, 5)
    assert judge(flood, one, author=BEN) is Verdict.NEWS
    assert judge(flood, one, author=BEN) is Verdict.NEWS
    flood.board.take(one, now=0.0)
    assert judge(flood, one, author=BEN) is Verdict.KNOWN
    assert judge(flood, said(BEN, 4), author=BEN) is Verdict.KNOWN
    assert judge(flood, said(BEN, 6), author=BEN) is Verdict.NEWS


def test_an_own_announcement_of_another_life_is_told_apart() -> None:
    """Of a restored backup or a clone; what this life has said itself comes back all the time."""
    flood = Flood(ANNA.raw_id, 2)
    own = flood.say(ANNA.seed, COMMUNITY, Topic.LINKS, b"", now=0.0)
    assert judge(flood, own, author=ANNA) is Verdict.KNOWN
    assert judge(flood, said(ANNA, 9, boot=1), author=ANNA) is Verdict.KNOWN
    assert judge(flood, said(ANNA, 2, boot=2), author=ANNA) is Verdict.OF_ANOTHER_LIFE
    with pytest.raises(CryptoError):
        judge(flood, said(ANNA, 2, boot=2), author=BEN)


def test_forgeries_use_up_their_senders_share_alone() -> None:
    """They are refused, then not even looked at; the author is heard over anybody else."""
    flood = Flood(ANNA.raw_id, 1)
    forged = said(BEN, 1)
    for _ in range(int(CHECKED_BURST)):
        with pytest.raises(CryptoError):
            judge(flood, forged, author=CLEO)
    assert judge(flood, said(BEN, 2), author=BEN) is Verdict.TOO_MANY
    assert judge(flood, said(BEN, 2), author=BEN, sender=BEN) is Verdict.NEWS
    assert judge(flood, said(BEN, 2), author=BEN, now=1 / CHECKED_PER_S) is Verdict.NEWS


def test_an_author_is_not_heard_more_often_than_it_may_speak() -> None:
    """Twice its pace and four bursts over each neighbour; others are heard meanwhile."""
    flood = Flood(ANNA.raw_id, 1)
    for seq in range(int(FOREIGN_BURST)):
        assert judge(flood, said(BEN, 1 + seq), author=BEN) is Verdict.NEWS
    assert judge(flood, said(BEN, 99), author=BEN) is Verdict.TOO_MANY
    assert judge(flood, said(CLEO, 1), author=CLEO) is Verdict.NEWS
    assert judge(flood, said(BEN, 99), author=BEN, now=1 / FOREIGN_PER_S) is Verdict.NEWS


def test_who_repeats_what_an_author_once_said_does_not_silence_it() -> None:
    """To a node that has just started, and knows no newer: the author, or whoever is honest, is heard all the same."""
    flood = Flood(ANNA.raw_id, 1)
    for seq in range(2 * int(FOREIGN_BURST)):
        one = said(BEN, 1 + seq)
        if judge(flood, one, author=BEN, sender=CLEO) is Verdict.NEWS:
            flood.board.take(one, now=0.0)
    assert judge(flood, said(BEN, 200), author=BEN, sender=CLEO) is Verdict.TOO_MANY
    assert judge(flood, said(BEN, 1, boot=2), author=BEN, sender=BEN) is Verdict.NEWS


def test_who_tells_each_neighbour_something_else_is_not_heard_over_all() -> None:
    """Four shares of one neighbour are the most for one author."""
    flood = Flood(ANNA.raw_id, 1)
    verdicts = [
        judge(flood, said(BEN, 1 + seq), author=BEN, sender=Person(f"neighbour {seq % 12}"))
        for seq in range(12 * int(FOREIGN_BURST))
    ]
    assert verdicts.count(Verdict.NEWS) == NEIGHBOURS_HEARD * FOREIGN_BURST
    assert judge(flood, said(CLEO, 1), author=CLEO) is Verdict.NEWS


def test_a_node_paces_itself() -> None:
    """Changes are told at once until there are many; a burst of its own is within what others take."""
    flood = Flood(ANNA.raw_id, 1)
    pauses = [flood.pause_s(Topic.LINKS, now=0.0) for _ in range(12)]
    assert pauses == [GATHER_S] * int(OWN_BURST) + [1 / OWN_PER_S] * 2
    assert flood.pause_s(Topic.DEVICE, now=0.0) == GATHER_S
    assert flood.pause_s(Topic.LINKS, now=1 / OWN_PER_S) == GATHER_S


def test_nothing_is_kept_of_strangers() -> None:
    """Neither announcements nor how often they were heard."""
    flood = Flood(ANNA.raw_id, 1)
    one = said(BEN, 1)
    judge(flood, one, author=BEN)
    flood.board.take(one, now=0.0)
    assert not flood.prune(now=0.0, is_member=lambda _: True)
    assert flood.prune(now=0.0, is_member=lambda raw_id: raw_id == ANNA.raw_id)
    assert not flood._authors
    assert not flood._totals
    assert not flood._senders


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20)), max_size=60),
    st.floats(0.1, 10),
    st.none() | st.floats(1, 20),
)
def test_a_bucket_gives_no_more_than_its_rate(
    takes: list[tuple[float, float]], per_second: float, burst: float | None
) -> None:
    """Over any time: what it held at first and what came in since."""
    bucket, now, given_out = TokenBucket(per_second, burst), 100.0, 0.0
    most = max(1.0, 10 * per_second) if burst is None else burst
    began = now
    for pause_s, amount in takes:
        now += pause_s
        if bucket.take(amount, now=now):
            given_out += amount
        assert given_out <= most + (now - began) * per_second + 1e-6
    assert bucket.take(most, now=now + most / per_second + 1e-6)


def test_what_is_given_back_can_be_used_again() -> None:
    """Never more than the bucket holds."""
    bucket = TokenBucket(1.0, 4.0)
    assert bucket.take(4.0, now=0.0)
    bucket.give_back(3.0)
    assert not bucket.take(4.0, now=0.0)
    assert bucket.take(3.0, now=0.0)
    bucket.give_back(10.0)
    assert not bucket.take(5.0, now=0.0)
    assert bucket.take(4.0, now=0.0)
