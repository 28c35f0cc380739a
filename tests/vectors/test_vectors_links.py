"""Frames, envelopes and whole sessions are the committed bytes; what the files call invalid is dropped."""

import pytest

from mesh.core.envelope import Envelope, StreamPlace
from mesh.core.epochs import EpochKey, KeyRing
from mesh.core.frames import Frame, FrameType, Header, Lane
from mesh.core.lane import Answer, Ends, Established, Event, LaneSessions, Opened
from mesh.errors import MalformedError, PeerMisbehavedError
from tests.vectors.reading import Case, cases, data_of, invalid, item_of, title


@pytest.mark.parametrize("case", cases("frames"), ids=title)
def test_frames(case: Case) -> None:
    """Written and read."""
    header = Header(
        FrameType(case["type"]),
        Lane(case["lane"]),
        bytes.fromhex(case["source"]),
        bytes.fromhex(case["destination"]),
        case["receiver_index"],
        case["hop"],
        case["routed"],
    )
    frame = Frame(header, bytes.fromhex(case["body"]), bytes.fromhex(case["key_id"]), case["counter"])
    assert frame.to_bytes() == data_of(case)
    assert Frame.parse(data_of(case)) == frame
    assert header.associated().hex() == case["associated"]


@pytest.mark.parametrize("case", invalid("frames"), ids=title)
def test_what_is_no_frame(case: Case) -> None:
    """Is malformed."""
    with pytest.raises(MalformedError):
        Frame.parse(data_of(case))


def place_of(case: Case) -> StreamPlace | None:
    """Read a message's place in its stream."""
    place = case["place"]
    if place is None:
        return None
    seq, base = item_of(place["seq"]), item_of(place["base"])
    assert isinstance(seq, int)
    assert isinstance(base, int)
    return StreamPlace(bytes.fromhex(place["stream"]), seq, base)


@pytest.mark.parametrize("case", cases("envelopes"), ids=title)
def test_envelopes(case: Case) -> None:
    """Written and read."""
    re = None if case["re"] is None else bytes.fromhex(case["re"])
    body = bytes.fromhex(case["body"])
    envelope = Envelope(case["kind"], bytes.fromhex(case["message_id"]), re, case["ttl_ms"], body, place_of(case))
    assert envelope.to_bytes() == data_of(case)
    assert Envelope.parse(data_of(case)) == envelope


@pytest.mark.parametrize("case", invalid("envelopes"), ids=title)
def test_what_is_no_envelope(case: Case) -> None:
    """Is malformed."""
    with pytest.raises(MalformedError):
        Envelope.parse(data_of(case))


class Session:
    """Both ends of a committed handshake, and what they receive."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.sides = {side: self._side(side) for side in ("initiator", "responder")}
        self.frames = [bytes.fromhex(text) for text in case["frames"]]
        self.plaintexts = [bytes.fromhex(text) for text in case["plaintexts"]]
        self.made: list[bytes] = []

    def _side(self, side: str) -> tuple[LaneSessions, KeyRing]:
        me = self.case[side]
        other = self.case["responder" if side == "initiator" else "initiator"]
        ends = Ends(
            local=bytes.fromhex(me["raw_id"]),
            remote=bytes.fromhex(other["raw_id"]),
            static=bytes.fromhex(me["static_secret"]),
            remote_static=bytes.fromhex(other["static"]),
            community=bytes.fromhex(self.case["community"]),
        )
        keys = [
            EpochKey(one["number"], one["generation"], bytes.fromhex(one["id"]), bytes.fromhex(one["secret"]))
            for one in me["epoch_keys"]
        ]
        return LaneSessions(ends, Lane(self.case["lane"]), routed=self.case["routed"]), KeyRing(0).with_keys(keys)

    def receive(self, side: str, data: bytes) -> list[Event]:
        """Hand a frame to one side."""
        lane, keys = self.sides[side]
        me = self.case[side]
        return lane.receive(
            Frame.parse(data), keys, now=0.0, index=me["index"], ephemeral=bytes.fromhex(me["ephemeral"])
        )

    def go_on(self, steps: int) -> list[Event]:
        """Make the first `steps` frames, handing each to the other side; return what the last one led to."""
        lane, keys = self.sides["initiator"]
        responder, _ = self.sides["responder"]
        me = self.case["initiator"]
        events: list[Event] = []
        if steps > 0:
            self.made.append(lane.begin(keys, now=0.0, index=me["index"], ephemeral=bytes.fromhex(me["ephemeral"])))
        if steps > 1:
            [answer] = self.receive("responder", self.made[0])
            assert isinstance(answer, Answer)
            self.made.append(answer.frame)
        if steps > 2:
            [established] = self.receive("initiator", self.made[1])
            assert isinstance(established, Established)
            assert established.confirm is not None
            self.made.append(established.confirm(self.plaintexts[0]))
            events = self.receive("responder", self.made[2])
        if steps > 3:
            self.made.append(responder.seal(self.plaintexts[1]))
            events += self.receive("initiator", self.made[3])
        if steps > 4:
            self.made.append(lane.seal(self.plaintexts[2]))
            events += self.receive("responder", self.made[4])
        return events


@pytest.mark.parametrize("case", cases("sessions"), ids=title)
def test_a_session_is_these_bytes(case: Case) -> None:
    """Both handshake messages and the first frames, in both directions; a catch-up session says that it is one."""
    session = Session(case)
    events = session.go_on(5)
    assert session.made == session.frames
    catch_up = not {one["id"] for one in case["initiator"]["epoch_keys"]} & {
        one["id"] for one in case["responder"]["epoch_keys"]
    }
    opened = [event for event in events if isinstance(event, Opened)]
    assert opened == [Opened(plaintext, catch_up) for plaintext in session.plaintexts]


@pytest.mark.parametrize("case", invalid("sessions"), ids=title)
def test_a_session_drops_these_bytes(case: Case) -> None:
    """Nothing is opened, and what follows is taken as if they had not come."""
    session = Session(cases("sessions")[0])
    session.go_on(case["after"])
    with pytest.raises(PeerMisbehavedError):
        session.receive(case["to"], data_of(case))
    if case["after"] == 4:
        session.made.append(session.sides["initiator"][0].seal(session.plaintexts[2]))
        [opened] = session.receive("responder", session.made[4])
        assert opened == Opened(session.plaintexts[2], catch_up=False)
