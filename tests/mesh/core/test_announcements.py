"""Announcements: the newest of each author and topic wins in any order, and what is forged counts for nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec, crypto
from mesh.core.announcements import (
    EXPIRE_S,
    MAX_ANNOUNCEMENT_BYTES,
    MAX_BODY_BYTES,
    MAX_BOOT,
    MAX_SEQ,
    VERSION,
    Announcement,
    Board,
    Head,
    Stamp,
    Topic,
    announce,
)
from mesh.errors import CryptoError, MalformedError
from tests.mesh.core.world import Person

COMMUNITY, ELSEWHERE = b"c" * 32, b"e" * 32
PEOPLE = [Person(name) for name in ("Anna", "Ben", "Cleo")]
ANNA, BEN, CLEO = PEOPLE
SAID = {
    (who, topic, boot, seq): announce(
        PEOPLE[who].seed, COMMUNITY, topic, Stamp(boot, seq), bytes([who, topic, boot, seq])
    )
    for who in range(3)
    for topic in Topic
    for boot in (1, 2)
    for seq in (1, 2, 3)
}
SOME = st.lists(st.sampled_from(sorted(SAID)), max_size=30)


def everyone(_raw_id: bytes) -> bool:
    """Take anybody for a member."""
    return True


def newest(board: Board) -> dict[tuple[bytes, Topic], Stamp]:
    """Name what a board holds."""
    return {(one.author, one.topic): one.stamp for one in board.held}


@given(SOME)
def test_the_newest_wins_in_any_order(order: list[tuple[int, Topic, int, int]]) -> None:
    """A board is the maximum of what it was given, of each author and topic; repetition changes nothing."""
    board = Board()
    seen: dict[tuple[bytes, Topic], Stamp] = {}
    for name in order:
        one = SAID[name]
        key = (one.author, one.topic)
        is_news = key not in seen or one.stamp > seen[key]
        assert board.is_news(one.head) == is_news
        assert board.take(one, now=0.0) == is_news
        seen[key] = max(one.stamp, seen.get(key, one.stamp))
    assert newest(board) == seen
    assert {head.stamp for head in board.heads()} == set(seen.values())
    for person in PEOPLE:
        for topic in Topic:
            found = board.of(person.raw_id, topic)
            assert (found and found.stamp) == seen.get((person.raw_id, topic))
            assert board.about(topic).get(person.raw_id) == found


@given(SOME, SOME)
def test_two_boards_become_one(
    here: list[tuple[int, Topic, int, int]], there: list[tuple[int, Topic, int, int]]
) -> None:
    """Each sends what the other's summary lacks, once, and both hold the same."""
    one, two = Board(), Board()
    for board, names in ((one, here), (two, there)):
        for name in names:
            board.take(SAID[name], now=0.0)
    to_one, to_two = two.missing_at(one.heads()), one.missing_at(two.heads())
    assert all(one.take(announcement, now=0.0) for announcement in to_one)
    assert all(two.take(announcement, now=0.0) for announcement in to_two)
    assert newest(one) == newest(two)
    assert one.missing_at(two.heads()) == []


def test_what_has_expired_does_not_come_back() -> None:
    """Others may hold it a little longer; only something newer is heard again."""
    board = Board()
    board.take(SAID[0, Topic.LINKS, 1, 2], now=0.0)
    assert not board.prune(now=EXPIRE_S, is_member=everyone)
    assert board.prune(now=EXPIRE_S + 1, is_member=everyone)
    assert not [*board.held]
    assert not board.take(SAID[0, Topic.LINKS, 1, 1], now=EXPIRE_S + 1)
    assert not board.take(SAID[0, Topic.LINKS, 1, 2], now=EXPIRE_S + 1)
    assert board.take(SAID[0, Topic.LINKS, 2, 1], now=EXPIRE_S + 1)


def test_whoever_is_heard_again_in_time_does_not_expire() -> None:
    """The age counts from the newest."""
    board = Board()
    board.take(SAID[0, Topic.LINKS, 1, 1], now=0.0)
    board.take(SAID[0, Topic.LINKS, 1, 2], now=EXPIRE_S)
    assert not board.prune(now=2 * EXPIRE_S, is_member=everyone)
    assert board.of(ANNA.raw_id, Topic.LINKS) == SAID[0, Topic.LINKS, 1, 2]


def test_nothing_is_kept_of_who_is_a_member_no_more() -> None:
    """Neither announcements nor stamps: the board is bounded by the members."""
    board = Board()
    for one in SAID.values():
        board.take(one, now=0.0)
    assert board.prune(now=0.0, is_member=lambda raw_id: raw_id == BEN.raw_id)
    assert {one.author for one in board.held} == {BEN.raw_id}
    assert {author for author, _ in board._stamps} == {BEN.raw_id}


