"""Two ways from one end to the other: when one fails, whatever is under way takes the other."""

import itertools
import time
from collections.abc import Iterator

import pytest

from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab
from tests.mesh_lab.nodes import Node, Note
from tests.mesh_lab.topologies import Topology, topology

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

EVERY_S = 0.01
REPEATED = 5


@pytest.fixture(scope="module", params=["mosquitto", "mosquitto+amqtt"])
def wired(request: pytest.FixtureRequest, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """The ends a and d, and the relays b and c between them."""
    folder = tmp_path_factory.mktemp("diamond")
    with topology(lab, folder, "ab", "ac", "bd", "cd", brokers=str(request.param).split("+")) as diamond:
        yield diamond


@pytest.fixture
def diamond(wired: Topology) -> Topology:
    """Both ways open."""
    wired.restore()
    return wired


def brokers(diamond: Topology) -> str:
    """Name the brokers for the table."""
    return "+".join(dict.fromkeys(str(node.options["broker"]) for node in diamond.nodes.values()))


def relay_in_use(diamond: Topology) -> Node:
    """Find out over whom notes from a to d go: whose counters of what it passed on grow."""
    a, d = diamond["a"], diamond["d"]
    before = {name: passed_on(diamond[name]) for name in "bc"}
    a.tells(d, 20).heard()
    return max((diamond[name] for name in "bc"), key=lambda node: passed_on(node) - before[node.name])


def passed_on(node: Node) -> int:
    """Tell how many frames of others a node has passed on."""
    return int(node.ask("counters")["frames_forwarded"])


def gap_ms(notes: list[Note], since: float) -> float:
    """The longest time without an arrival after a moment, beyond the pace of the notes."""
    before = [note.at for note in notes if note.at <= since]
    arrivals = [before[-1], *(note.at for note in notes if note.at > since)]
    return 1000 * (max(b - a for a, b in itertools.pairwise(arrivals)) - EVERY_S)


def test_a_relay_is_killed(diamond: Topology, measured: Measured) -> None:
    """Kill -9 of the relay in use: the notes go over the other one; none is lost, or doubled, or out of turn."""
    a, d = diamond["a"], diamond["d"]
    for _ in range(REPEATED if brokers(diamond) == "mosquitto" else 1):
        relay = relay_in_use(diamond)
        telling = a.tells(d, 150, every_s=EVERY_S)
        telling.heard(50)
        killed = time.monotonic()
        relay.kill()
        assert telling.all_heard_once_in_order()
        notes = telling.heard()
        measured(
            f"relay killed: gap in what arrives, {brokers(diamond)}", gap_ms(notes, killed), unit="ms", goal="<= 50"
        )
        diamond.restore()


def test_a_relay_falls_silent(diamond: Topology, measured: Measured) -> None:
    """Its cables swallow everything: noticed by nothing but time, and nothing is lost."""
    a, d = diamond["a"], diamond["d"]
    relay = relay_in_use(diamond)
    telling = a.tells(d, 400, every_s=EVERY_S)
    telling.heard(50)
    silent = time.monotonic()
    for pair, cable in diamond.cables.items():
        if relay.name in pair:
            cable.drop()
    assert telling.all_heard_once_in_order()
    notes = telling.heard()
    measured(f"silent loss at the relay: gap, {brokers(diamond)}", gap_ms(notes, silent) / 1000, goal="<= 3")


def test_a_relay_is_a_black_hole(diamond: Topology, measured: Measured) -> None:
    """Its service hangs while its broker takes everything: the other way is taken, nothing is lost.

    Each relay has its turn: notes may go over one of them, and their acknowledgements over the other.
    """
    a, d = diamond["a"], diamond["d"]
    gaps = []
    for relay in (diamond["b"], diamond["c"]):
        telling = a.tells(d, 300, every_s=EVERY_S)
        telling.heard(50)
        hung = time.monotonic()
        relay.pause()
        assert telling.all_heard_once_in_order(within_s=6.0)
        gaps.append(gap_ms(telling.heard(), hung))
        diamond.restore()
    measured(f"relay hangs: gap in what arrives, {brokers(diamond)}", max(gaps) / 1000, goal="<= 3")


def test_a_direct_link_takes_over_from_a_relay_and_back(diamond: Topology, lab: Lab) -> None:
    """A cable between the ends comes and goes while they talk: nothing is lost at either change."""
    a, d = diamond["a"], diamond["d"]
    telling = a.tells(d, 500, every_s=0.02)
    telling.heard(20)
    direct = lab.link(a.namespace, d.namespace)
    a.linked_to(d)
    d.linked_to(a)
    for end in direct.ends:
        end.down()
    assert telling.all_heard_once_in_order()
    a.reaches(d, hops=2)
