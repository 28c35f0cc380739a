"""Streams: whatever happens to frames and to both ends, messages come once, in order, and all that have the time."""

import math

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mesh.core import codec
from mesh.core.envelope import MAX_PLACE, Envelope, StreamPlace
from mesh.core.streams import (
    FIRST_TIMEOUT_S,
    MAX_ACK_BYTES,
    MAX_AHEAD,
    MAX_AHEAD_BYTES,
    MAX_PAST_STREAMS,
    MAX_SEQ,
    MAX_TIMEOUT_S,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    MIN_TIMEOUT_S,
    WINDOW,
    WINDOW_BYTES,
    Ack,
    ReceiveStream,
    SendStream,
)
from mesh.errors import MalformedError, QueueFullError

LONG_S = 10_000.0
STREAM = b"s" * 8


def message(number: int, *, ttl_s: float = LONG_S, size: int = 0) -> Envelope:
    """Make a message that can be told from others."""
    return Envelope(17, number.to_bytes(16, "big"), None, round(ttl_s * 1000), bytes(size))


def number_of(envelope: Envelope) -> int:
    """Tell which message it is."""
    return int.from_bytes(envelope.message_id, "big")


def acknowledged(sending: SendStream, receiving: ReceiveStream, *, now: float) -> None:
    """Let the sender hear what has arrived."""
    fields = receiving.acknowledgement()
    assert fields is not None
    ack = Ack.parse(codec.encode([*fields]))
    sending.acknowledged(ack.next, ack.beyond, now=now)


def handed_on(sending: SendStream, *, now: float) -> list[Envelope]:
    """Take everything that is due."""
    due = sending.due(now=now)
    for envelope in due:
        sending.sent(envelope, now=now)
    return due


class Wire:
    """Both ends and a wire that does to frames what the schedule says; ends that restart forget everything."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lives = [0, 0]  # of the sender, of the receiver
        self.sending = SendStream(bytes(8))
        self.receiving = ReceiveStream()
        self.frames: list[tuple[int, Envelope]] = []  # with the receiver's life they were sealed for
        self.acks: list[tuple[int, Ack]] = []  # with the sender's life
        self.count = 0
        self.put: dict[int, tuple[int, float]] = {}  # number: the sender's life, and when it expires
        self.handed: dict[tuple[int, int], list[int]] = {}  # in each pair of lives
        self.kept: set[int] = set()  # handed over to whichever life of the receiver

    def step(self, what: str, number: int) -> None:
        """Let one thing happen."""
        if what == "put":
            ttl_s = LONG_S if number % 4 else 1.0 + number % 3
            self.sending.put(message(self.count, ttl_s=ttl_s, size=number), now=self.now)
            self.put[self.count] = (self.lives[0], self.now + ttl_s)
            self.count += 1
        elif what == "wait":
            self.now += number / 10
        elif what == "send":
            self.frames += [(self.lives[1], envelope) for envelope in handed_on(self.sending, now=self.now)]
        elif what == "path":
            self.sending.hurry(now=self.now)
        elif what == "fail":
            for envelope in self.sending.due(now=self.now)[: number % 5]:
                self.sending.postpone(envelope, until=self.now + 0.25)
        elif what == "restart sender":
            self.lives[0] += 1
            self.sending = SendStream(self.lives[0].to_bytes(8, "big"))
        elif what == "restart receiver":
            self.lives[1] += 1
            self.receiving = ReceiveStream()
        else:
            self.wire(what, number)
        assert len(self.sending._waiting) <= MAX_WAITING

    def wire(self, what: str, number: int) -> None:
        """Let something happen to what is on the way."""
        queue: list[tuple[int, Envelope]] | list[tuple[int, Ack]] = self.acks if "ack" in what else self.frames
        if not queue:
            return
        place = number % len(queue)
        if what == "lose":
            del queue[place]
        elif what == "arrive":
            self.arrive(*self.frames.pop(place))
        elif what == "arrive twice":
            self.arrive(*self.frames[place])
        elif what == "ack arrives":
            self.hear(*self.acks.pop(place))
        elif what == "ack arrives twice":
            self.hear(*self.acks[place])
        else:
            del self.acks[place]

    def arrive(self, life: int, envelope: Envelope) -> None:
        """Let a frame arrive, if the receiver it was sealed for still lives."""
        if life != self.lives[1]:
            return
        for one in self.receiving.receive(envelope):
            number = number_of(one)
            self.handed.setdefault((self.put[number][0], life), []).append(number)
            self.kept.add(number)
        current = self.receiving._current
        assert current is not None
        assert len(current.ahead) <= MAX_AHEAD
        assert current.ahead_bytes == sum(len(one.body) for one in current.ahead.values())
        fields = self.receiving.acknowledgement()
        assert fields is not None
        self.acks.append((self.lives[0], Ack.parse(codec.encode([*fields]))))

    def hear(self, life: int, ack: Ack) -> None:
        """Let an acknowledgement arrive where it belongs."""
        if life == self.lives[0] and ack.stream == self.sending.stream:
            self.sending.acknowledged(ack.next, ack.beyond, now=self.now)

    def good(self) -> None:
        """Let everything through until nothing waits any more."""
        self.frames.clear()
        self.acks.clear()
        for _ in range(400):
            if self.sending.is_idle:
                return
            next_due = self.sending.next_due()
            assert next_due is not None
            self.now = max(self.now, next_due)
            self.step("send", 0)
            while self.frames:
                self.step("arrive", 0)
            while self.acks:
                self.step("ack arrives", 0)
        raise AssertionError("the stream does not come to an end")


KINDS = ["put"] * 4 + ["send"] * 3 + ["arrive"] * 4 + ["ack arrives"] * 2
KINDS += ["wait", "lose", "arrive twice", "ack arrives twice", "ack is lost", "path", "fail"]
STEPS = st.tuples(st.sampled_from(KINDS), st.integers(0, 40))
RESTARTS = st.tuples(st.sampled_from([*KINDS, "restart sender", "restart receiver"]), st.integers(0, 40))


def check(wire: Wire) -> None:
    """Each life of the receiver had each life of the sender's messages at most once, in order."""
    for numbers in wire.handed.values():
        assert numbers == sorted(set(numbers))


