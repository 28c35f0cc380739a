"""A lane gets its session however the frames cross, and nothing a stranger or an echo sends can move it."""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec
from mesh.core.epochs import EpochKey, KeyRing
from mesh.core.frames import CATCH_UP_KEY, HEADER_BYTES, Frame, FrameType, Header, Lane
from mesh.core.lane import (
    HANDSHAKE_TIMEOUT_S,
    MAX_KEY_IDS,
    MAX_SESSIONS,
    PROLOGUE,
    TRANSITIONS,
    Answer,
    Ends,
    Established,
    Event,
    LaneSessions,
    Opened,
    Saw,
    State,
    Stranded,
)
from mesh.core.noise import Handshake, Pattern
from mesh.core.session import EXPIRE_AFTER_S, REKEY_AFTER_S
from mesh.errors import LinkDownError, MalformedError, PeerMisbehavedError
from tests.mesh.core.world import Person

COMMUNITY = b"c" * 32
LOWER, HIGHER = sorted((Person("ada"), Person("ben")), key=lambda person: person.raw_id)
STRANGER = Person("eve")


def key(number: int = 0, generation: int = 1, name: bytes = b"k") -> EpochKey:
    """Make an epoch key from its name."""
    return EpochKey(number, generation, name.ljust(16, b"."), hashlib.sha256(name).digest())


RING = KeyRing(0, (key(),))


class End:
    """One end of the lane, with its own fresh numbers and what it has received."""

    def __init__(self, me: Person, peer: Person, ring: KeyRing = RING, *, static: bytes | None = None) -> None:
        ends = Ends(
            me.raw_id, peer.raw_id, static or me.static_secret, remote_static=peer.statement.static, community=COMMUNITY
        )
        self.lane = LaneSessions(ends, Lane.CTL)
        self.ring = ring
        self.now = 0.0
        self.received: list[bytes] = []
        self.events: list[Event] = []
        self._fresh = (hashlib.sha256(me.raw_id + bytes([n])).digest() for n in itertools.cycle(range(256)))

    def begin(self) -> bytes:
        """Begin a handshake."""
        index, ephemeral = self.fresh()
        return self.lane.begin(self.ring, now=self.now, index=index, ephemeral=ephemeral)

    def take(self, data: bytes) -> list[bytes]:
        """Receive one frame; return the frames it calls for."""
        index, ephemeral = self.fresh()
        events = self.lane.receive(Frame.parse(data), self.ring, now=self.now, index=index, ephemeral=ephemeral)
        self.events += events
        out = []
        for event in events:
            match event:
                case Answer(frame):
                    out.append(frame)
                case Established(confirm) if confirm is not None:
                    out.append(confirm(b"confirm"))
                case Opened(plaintext):
                    self.received.append(plaintext)
        return out

    def fresh(self) -> tuple[int, bytes]:
        """Return an index and an ephemeral key never used before."""
        number = next(self._fresh)
        return int.from_bytes(number[:4], "big"), number


def pair(ring: KeyRing = RING, other: KeyRing | None = None) -> tuple[End, End]:
    """Make both ends of a lane."""
    return End(LOWER, HIGHER, ring), End(HIGHER, LOWER, other or ring)


def exchange(sender: End, receiver: End, frames: list[bytes]) -> None:
    """Deliver frames, and what they call for, until all is quiet."""
    while frames:
        answers = [answer for frame in frames for answer in receiver.take(frame)]
        sender, receiver, frames = receiver, sender, answers


def opened(sender: End, receiver: End, text: bytes) -> bool:
    """Whether what one end says now reaches the other."""
    receiver.take(sender.lane.seal(text))
    return receiver.received[-1] == text


@pytest.mark.parametrize("lower_begins", [True, False])
def test_one_handshake_opens_the_lane_both_ways(lower_begins: bool) -> None:  # noqa: FBT001  a parameter of pytest
    """Whoever begins, both can speak after it."""
    one, two = pair() if lower_begins else reversed(pair())
    exchange(one, two, [one.begin()])
    assert (one.lane.state, two.lane.state) == (State.OPEN, State.OPEN)
    assert opened(one, two, b"hello")
    assert opened(two, one, b"good day")


