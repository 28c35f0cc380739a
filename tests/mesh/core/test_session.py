"""Frames, envelopes and the replay window: what is taken, is taken once and unchanged."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec, crypto
from mesh.core.envelope import MAX_BODY_BYTES, MAX_PLACE, Envelope, StreamPlace
from mesh.core.frames import (
    HEADER_BYTES,
    HOP_LIMIT,
    MAX_FRAME_BYTES,
    MAX_PLAINTEXT_BYTES,
    Frame,
    FrameType,
    Header,
    Lane,
    one_hop_on,
)
from mesh.core.noise import SplitKeys
from mesh.core.session import EXPIRE_AFTER_S, REKEY_AFTER_FRAMES, REKEY_AFTER_S, WINDOW, ReplayWindow, Session
from mesh.errors import CryptoError, MalformedError, MessageTooLargeError

ONE, TWO = b"\1" * 32, b"\2" * 32


def pair_of_sessions() -> tuple[Session, Session]:
    """Make both ends of one session."""
    first, second = b"a" * 32, b"b" * 32
    shared = {"key_id": bytes(16), "begun_at": 0.0}
    one = Session(
        Lane.CTL,
        ONE,
        TWO,
        SplitKeys(first, second),
        local_index=7,
        remote_index=8,
        initiator=True,
        **shared,  # type: ignore[arg-type]  # one dict of two types
    )
    two = Session(
        Lane.CTL,
        TWO,
        ONE,
        SplitKeys(second, first),
        local_index=8,
        remote_index=7,
        initiator=False,
        **shared,  # type: ignore[arg-type]  # same
    )
    return one, two


@given(st.lists(st.integers(0, 40), max_size=120))
def test_each_frame_is_taken_once_in_any_order(order: list[int]) -> None:
    """Duplicates and reordering inside the window lose nothing and repeat nothing."""
    one, two = pair_of_sessions()
    frames = [one.seal(bytes([n])) for n in range(41)]
    taken = []
    for number in order:
        try:
            taken.append(two.open(Frame.parse(frames[number]))[0])
        except MalformedError:
            continue
    assert taken == list(dict.fromkeys(order))


@given(st.lists(st.integers(0, 6000) | st.integers(0, 2**64 - 1), max_size=60))
def test_the_window_is_the_set_of_the_last_2048(counters: list[int]) -> None:
    """The bit field answers like the plain set it stands for."""
    window, seen = ReplayWindow(), set[int]()
    for counter in counters:
        highest = max(seen, default=-1)
        fresh = counter not in seen and counter > highest - WINDOW
        assert window.is_fresh(counter) == fresh
        if fresh:
            window.mark(counter)
            seen.add(counter)
    assert window._seen < 1 << WINDOW


@pytest.mark.parametrize("place", range(HEADER_BYTES + 8 + 5 + 16))
def test_every_byte_but_the_hop_count_is_sealed(place: int) -> None:
    """A flipped bit anywhere else is refused, and the window stays as it was."""
    one, two = pair_of_sessions()
    data = bytearray(one.seal(b"hello"))
    data[place] ^= 1
    if place == 1:
        assert two.open(Frame.parse(bytes(data))) == b"hello"
        return
    with pytest.raises((MalformedError, CryptoError)):
        two.open(Frame.parse(bytes(data)))
    assert two.window == ReplayWindow()


def test_a_forged_high_counter_does_not_move_the_window() -> None:
    """Only what the seal vouches for is marked."""
    one, two = pair_of_sessions()
    frame = Frame.parse(one.seal(b"hello"))
    forged = Frame(frame.header, frame.body, counter=2**60)
    with pytest.raises(CryptoError):
        two.open(forged)
    assert two.open(frame) == b"hello"


def test_sessions_age() -> None:
    """An hour or 2^32 frames ask for a new one, two hours end it."""
    one, _ = pair_of_sessions()
    assert not one.wants_rekey(REKEY_AFTER_S - 1)
    assert one.wants_rekey(REKEY_AFTER_S)
    assert not one.is_expired(REKEY_AFTER_S)
    assert one.is_expired(EXPIRE_AFTER_S)
    one.sent = REKEY_AFTER_FRAMES
    assert one.wants_rekey(0)
    one.sent = 2**63
    with pytest.raises(CryptoError, match="used up"):
        one.seal(b"")


def test_both_ends_agree_on_who_began() -> None:
    """The lower id is the same node from both sides."""
    one, two = pair_of_sessions()
    assert one.begun_by_lower
    assert two.begun_by_lower


@pytest.mark.parametrize("kind", list(FrameType))
def test_frames_survive_the_wire(kind: FrameType) -> None:
    """Each type comes back as it was sent."""
    header = Header(kind, Lane.BULK, ONE, TWO, 0 if kind is FrameType.H1 else 5, hop=3)
    frame = Frame(header, b"body", key_id=b"k" * 16 if kind is FrameType.H2 else bytes(16), counter=9 * (kind == 0x13))
    assert Frame.parse(frame.to_bytes()) == frame


@given(st.binary(max_size=200))
def test_noise_is_malformed(data: bytes) -> None:
    """Random bytes are a frame that writes itself back, or they are refused."""
    try:
        frame = Frame.parse(data)
    except MalformedError:
        return
    assert frame.to_bytes() == data


HEADER = Header(FrameType.DATA, Lane.CTL, ONE, TWO, 5).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        HEADER[:-1],
        HEADER + bytes(7),
        bytes([0x12]) + HEADER[1:] + bytes(15),
        bytes([0x11]) + HEADER[1:],
        bytes([0x14]) + HEADER[1:],
        HEADER[:1] + bytes([HOP_LIMIT + 1]) + HEADER[2:],
        HEADER[:2] + b"\2" + HEADER[3:],
        HEADER[:3] + b"\2" + HEADER[4:],
        HEADER + bytes(MAX_FRAME_BYTES),
    ],
)
def test_frames_of_another_shape_are_malformed(data: bytes) -> None:
    """Cut short, unknown type, lane, flag, too many hops, a named receiver in H1, too long."""
    with pytest.raises(MalformedError):
        Frame.parse(data)


@pytest.mark.parametrize("hop", range(HOP_LIMIT))
def test_a_relay_changes_the_hop_count_alone(hop: int) -> None:
    """The frame opens at its destination as if no relay had touched it."""
    one, two = pair_of_sessions()
    data = one.seal(b"hello")
    data = data[:1] + bytes([hop]) + data[2:]
    onward = one_hop_on(data)
    assert Frame.parse(onward) == replace(Frame.parse(data), header=replace(Frame.parse(data).header, hop=hop + 1))
    assert two.open(Frame.parse(onward)) == b"hello"


def test_a_frame_at_the_hop_limit_goes_no_further() -> None:
    """The loop that it may be in ends here."""
    data = HEADER[:1] + bytes([HOP_LIMIT]) + HEADER[2:] + bytes(8)
    assert Frame.parse(data).header.hop == HOP_LIMIT
    with pytest.raises(MalformedError, match="too far"):
        one_hop_on(data)


def test_a_frame_of_a_link_is_no_end_to_end_frame() -> None:
    """The flag is sealed: a relay can make neither of the other."""
    one, two = pair_of_sessions()
    frame = Frame.parse(one.seal(b"hello"))
    assert not frame.header.routed
    with pytest.raises(CryptoError):
        two.open(replace(frame, header=replace(frame.header, routed=True)))


def test_a_frame_has_a_largest_size() -> None:
    """One MiB, and not a byte more."""
    one, two = pair_of_sessions()
    data = one.seal(bytes(MAX_PLAINTEXT_BYTES))
    assert len(data) == MAX_FRAME_BYTES
    assert len(two.open(Frame.parse(data))) == MAX_PLAINTEXT_BYTES
    with pytest.raises(MessageTooLargeError):
        one.seal(bytes(MAX_PLAINTEXT_BYTES + 1))


PLACES = st.builds(StreamPlace, st.binary(min_size=8, max_size=8), st.integers(0, MAX_PLACE), st.integers(0, MAX_PLACE))


@given(
    st.integers(0, 2**16 - 1),
    st.none() | st.binary(min_size=16, max_size=16),
    st.binary(max_size=50),
    st.none() | PLACES,
)
def test_envelopes_survive_the_wire(kind: int, re: bytes | None, body: bytes, place: StreamPlace | None) -> None:
    """What is put in comes out."""
    envelope = Envelope(kind, b"m" * 16, re, 30_000, body, place)
    assert Envelope.parse(envelope.to_bytes()) == envelope


def test_the_largest_body_fits_a_frame() -> None:
    """The overhead set aside is enough for the longest fields."""
    place = StreamPlace(b"s" * 8, MAX_PLACE, MAX_PLACE)
    envelope = Envelope(2**16 - 1, b"m" * 16, b"r" * 16, 7 * 24 * 3600 * 1000, bytes(MAX_BODY_BYTES), place)
    assert len(envelope.to_bytes()) <= MAX_PLAINTEXT_BYTES


GOOD: list[codec.Item] = [17, b"m" * 16, None, 1000, b"", None]
BAD: dict[int, list[codec.Item]] = {
    0: [-1, 2**16, True, b""],
    1: [b"m", 4, None],
    2: [b"r", 5],
    3: [-1, 2**40, False],
    4: [None, ""],
    5: [
        0,
        [],
        [b"s" * 8, 0],
        [b"short", 0, 0],
        [b"s" * 8, -1, 0],
        [b"s" * 8, MAX_PLACE + 1, 0],
        [b"s" * 8, 0, -1],
        [b"s" * 8, 0, None],
    ],
}


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, bad in BAD.items() for value in bad])
def test_envelopes_of_another_shape_are_malformed(place: int, value: codec.Item) -> None:
    """Each field has one type and range."""
    fields: list[codec.Item] = [*GOOD]
    fields[place] = value
    with pytest.raises(MalformedError):
        Envelope.parse(codec.encode(fields))


@pytest.mark.parametrize("fields", [[], GOOD[:-1], [*GOOD, None]])
def test_an_envelope_has_six_fields(fields: list[codec.Item]) -> None:
    """Neither more nor fewer."""
    with pytest.raises(MalformedError):
        Envelope.parse(codec.encode(fields))


def test_a_seal_is_bound_to_its_lane() -> None:
    """A frame of one lane does not open on the other."""
    one, two = pair_of_sessions()
    frame = Frame.parse(one.seal(b"x"))
    moved = Frame(Header(FrameType.DATA, Lane.BULK, ONE, TWO, 8), frame.body)
    with pytest.raises(CryptoError):
        two.open(moved)
    assert len(frame.body) == crypto.TAG_BYTES + 1