@settings(max_examples=200)
@given(st.lists(STEPS, max_size=120))
def test_messages_come_once_in_order_and_all_of_them(steps: list[tuple[str, int]]) -> None:
    """Whatever was lost, doubled or overtaken: once the path is good, all that have not expired come."""
    wire = Wire()
    for what, number in steps:
        wire.step(what, number)
    began = wire.now
    wire.good()
    check(wire)
    in_time = {number for number, (_, expires_at) in wire.put.items() if expires_at > began + MAX_TIMEOUT_S}
    event("some expired" if len(in_time) < wire.count else "none expired")
    assert in_time <= wire.kept
    assert wire.sending._bytes == 0
    assert wire.sending.next_due() is None


@settings(max_examples=200)
@given(st.lists(RESTARTS, max_size=120))
def test_restarts_of_either_end_lose_nothing_that_waits(steps: list[tuple[str, int]]) -> None:
    """The life of the sender that is left gets everything through, to the receiver that is left or one before it."""
    wire = Wire()
    for what, number in steps:
        wire.step(what, number)
    began = wire.now
    wire.good()
    check(wire)
    in_time = {
        number
        for number, (life, expires_at) in wire.put.items()
        if life == wire.lives[0] and expires_at > began + MAX_TIMEOUT_S
    }
    assert in_time <= wire.kept


def test_an_expired_message_is_skipped_at_once() -> None:
    """What waits behind it at the receiver is handed over although nothing new is sent."""
    sending, receiving = SendStream(STREAM), ReceiveStream()
    sending.put(message(0, ttl_s=1.0), now=0.0)
    sending.put(message(1), now=0.0)
    _lost, second = handed_on(sending, now=0.0)
    assert receiving.receive(second) == []
    acknowledged(sending, receiving, now=0.1)
    assert [number_of(one) for one in sending.due(now=0.9)] == [0]
    assert sending.next_due() is not None
    [again] = handed_on(sending, now=1.0)
    assert [number_of(one) for one in receiving.receive(again)] == [1]
    acknowledged(sending, receiving, now=1.1)
    assert sending.is_idle