def test_a_lane_without_a_session_says_so() -> None:
    """Nothing is sealed under no key."""
    lower, _ = pair()
    lower.lane.drop_stale(RING, now=0.0)
    assert lower.lane.state is State.IDLE
    with pytest.raises(LinkDownError):
        lower.lane.seal(b"too early")


@given(st.lists(st.booleans(), max_size=8))
def test_crossed_handshakes_end_on_the_lower_ids_session(order: list[bool]) -> None:
    """Both begin at once; however the frames interleave, both send on the one begun by the lower id."""
    lower, higher = pair()
    to_higher, to_lower = [lower.begin()], [higher.begin()]
    turns = itertools.chain(order, itertools.cycle([True, False]))
    while to_higher or to_lower:
        if next(turns) and to_higher:
            to_lower += higher.take(to_higher.pop(0))
        elif to_lower:
            to_higher += lower.take(to_lower.pop(0))
    assert opened(lower, higher, b"over")
    assert opened(higher, lower, b"and out")
    sending = [end.lane._current for end in (lower, higher)]
    assert all(session is not None and session.begun_by_lower for session in sending)


def test_the_responder_keeps_the_old_session_until_the_new_one_speaks() -> None:
    """A first message that is only an echo changes nothing for either end."""
    lower, higher = pair()
    begun = lower.begin()
    exchange(lower, higher, [begun])
    before = higher.lane._current
    [stale_answer] = higher.take(begun)
    assert higher.lane._current is before
    assert lower.take(stale_answer) == []
    assert opened(higher, lower, b"still here")
    assert opened(lower, higher, b"so am I")


def test_echoed_first_messages_are_bounded() -> None:
    """Each leaves a session that is never used; the one in use is never the one that goes."""
    lower, higher = pair()
    begun = lower.begin()
    exchange(lower, higher, [begun])
    for _ in range(3 * MAX_SESSIONS):
        higher.take(begun)
    assert len(higher.lane._sessions) == MAX_SESSIONS
    assert opened(higher, lower, b"unmoved")


def test_an_unanswered_handshake_is_begun_again() -> None:
    """The lane says when it is time."""
    lower, _ = pair()
    assert lower.lane.wants_handshake(now=0.0)
    lower.begin()
    assert not lower.lane.wants_handshake(now=HANDSHAKE_TIMEOUT_S / 2)
    assert lower.lane.wants_handshake(now=HANDSHAKE_TIMEOUT_S)
    lower.lane.give_up()
    assert lower.lane.state is State.IDLE


def test_a_session_is_renewed_after_an_hour_without_a_gap() -> None:
    """The old session serves until the new one does."""
    lower, higher = pair()
    exchange(lower, higher, [lower.begin()])
    assert not lower.lane.wants_handshake(now=1.0)
    assert lower.lane.wants_handshake(now=REKEY_AFTER_S)
    begun = lower.begin()
    assert lower.lane.state is State.RENEWING
    assert opened(lower, higher, b"meanwhile")
    exchange(lower, higher, [begun])
    assert opened(lower, higher, b"renewed")
    assert opened(higher, lower, b"on both sides")


def test_frames_under_way_survive_a_renewal() -> None:
    """What was sealed under the old session still opens."""
    lower, higher = pair()
    exchange(lower, higher, [lower.begin()])
    late = lower.lane.seal(b"late")
    exchange(lower, higher, [lower.begin()])
    higher.take(late)
    assert higher.received[-1] == b"late"


def test_a_session_nobody_renews_expires() -> None:
    """Its keys are dropped."""
    lower, higher = pair()
    exchange(lower, higher, [lower.begin()])
    lower.lane.drop_stale(RING, now=EXPIRE_AFTER_S)
    assert (lower.lane.is_open, lower.lane.state) == (False, State.IDLE)


