"""Forwarding: frames go on, never back, and for a while not over whom nothing came back from."""

from collections.abc import Mapping, Sequence

import pytest

from mesh.core.forwarding import GIVEN_S, SUSPECT_S, Forwarding
from mesh.core.frames import HOP_LIMIT, Frame, FrameType, Header, Lane, one_hop_on
from mesh.core.routes import LAN_METRIC, LinksAdvert, short_id
from mesh.errors import MalformedError

ANNA, BEN, CARL, DORA = (bytes([n]) * 32 for n in range(1, 5))
Graph = Mapping[bytes, Sequence[bytes]]
DIAMOND: Graph = {ANNA: (BEN, CARL), BEN: (ANNA, DORA), CARL: (ANNA, DORA), DORA: (BEN, CARL)}


def forwarding(own: bytes, graph: Graph = DIAMOND) -> Forwarding:
    """Make a node's, of what all say."""
    made = Forwarding(own)
    update(made, own, graph)
    return made


def update(made: Forwarding, own: bytes, graph: Graph) -> None:
    """Tell a node how things are."""
    adverts = {
        node: LinksAdvert({short_id(other): LAN_METRIC for other in others})
        for node, others in graph.items()
        if node != own
    }
    made.update(dict.fromkeys(graph.get(own, ()), LAN_METRIC), adverts)


def test_a_suspect_is_avoided_for_a_while() -> None:
    """Then it is tried again."""
    anna = forwarding(ANNA)
    assert anna.first_hop(DORA, now=0.0) == BEN
    anna.suspect(DORA, now=0.0)
    assert anna.first_hop(DORA, now=1.0) == CARL
    assert anna.first_hop(BEN, now=1.0) == BEN
    assert anna.first_hop(DORA, now=SUSPECT_S) == BEN


def test_of_two_suspects_the_newer_is_avoided() -> None:
    """So that both ways are tried in turn."""
    anna = forwarding(ANNA)
    for number, expected in enumerate((BEN, CARL, BEN, CARL)):
        assert anna.first_hop(DORA, now=1.0 + number) == expected
        anna.suspect(DORA, now=1.0 + number)


def test_of_many_ways_each_is_tried() -> None:
    """Two that lead into one black hole do not keep the traffic between them for good."""
    hole, eve = b"h" * 32, b"e" * 32
    graph = {
        ANNA: (BEN, CARL, eve),
        BEN: (ANNA, hole),
        CARL: (ANNA, hole),
        hole: (BEN, CARL, DORA),
        eve: (ANNA, b"f" * 32),
        b"f" * 32: (eve, DORA),
        DORA: (hole, b"f" * 32),
    }
    anna = forwarding(ANNA, graph)
    hops = []
    for second in range(5):
        hops.append(anna.first_hop(DORA, now=float(second)))
        anna.suspect(DORA, now=float(second))
    assert hops == [BEN, CARL, eve, BEN, CARL]


def test_a_window_of_messages_is_one_reason_to_suspect() -> None:
    """Who has just been chosen is given a moment."""
    anna = forwarding(ANNA)
    for _ in range(64):
        anna.suspect(DORA, now=1.0)
    assert anna.first_hop(DORA, now=1.0) == CARL
    anna.suspect(DORA, now=1.0 + GIVEN_S)
    assert anna.first_hop(DORA, now=1.0 + GIVEN_S) == BEN


def test_nothing_is_sent_back() -> None:
    """A frame whose only way on is where it came from ends here."""
    ben = forwarding(BEN)
    assert ben.onward(DORA, came_from=ANNA) == DORA
    assert ben.onward(ANNA, came_from=ANNA) is None
    assert ben.onward(ANNA, came_from=CARL) == ANNA
    assert ben.onward(b"x" * 32, came_from=ANNA) is None


def test_suspicions_end_with_the_path() -> None:
    """Who comes into reach again begins with a clean record; who never was in reach has none."""
    anna = forwarding(ANNA)
    anna.suspect(DORA, now=0.0)
    anna.suspect(b"x" * 32, now=0.0)
    update(anna, ANNA, {ANNA: (BEN,), BEN: (ANNA,)})
    assert anna.first_hop(DORA, now=0.0) is None
    assert not anna._suspects
    update(anna, ANNA, DIAMOND)
    assert anna.first_hop(DORA, now=0.0) == BEN


def test_a_routing_loop_ends() -> None:
    """Three whose news of the network differ pass a frame around between them: it goes so far and no further."""
    eve = b"e" * 32
    stale = {
        ANNA: {ANNA: (BEN,), BEN: (ANNA, eve), eve: (BEN,)},
        BEN: {BEN: (CARL,), CARL: (BEN, eve), eve: (CARL,)},
        CARL: {CARL: (ANNA,), ANNA: (CARL, eve), eve: (ANNA,)},
    }
    nodes = {own: forwarding(own, graph) for own, graph in stale.items()}
    frame = Frame(Header(FrameType.DATA, Lane.CTL, DORA, eve, 1, routed=True), b"sealed").to_bytes()
    before, here = CARL, ANNA
    for _ in range(HOP_LIMIT):
        hop = nodes[here].onward(eve, came_from=before)
        assert hop is not None
        before, here, frame = here, hop, one_hop_on(frame)
    with pytest.raises(MalformedError, match="too far"):
        one_hop_on(frame)