@given(
    st.sampled_from(Topic),
    st.integers(0, MAX_BOOT),
    st.integers(0, MAX_SEQ),
    st.binary(max_size=200),
)
def test_announcements_survive_the_wire(topic: Topic, boot: int, seq: int, body: bytes) -> None:
    """What was announced comes out, and its author made it."""
    one = announce(ANNA.seed, COMMUNITY, topic, Stamp(boot, seq), body)
    parsed = Announcement.parse(one.raw)
    assert parsed == one
    assert parsed.author == ANNA.raw_id
    parsed.verify(ANNA.public, COMMUNITY)
    assert Head.parse(parsed.head.to_item()) == one.head


def test_the_largest_body_fits() -> None:
    """The overhead set aside is enough for the longest fields, and a longer body is refused."""
    one = announce(ANNA.seed, COMMUNITY, Topic.DEVICE, Stamp(MAX_BOOT, MAX_SEQ), bytes(MAX_BODY_BYTES))
    assert len(one.raw) <= MAX_ANNOUNCEMENT_BYTES
    assert Announcement.parse(one.raw) == one
    with pytest.raises(MalformedError, match="at most"):
        announce(ANNA.seed, COMMUNITY, Topic.DEVICE, Stamp(1, 1), bytes(MAX_BODY_BYTES + 1))


def test_an_announcement_counts_in_its_own_community_alone() -> None:
    """What a member of two communities said in one cannot be played back in the other."""
    one = SAID[0, Topic.LINKS, 1, 1]
    with pytest.raises(CryptoError):
        one.verify(ANNA.public, ELSEWHERE)


def test_nobody_speaks_for_another() -> None:
    """Neither with the own signature, nor with another one's on other words."""
    one = SAID[0, Topic.LINKS, 1, 1]
    with pytest.raises(CryptoError):
        one.verify(BEN.public, COMMUNITY)
    payload = codec.encode([VERSION, ANNA.raw_id, Topic.LINKS, 9, 9, b"forged"])
    borrowed = Announcement.parse(payload + one.raw[-crypto.SIGNATURE_BYTES :])
    with pytest.raises(CryptoError):
        borrowed.verify(ANNA.public, COMMUNITY)


@given(st.integers(0), st.integers(0, 7))
def test_an_altered_announcement_is_refused(place: int, bit: int) -> None:
    """Whichever bit is turned: it is not an announcement any more, or not its author's."""
    data = bytearray(SAID[0, Topic.LINKS, 1, 1].raw)
    data[place % len(data)] ^= 1 << bit
    with pytest.raises((MalformedError, CryptoError)):
        Announcement.parse(bytes(data)).verify(ANNA.public, COMMUNITY)


@given(st.integers(0, len(SAID[0, Topic.LINKS, 1, 1].raw) - 1))
def test_a_truncated_announcement_is_refused(size: int) -> None:
    """Wherever it was cut."""
    with pytest.raises((MalformedError, CryptoError)):
        Announcement.parse(SAID[0, Topic.LINKS, 1, 1].raw[:size]).verify(ANNA.public, COMMUNITY)


GOOD: list[codec.Item] = [VERSION, ANNA.raw_id, 0, 1, 1, b""]
BAD: dict[int, list[codec.Item]] = {
    0: [VERSION + 1, None, True],
    1: [b"short", 7],
    2: [-1, max(Topic) + 1, "0"],
    3: [-1, MAX_BOOT + 1, b""],
    4: [-1, MAX_SEQ + 1, None],
    5: [None, "text", []],
}


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, bad in BAD.items() for value in bad])
def test_announcements_of_another_shape_are_malformed(place: int, value: codec.Item) -> None:
    """Each field has one type and range."""
    fields = [*GOOD]
    fields[place] = value
    with pytest.raises(MalformedError):
        Announcement.parse(codec.encode(fields) + bytes(64))


@pytest.mark.parametrize("item", [None, [], [ANNA.raw_id, 0, 1], [b"x", 0, 1, 1], [ANNA.raw_id, 9, 1, 1]])
def test_heads_of_another_shape_are_malformed(item: codec.Item) -> None:
    """A summary holds whole heads."""
    with pytest.raises(MalformedError):
        Head.parse(item)


def test_an_announcement_has_a_largest_size() -> None:
    """It is not even looked at."""
    with pytest.raises(MalformedError, match="bytes"):
        Announcement.parse(bytes(MAX_ANNOUNCEMENT_BYTES + 1))