def test_what_arrived_out_of_turn_and_expired_comes_before_what_is_newer() -> None:
    """The sender has given up both it and what was before it; it is here, and still in order."""
    sending, receiving = SendStream(STREAM), ReceiveStream()
    for number in range(2):
        sending.put(message(number, ttl_s=1.0), now=0.0)
    _lost, second = handed_on(sending, now=0.0)
    assert receiving.receive(second) == []
    sending.put(message(2), now=1.0)
    [third] = handed_on(sending, now=1.0)
    assert [number_of(one) for one in receiving.receive(third)] == [1, 2]
    assert receiving.receive(second) == []


def test_what_arrived_out_of_turn_is_not_sent_again() -> None:
    """Only what is missing is."""
    sending, receiving = SendStream(STREAM), ReceiveStream()
    for number in range(WINDOW + 10):
        sending.put(message(number), now=0.0)
    first = handed_on(sending, now=0.0)
    assert len(first) == WINDOW
    for envelope in first[1:]:
        assert receiving.receive(envelope) == []
    acknowledged(sending, receiving, now=0.1)
    [missing] = handed_on(sending, now=MAX_TIMEOUT_S)
    assert [number_of(one) for one in receiving.receive(missing)] == [*range(WINDOW)]
    acknowledged(sending, receiving, now=MAX_TIMEOUT_S)
    assert len(handed_on(sending, now=MAX_TIMEOUT_S)) == 10


def test_what_a_receiver_forgot_is_sent_again() -> None:
    """It had taken a message out of turn, and said so, when it started anew."""
    sending, receiving = SendStream(STREAM), ReceiveStream()
    for number in range(3):
        sending.put(message(number), now=0.0)
    first, _, third = handed_on(sending, now=0.0)
    receiving.receive(third)
    acknowledged(sending, receiving, now=0.1)
    receiving = ReceiveStream()
    receiving.receive(first)
    acknowledged(sending, receiving, now=0.2)
    rest = handed_on(sending, now=MAX_TIMEOUT_S)
    assert [number_of(one) for each in rest for one in receiving.receive(each)] == [1, 2]


def test_a_stream_has_a_most_of_messages() -> None:
    """One more is refused, and taken when there is room."""
    sending = SendStream(STREAM)
    for number in range(MAX_WAITING):
        sending.put(message(number), now=0.0)
    with pytest.raises(QueueFullError):
        sending.put(message(MAX_WAITING), now=0.0)
    sending.acknowledged(1, (), now=0.0)
    sending.put(message(MAX_WAITING), now=0.0)


def test_a_stream_has_a_most_of_bytes_and_takes_any_single_message() -> None:
    """What is waiting is counted, whatever its size."""
    sending = SendStream(STREAM)
    sending.put(message(0, size=MAX_WAITING_BYTES + 1), now=0.0)
    assert sending._bytes == MAX_WAITING_BYTES + 1
    with pytest.raises(QueueFullError):
        sending.put(message(1, size=1), now=0.0)
    assert len(handed_on(sending, now=0.0)) == 1
    sending.acknowledged(1, (), now=0.0)
    assert sending._bytes == 0


@given(st.lists(st.integers(0, WINDOW_BYTES), min_size=1, max_size=40))
def test_no_more_is_on_the_way_than_the_window(sizes: list[int]) -> None:
    """A window of bytes, or one message that is larger; the receiver can keep all of it."""
    sending, receiving = SendStream(STREAM), ReceiveStream()
    for number, size in enumerate(sizes):
        if sending._bytes + size <= MAX_WAITING_BYTES:
            sending.put(message(number, size=size), now=0.0)
    due = handed_on(sending, now=0.0)
    assert len(due) == 1 or sum(len(one.body) for one in due) <= WINDOW_BYTES
    for envelope in due[1:]:
        assert receiving.receive(envelope) == []
    assert len(receiving.receive(due[0])) == len(due)


def test_a_receiver_keeps_no_more_ahead_than_its_bound() -> None:
    """A sender that ignores the window is not followed; the message that is next is always taken."""
    receiving = ReceiveStream()
    size = MAX_AHEAD_BYTES // 3
    for seq in range(1, 10):
        place = StreamPlace(STREAM, seq, 0)
        assert receiving.receive(Envelope(17, bytes(16), None, 0, bytes(size), place)) == []
    current = receiving._current
    assert current is not None
    assert current.ahead_bytes <= MAX_AHEAD_BYTES
    assert receiving.receive(Envelope(17, bytes(16), None, 0, b"", StreamPlace(STREAM, MAX_AHEAD, 0))) == []
    assert len(receiving.receive(Envelope(17, bytes(16), None, 0, bytes(size), StreamPlace(STREAM, 0, 0)))) == 4
    assert MAX_AHEAD not in current.ahead