def test_a_new_membership_number_drops_the_sessions_of_the_old_one() -> None:
    """Who was removed may hold the old key: nothing more is sent under it."""
    lower, higher = pair()
    exchange(lower, higher, [lower.begin()])
    lower.begin()
    lower.lane.drop_stale(KeyRing(1, (key(1, 1, b"next"),)), now=1.0)
    assert lower.lane.state is State.OPENING
    with pytest.raises(LinkDownError):
        lower.lane.seal(b"nothing")


def test_the_sessions_of_the_present_number_stay() -> None:
    """A second key of the same number is no reason to cut anything."""
    lower, higher = pair()
    exchange(lower, higher, [lower.begin()])
    lower.lane.drop_stale(RING.with_keys([key(0, 2, b"newer")]), now=1.0)
    assert lower.lane.is_open


def test_the_greatest_common_key_is_mixed_in() -> None:
    """Both ends know it without asking."""
    common = RING.with_keys([key(0, 2, b"both")])
    lower, higher = pair(common.with_keys([key(0, 3, b"mine")]), common)
    exchange(lower, higher, [lower.begin()])
    assert lower.lane._current is not None
    assert lower.lane._current.key_id == key(0, 2, b"both").id
    assert not lower.lane.catch_up


def test_without_a_common_key_the_lane_catches_up() -> None:
    """A node that slept through a rotation is not locked out; what it may say is the receiver's to judge."""
    lower, higher = pair(RING, KeyRing(1, (key(1, 1, b"next"),)))
    exchange(lower, higher, [lower.begin()])
    assert lower.lane.catch_up
    assert higher.lane.catch_up
    lower.take(higher.lane.seal(b"heads"))
    assert lower.events[-1] == Opened(b"heads", catch_up=True)
    lower.lane.drop_stale(RING, now=1.0)
    assert lower.lane.is_open


def test_many_keys_are_named_up_to_a_bound() -> None:
    """The first message stays small; the greatest keys are in it."""
    ring = KeyRing(0).with_keys(key(0, n, b"%d" % n) for n in range(2 * MAX_KEY_IDS))
    lower, higher = pair(ring)
    exchange(lower, higher, [lower.begin()])
    assert lower.lane._current is not None
    assert lower.lane._current.key_id == ring.keys[0].id


def test_a_restarted_peer_is_noticed() -> None:
    """Frames of a session it lost tell it to begin a handshake."""
    lower, higher = pair()
    exchange(lower, higher, [lower.begin()])
    risen = End(HIGHER, LOWER)
    lost = lower.lane.seal(b"are you there?")
    assert higher.lane.knows(Frame.parse(lost))
    assert not risen.lane.knows(Frame.parse(lost))
    risen.take(lost)
    assert risen.events == [Stranded()]
    exchange(risen, lower, [risen.begin()])
    assert opened(lower, risen, b"welcome back")


def test_a_frame_counts_once() -> None:
    """What QoS 1 delivers twice dies in the window."""
    lower, higher = pair()
    exchange(lower, higher, [lower.begin()])
    frame = lower.lane.seal(b"once")
    higher.take(frame)
    with pytest.raises(MalformedError):
        higher.take(frame)


def test_another_static_key_than_the_ledgers_is_refused() -> None:
    """A member's place in the ledger is its static key; who has another is not that member."""
    lower, _ = pair()
    forger = End(HIGHER, LOWER, static=STRANGER.static_secret)
    with pytest.raises(PeerMisbehavedError):
        lower.take(forger.begin())
    assert lower.lane.state is State.IDLE


@pytest.mark.parametrize(
    "move",
    [
        lambda header: replace(header, lane=Lane.BULK),
        lambda header: replace(header, source=STRANGER.raw_id),
        lambda header: replace(header, destination=STRANGER.raw_id),
    ],
)
def test_a_frame_of_another_lane_is_refused(move: Callable[[Header], Header]) -> None:
    """Each lane has its own sessions."""
    lower, higher = pair()
    frame = Frame.parse(lower.begin())
    with pytest.raises(MalformedError):
        higher.take(replace(frame, header=move(frame.header)).to_bytes())


