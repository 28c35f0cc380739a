"""Nodes in a row, each seeing only the next one: whoever is farther off is reached over those between."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab
from tests.mesh_lab.topologies import Topology, topology

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

REPEATED = 5
LINK_MBIT = 80.0
BLOCK_BYTES = 64 * 1024
WINDOW = 16  # 1 MiB on its way
TOKENS = 400
TOKEN_EVERY_S = 0.02
QUIET_S = 1.2  # RFC 6762, 6: a record is not repeated within a second


@pytest.fixture(scope="module")
def wired(lab: Lab, folder: Path) -> Iterator[Topology]:
    """Four nodes in a row, all on mosquitto."""
    with topology(lab, folder, "ab", "bc", "cd") as line:
        yield line


@pytest.fixture
def line(wired: Topology) -> Topology:
    """The row, whole."""
    wired.restore()
    return wired


def test_three_hops_carry_what_is_said(line: Topology, measured: Measured) -> None:
    """The ends of the row see each other's name, not each other's records, and talk in both directions."""
    a, d = line["a"], line["d"]
    assert (a.hops_to(d), a.state_of(d)) == (3, "reachable")
    assert d.node_id not in a.ask("nearby")
    for one, other in ((a, d), (d, a)):
        assert one.tells(other, 20, size=2000).all_heard_once_in_order()
    trips = sorted(a.ask("ping", peer=d.node_id, count=100))
    measured("ping over three hops, p50, mosquitto", trips[50], unit="ms")


def test_a_ping_over_two_hops(line: Topology, measured: Measured) -> None:
    """There and back over one relay."""
    trips = sorted(line["a"].ask("ping", peer=line["c"].node_id, count=200))
    measured("ping over two hops, p50, mosquitto", trips[100], unit="ms", goal="<= 4")
    measured("ping over two hops, p99, mosquitto", trips[198], unit="ms")
    assert len(trips) == 200


def test_a_route_is_known_soon_after_the_start(line: Topology, measured: Measured) -> None:
    """A node at the end of three starts anew: it reaches the other end as soon as its neighbour has told it how."""
    a, b, c, d = (line[name] for name in "abcd")
    d.stop()
    for _ in range(REPEATED):
        c.stop()
        a.leaves("reachable", c)
        time.sleep(QUIET_S)  # no board is back sooner than its neighbours may repeat their records
        c.start()
        known = max(c.reaches(a, hops=2), a.reaches(c, hops=2))
        measured("line of three: route known after the start of one", known - c.started_at, goal="<= 1.5")
        c.linked_to(b)
    assert a.hops_to(d) == 0


def test_a_line_that_starts_at_once(line: Topology, measured: Measured) -> None:
    """Power comes back for all three at the same time."""
    a, b, c, d = (line[name] for name in "abcd")
    for node in (a, b, c, d):
        node.stop()
    for node in (a, b, c):
        node.start()
    known = max(one.reaches(*(other for other in (a, b, c) if other is not one)) for one in (a, b, c))
    measured("line of three, all start at once: all reach all", known - a.started_at)
    assert a.hops_to(c) == 2


def test_tokens_arrive_in_time_beside_a_bulk_transfer(line: Topology, measured: Measured) -> None:
    """A transfer that fills an 80 Mbit/s link does not hold up the tokens of an answer on the same way."""
    a, c = line["a"], line["c"]
    line.cables["bc"].shape(LINK_MBIT)
    transfer = a.asked("bulk", peer=c.node_id, blocks=1600, size=BLOCK_BYTES, window=WINDOW)
    telling = a.tells(c, TOKENS, every_s=TOKEN_EVERY_S)
    telling.done.result(60)
    was_busy = not transfer.done()
    late = sorted(1000 * (note.at - note.sent) for note in telling.heard())
    seconds = transfer.result(120)
    measured("tokens over two hops beside a bulk transfer, p50", late[TOKENS // 2], unit="ms")
    measured("tokens over two hops beside a bulk transfer, p99", late[TOKENS * 99 // 100], unit="ms", goal="<= 40")
    measured("the bulk transfer over the link of 80 Mbit/s", 1600 * BLOCK_BYTES * 8 / 1e6 / seconds, unit="Mbit/s")
    assert was_busy
    assert telling.all_heard_once_in_order()


def test_the_only_relay_killed_and_back(line: Topology, measured: Measured) -> None:
    """What was said meanwhile is kept, and arrives once and in order when the way is there again."""
    a, b, d = line["a"], line["b"], line["d"]
    telling = a.tells(d, 150, every_s=0.02)
    telling.heard(20)
    b.kill()
    a.leaves("reachable", d)
    time.sleep(1.0)  # a second without any way at all
    b.start()
    measured("the only relay killed: reached again after its new start", a.reaches(d) - b.started_at)
    assert telling.all_heard_once_in_order()


def test_a_relay_that_passes_nothing_on_is_noticed(line: Topology) -> None:
    """A black hole without any way around: nothing is lost, and nothing is taken for delivered."""
    a, b, c = line["a"], line["b"], line["c"]
    b.pause()
    heard = len(c.notes)
    telling = a.tells(c, 5, every_s=0.02)
    time.sleep(2.0)  # in the hole
    assert len(c.notes) == heard
    b.resume()
    assert telling.all_heard_once_in_order()