PLACES = st.builds(
    StreamPlace,
    st.sampled_from([bytes([n]) * 8 for n in range(12)]),
    st.integers(0, 200) | st.integers(0, MAX_PLACE),
    st.integers(0, 200) | st.integers(0, MAX_PLACE),
)


@given(st.lists(PLACES, max_size=60))
def test_a_hostile_sender_harms_nobody_else(places: list[StreamPlace]) -> None:
    """Whatever places it makes up, what is kept for it is bounded, and an acknowledgement fits its frame."""
    receiving = ReceiveStream()
    for place in places:
        try:
            receiving.receive(Envelope(17, bytes(16), None, 0, b"x", place))
        except MalformedError:
            assert place.base > place.seq
        fields = receiving.acknowledgement()
        assert fields is None or len(codec.encode([*fields])) <= MAX_ACK_BYTES
        assert len(receiving._past) <= MAX_PAST_STREAMS
        assert not any(past.ahead or past.ahead_bytes for past in receiving._past.values())
        assert receiving._current is None or len(receiving._current.ahead) <= MAX_AHEAD


ACKS = st.tuples(
    st.integers(0, 100) | st.integers(0, MAX_SEQ),
    st.frozensets(st.integers(0, 100) | st.integers(0, MAX_SEQ), max_size=MAX_AHEAD),
    st.floats(0, 5),
)


@given(st.lists(ACKS, max_size=30))
def test_hostile_acknowledgements_harm_their_own_stream_alone(acks: list[tuple[int, frozenset[int], float]]) -> None:
    """They can make this node forget what was for their author; the account stays right and the timeouts bounded."""
    mine, other = SendStream(STREAM), SendStream(b"o" * 8)
    for number in range(100):
        mine.put(message(number, size=number), now=0.0)
        other.put(message(number, size=number), now=0.0)
    now = 0.0
    for before, beyond, pause_s in acks:
        now += pause_s
        handed_on(mine, now=now)
        mine.acknowledged(before, beyond, now=now)
        assert mine._bytes == sum(one.size for one in mine._waiting.values())
        assert MIN_TIMEOUT_S <= mine._timeout_s() <= MAX_TIMEOUT_S
    assert [number_of(one) for one in other.due(now=0.0)] == [*range(WINDOW)]


def test_timeouts_follow_the_path() -> None:
    """They begin at half a second, follow what was measured, and double without an acknowledgement."""
    sending = SendStream(STREAM)
    sending.put(message(0), now=0.0)
    handed_on(sending, now=0.0)
    assert sending.next_due() == FIRST_TIMEOUT_S
    sending.acknowledged(1, (), now=0.004)
    sending.put(message(1), now=1.0)
    sending.acknowledged(1, (), now=1.0)
    now = 1.0
    for timeout_s in (MIN_TIMEOUT_S, 0.4, 0.8, 1.6, MAX_TIMEOUT_S, MAX_TIMEOUT_S):
        assert len(handed_on(sending, now=now)) == 1
        next_due = sending.next_due()
        assert next_due is not None
        assert next_due - now == pytest.approx(timeout_s)
        now = next_due
    sending.acknowledged(2, (), now=now)
    assert sending._timeout_s() == MIN_TIMEOUT_S  # who was sent twice has not been measured
    sending.put(message(2), now=now)
    handed_on(sending, now=now)
    sending.acknowledged(3, (), now=now + 1)
    assert sending._timeout_s() > MIN_TIMEOUT_S


def test_a_message_is_sent_for_as_long_as_it_lives() -> None:
    """Days of it; the pause stays the longest."""
    sending = SendStream(STREAM)
    sending.put(message(0, ttl_s=3600 * 24), now=0.0)
    now, times = 0.0, 0
    while handed_on(sending, now=now):
        times += 1
        next_due = sending.next_due()
        assert next_due is not None
        assert next_due - now <= MAX_TIMEOUT_S
        now = next_due
    assert now == 3600 * 24
    assert times == pytest.approx(3600 * 24 / MAX_TIMEOUT_S, rel=0.01)