def test_an_answer_to_no_question_is_ignored() -> None:
    """Late and replayed answers change nothing."""
    lower, higher = pair()
    [answer] = higher.take(lower.begin())
    lower.lane.give_up()
    assert lower.take(answer) == []
    assert lower.lane.state is State.IDLE


def test_an_answer_under_a_key_never_offered_is_refused() -> None:
    """The peer does not choose our secrets."""
    lower, higher = pair()
    [answer] = higher.take(lower.begin())
    foreign = replace(Frame.parse(answer), key_id=b"x" * 16)
    with pytest.raises(MalformedError):
        lower.take(foreign.to_bytes())
    assert lower.lane.state is State.IDLE


def test_a_catch_up_session_cannot_be_forced_by_a_relay() -> None:
    """Changing the key id in the answer breaks its seal."""
    lower, higher = pair()
    [answer] = higher.take(lower.begin())
    weakened = replace(Frame.parse(answer), key_id=CATCH_UP_KEY)
    with pytest.raises(PeerMisbehavedError):
        lower.take(weakened.to_bytes())


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_damaged_first_message_opens_nothing(place: int, damage: int) -> None:
    """Wherever it is damaged past the header."""
    lower, higher = pair()
    data = bytearray(lower.begin())
    place = HEADER_BYTES + place % (len(data) - HEADER_BYTES)
    data[place] ^= damage
    with pytest.raises(PeerMisbehavedError):
        higher.take(bytes(data))
    assert higher.lane.state is State.IDLE


@pytest.mark.parametrize("payload", [[1], [1, 2], [2**32, []], [1, [b"short"]], [1, [b"k" * 16] * (MAX_KEY_IDS + 1)]])
def test_a_member_that_offers_nonsense_is_refused(payload: list[codec.Item]) -> None:
    """A true static key does not make a payload true."""
    lower, _ = pair()
    handshake = _handshake_of_higher(initiator=True)
    header = Header(FrameType.H1, Lane.CTL, HIGHER.raw_id, LOWER.raw_id, 0)
    with pytest.raises(MalformedError):
        lower.take(Frame(header, handshake.write(codec.encode(payload))).to_bytes())


@pytest.mark.parametrize("payload", [[], [1, 2], [-1], [2**32]])
def test_a_member_that_answers_nonsense_is_refused(payload: list[codec.Item]) -> None:
    """Nor here."""
    lower, _ = pair()
    begun = Frame.parse(lower.begin())
    handshake = _handshake_of_higher(initiator=False)
    match codec.decode_array(handshake.read(bytes(begun.body)), max_bytes=200):
        case [int(index), _]:
            handshake.psk = RING.keys[0].secret
            header = Header(FrameType.H2, Lane.CTL, HIGHER.raw_id, LOWER.raw_id, index)
            answer = Frame(header, handshake.write(codec.encode(payload)), key_id=RING.keys[0].id)
    with pytest.raises(MalformedError):
        lower.take(answer.to_bytes())
    assert lower.lane.state is State.IDLE


def _handshake_of_higher(*, initiator: bool) -> Handshake:
    first, second = (HIGHER, LOWER) if initiator else (LOWER, HIGHER)
    return Handshake(
        Pattern.IKPSK2,
        initiator=initiator,
        static=HIGHER.static_secret,
        ephemeral=b"e" * 32,
        prologue=b"".join((PROLOGUE, COMMUNITY, bytes([Lane.CTL, 0]), first.raw_id, second.raw_id)),
        remote_static=LOWER.statement.static if initiator else None,
    )


def test_the_table_is_whole() -> None:
    """Every state can be left and reached, and a handshake can be given up wherever one is under way."""
    assert set(TRANSITIONS) == set(State)
    assert {target for moves in TRANSITIONS.values() for target in moves.values()} == set(State)
    assert {state for state, moves in TRANSITIONS.items() if Saw.SETTLED in moves} == {State.OPENING, State.RENEWING}
