"""Two nodes, one on mosquitto and one on amqtt, and all that can happen to the cable and the processes at its ends."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab, Link
from tests.mesh_lab.nodes import Node, all_linked, ended, living, memory_mb, settle, start_all

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

EVERY_S = 0.02
BOUND_MB = 64.0
BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Pair:
    """Two members and the cable between them."""

    anna: Node
    ben: Node
    cable: Link


@pytest.fixture(scope="module")
def wired(lab: Lab, folder: Path) -> Iterator[Pair]:
    """Both nodes, started once for all tests."""
    here, there = lab.namespace("anna"), lab.namespace("ben")
    cable = lab.link(here, there)
    anna, ben = Node(here, folder / "anna", broker="mosquitto"), Node(there, folder / "ben", broker="amqtt")
    settle(anna, ben)
    with living(anna, ben):
        start_all(anna, ben)
        yield Pair(anna, ben, cable)


@pytest.fixture
def pair(wired: Pair) -> Iterator[Pair]:
    """Both nodes, linked over a sound cable."""
    all_linked(wired.anna, wired.ben)
    try:
        yield wired
    finally:
        wired.cable.heal()
        for node in (wired.anna, wired.ben):
            if not node.alive:
                node.start()
            node.resume()


def test_the_other_service_killed(pair: Pair, measured: Measured) -> None:
    """Kill -9 of a node: its broker dies with it, the neighbour sees it at once, and links when it is back."""
    broker = pair.ben.broker_pid
    killed = time.monotonic()
    pair.ben.kill()
    measured("service killed: noticed", pair.anna.leaves("linked", pair.ben) - killed)
    assert ended(broker, within_s=5.0)
    pair.ben.start()
    measured("service killed: linked after its new start", all_linked(pair.anna, pair.ben) - pair.ben.started_at)


@pytest.mark.parametrize("whose", ["anna", "ben"])
def test_a_broker_killed(pair: Pair, whose: str, measured: Measured) -> None:
    """Kill -9 of a broker: started again by its node, dialled again by the neighbour; both ends link."""
    node, other = (pair.anna, pair.ben) if whose == "anna" else (pair.ben, pair.anna)
    old = node.broker_pid
    killed = time.monotonic()
    os.kill(old, signal.SIGKILL)
    other.leaves("linked", node)
    measured(f"broker killed ({node.options['broker']}): linked again", all_linked(pair.anna, pair.ben) - killed)
    assert node.broker_pid != old


@pytest.mark.parametrize("whose", ["anna", "ben"])
def test_nothing_is_lost_when_a_broker_is_killed(pair: Pair, whose: str) -> None:
    """What was on its way through the dead broker is sent again: each note arrives once, in order."""
    node, other = (pair.anna, pair.ben) if whose == "anna" else (pair.ben, pair.anna)
    telling = other.tells(node, 150, every_s=EVERY_S)
    telling.heard(50)
    os.kill(node.broker_pid, signal.SIGKILL)
    assert telling.all_heard_once_in_order()


def test_silent_loss_is_noticed_and_nothing_is_lost(pair: Pair, measured: Measured) -> None:
    """A cable that swallows everything without a word: both ends see it; what was said meanwhile arrives afterwards."""
    telling = pair.anna.tells(pair.ben, 400, every_s=EVERY_S)
    telling.heard(50)
    began = time.monotonic()
    pair.cable.drop()
    noticed = [one.leaves("linked", other) for one, other in ((pair.anna, pair.ben), (pair.ben, pair.anna))]
    measured("silent loss: noticed by who sends", noticed[0] - began, goal="<= 3")
    measured("silent loss: noticed by who listens", noticed[1] - began, goal="<= 3")
    pair.cable.heal()
    healed = time.monotonic()
    measured("silent loss healed: linked again", all_linked(pair.anna, pair.ben) - healed)
    assert telling.all_heard_once_in_order()


def test_silent_loss_of_a_quiet_link_is_noticed(pair: Pair, measured: Measured) -> None:
    """Also when nobody says anything."""
    began = time.monotonic()
    pair.cable.drop()
    noticed = [one.leaves("linked", other) for one, other in ((pair.anna, pair.ben), (pair.ben, pair.anna))]
    measured("silent loss of a quiet link: noticed by both", max(noticed) - began, goal="<= 3")
    assert min(noticed) > began


def test_a_short_silence_loses_nothing(pair: Pair) -> None:
    """A second without a single packet is not worth a word."""
    telling = pair.anna.tells(pair.ben, 150, every_s=EVERY_S)
    telling.heard(20)
    pair.cable.drop()
    time.sleep(1.0)  # the silence itself
    pair.cable.heal()
    assert telling.all_heard_once_in_order()


@pytest.mark.parametrize("deaf", ["anna", "ben"])
def test_one_way_loss_takes_the_link_down_at_both_ends(pair: Pair, deaf: str, measured: Measured) -> None:
    """A node that hears nothing but is heard: neither end may think that all is well."""
    end = pair.cable.one if deaf == "anna" else pair.cable.two
    began = time.monotonic()
    end.drop()
    noticed = [one.leaves("linked", other) for one, other in ((pair.anna, pair.ben), (pair.ben, pair.anna))]
    measured("one-way loss: noticed by both", max(noticed) - began, goal="<= 3")
    pair.cable.heal()
    healed = time.monotonic()
    measured("one-way loss healed: linked again", all_linked(pair.anna, pair.ben) - healed)


def test_nothing_is_lost_where_a_third_of_the_packets_is(pair: Pair, measured: Measured) -> None:
    """30 % loss both ways: slow, but every note arrives once, in order."""
    pair.cable.drop(0.3)
    telling = pair.anna.tells(pair.ben, 40, every_s=0.1)
    assert telling.all_heard_once_in_order(within_s=80)
    measured("30 % loss: the slowest of 40 notes took", max(note.at - note.sent for note in telling.heard()))


@pytest.mark.parametrize("whose", ["anna", "ben"])
def test_a_stalled_subscriber_costs_bounded_memory(pair: Pair, whose: str, measured: Measured) -> None:
    """A node that takes nothing more: neither its broker nor who sends to it grows without end; later all goes on."""
    node, other = (pair.anna, pair.ben) if whose == "anna" else (pair.ben, pair.anna)
    broker = node.broker_pid
    before = memory_mb(broker), other.memory_mb
    node.pause()
    counts = other.ask("flood", peer=node.node_id, seconds=6.0, size=BLOCK_BYTES)
    grown = memory_mb(broker) - before[0], other.memory_mb - before[1]
    node.resume()
    measured(
        f"stalled subscriber: its {node.options['broker']} grew by", grown[0], unit="MB", goal=f"<= {BOUND_MB:.0f}"
    )
    measured("stalled subscriber: who sends to it grew by", grown[1], unit="MB", goal=f"<= {BOUND_MB:.0f}")
    assert counts["taken"] > 0
    assert max(grown) < BOUND_MB
    all_linked(pair.anna, pair.ben)
    assert len(other.ask("ping", peer=node.node_id, count=3)) == 3