def test_a_new_path_makes_everything_due() -> None:
    """And the first copy over it is not taken for a second try."""
    sending = SendStream(STREAM)
    sending.put(message(0), now=0.0)
    assert not sending.is_retried(sending.due(now=0.0)[0])
    [sent] = handed_on(sending, now=0.0)
    assert sending.due(now=0.1) == []
    assert sending.is_retried(sent)
    sending.hurry(now=0.1)
    assert not sending.is_retried(sent)
    assert sending.is_repeated(sent)
    assert len(handed_on(sending, now=0.1)) == 1


def test_without_a_path_a_message_waits() -> None:
    """Until then it is not due; what is not of this stream changes nothing."""
    sending = SendStream(STREAM)
    sending.put(message(0), now=0.0)
    [due] = sending.due(now=0.0)
    sending.postpone(due, until=0.25)
    assert sending.next_due() == 0.25
    for foreign in (message(0), Envelope(17, bytes(16), None, 0, b"", StreamPlace(STREAM, 9, 0))):
        sending.postpone(foreign, until=math.inf)
        sending.sent(foreign, now=0.0)
        assert not sending.is_retried(foreign)
        assert not sending.is_repeated(foreign)
    assert sending.next_due() == 0.25


def test_the_first_message_of_an_earlier_life_comes_last() -> None:
    """A relay held it back until the sender's next life had begun: that one is heard on, and nothing comes twice."""
    earlier, later, receiving = SendStream(b"e" * 8), SendStream(b"l" * 8), ReceiveStream()
    earlier.put(message(0), now=0.0)
    [held_back] = handed_on(earlier, now=0.0)
    for number in range(1, 4):
        later.put(message(number), now=1.0)
    first, second, third = handed_on(later, now=1.0)
    assert [number_of(one) for one in receiving.receive(first)] == [1]
    assert receiving.receive(third) == []
    assert [number_of(one) for one in receiving.receive(held_back)] == [0]
    assert receiving.receive(held_back) == []
    assert [number_of(one) for one in receiving.receive(second)] == [2]
    acknowledged(later, receiving, now=1.1)
    [again] = handed_on(later, now=5.0)
    assert [number_of(one) for one in receiving.receive(again)] == [3]
    assert receiving.receive(first) == []
    acknowledged(later, receiving, now=5.1)
    assert later.is_idle


def test_a_message_without_a_place_is_malformed() -> None:
    """As is one that says it may not come any more."""
    receiving = ReceiveStream()
    assert receiving.acknowledgement() is None
    for place in (None, StreamPlace(STREAM, 1, 2)):
        with pytest.raises(MalformedError):
            receiving.receive(Envelope(17, bytes(16), None, 0, b"", place))


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [STREAM, 0],
        [b"short", 0, []],
        [STREAM, -1, []],
        [STREAM, MAX_SEQ + 1, []],
        [STREAM, 0, [-1]],
        [STREAM, 0, [0] * (MAX_AHEAD + 1)],
        [STREAM, 0, None],
    ],
)
def test_acknowledgements_of_another_shape_are_malformed(fields: list[codec.Item]) -> None:
    """Each field has one type and range."""
    with pytest.raises(MalformedError):
        Ack.parse(codec.encode(fields))


def test_a_receiver_remembers_so_many_lives_of_a_peer() -> None:
    """One that was forgotten begins anew; one that is remembered goes on where it was."""
    receiving = ReceiveStream()
    lives = [bytes([number]) * 8 for number in range(MAX_PAST_STREAMS + 2)]
    for life in lives:
        assert len(receiving.receive(Envelope(17, bytes(16), None, 0, b"", StreamPlace(life, 0, 0)))) == 1
    assert len(receiving._past) == MAX_PAST_STREAMS
    assert receiving.receive(Envelope(17, bytes(16), None, 0, b"", StreamPlace(lives[1], 0, 0))) == []
    assert len(receiving.receive(Envelope(17, bytes(16), None, 0, b"", StreamPlace(lives[0], 0, 0)))) == 1
