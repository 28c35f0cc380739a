"""Many nodes, random faults: afterwards everybody knows the way, and every message has come once and in order."""

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from mesh.core.announcements import REFRESH_S
from mesh.core.flooding import OWN_PER_S
from mesh.core.streams import MAX_AHEAD, MAX_WAITING
from tests.sim.network import LASTING_S, Network
from tests.sim.wires import GOOD, Wire, random_graph

AGREE_WITHIN_S = REFRESH_S + 1 / OWN_PER_S + 10  # what was lost is said again, at the latest by then
HEALED_WITHIN_S = 3 + 1 / OWN_PER_S + 2  # unless frames are lost: noticed, announced however often before, and known
QUIET_S = 15.0  # the longest pause between two tries is 3 s
# Whatever fails is the same in the next run; to shrink it would take minutes and say little.
REPRODUCIBLE = settings(derandomize=True, phases=[Phase.generate], deadline=None, database=None)
KINDS = ("cut", "cut", "mend", "crash", "restart", "send", "send", "send", "send", "wait")


@dataclass(frozen=True, kw_only=True)
class Course:
    """What happens in one run."""

    seed: int
    extra: float  # links beyond a tree's, for each node
    steps: int
    wire: Wire


WIRES = st.builds(
    Wire,
    loss=st.floats(0, 0.3),
    twice=st.floats(0, 0.2),
    delay_s=st.tuples(st.floats(0.0005, 0.01), st.floats(0.01, 0.2)),
    noticed_s=st.tuples(st.just(0.01), st.floats(0.02, 3)),
)
COURSES = st.builds(Course, seed=st.integers(0, 2**32), extra=st.floats(0, 4), steps=st.integers(0, 120), wire=WIRES)
OF_MANY = st.builds(
    Course, seed=st.integers(0, 2**32), extra=st.floats(0.2, 0.4), steps=st.integers(20, 25), wire=WIRES
)


def started(size: int, course: Course) -> tuple[Network, set[frozenset[int]]]:
    """Start nodes on a random graph."""
    network = Network(size, seed=course.seed, wire=course.wire)
    wires = random_graph(size, network.rng, extra=round(course.extra * size))
    for one, two in sorted(sorted(pair) for pair in wires):
        network.join(one, two)
    return network, wires


def afflicted(size: int, course: Course) -> Network:
    """Let a network live through faults, and then leave it as it is, on good wires."""
    network, wires = started(size, course)
    rng = network.rng
    speakers = rng.sample(range(size), min(size, 8))
    for _ in range(course.steps):
        step(network, rng, sorted(sorted(pair) for pair in wires), speakers)
        check_bounds(network)
    network.wire = GOOD
    return network


def step(network: Network, rng: random.Random, wires: list[list[int]], speakers: list[int]) -> None:
    """Let one thing happen, and some time go by."""
    what, (one, two), number = rng.choice(KINDS), rng.choice(wires), rng.randrange(len(network.nodes))
    if what == "cut":
        network.cut(one, two)
    elif what == "mend" and frozenset((one, two)) not in network.wires:
        network.join(one, two)
    elif what == "crash" and network.nodes[number].alive:
        network.crash(number)
    elif what == "restart" and not network.nodes[number].alive:
        network.restart(number)
    elif what == "send":
        sender, receiver = rng.sample(speakers, 2)
        if network.nodes[sender].alive:
            for _ in range(rng.randint(1, 5)):
                network.send(sender, receiver, ttl_s=rng.choice([0.5, LASTING_S, LASTING_S]))
    network.clock.run(rng.choice([0.0, 0.01, 0.1, 1.0, 10.0]))


def check_bounds(network: Network) -> None:
    """Nothing grows with what happens: only with the number of nodes, and with what waits to be sent."""
    size = len(network.nodes)
    for node in network.nodes:
        assert len(node.flood.board.heads()) <= size
        assert len(node.flood.board._stamps) <= size
        assert len(node.forwarding._suspects) <= size
        for conversation in node.conversations.values():
            assert len(conversation.sending._waiting) <= MAX_WAITING
            current = conversation.receiving._current
            assert current is None or len(current.ahead) <= MAX_AHEAD


def check_messages(network: Network) -> None:
    """Each life of a receiver had each message once, in order; and what could come has come."""
    for (sender, life, receiver), sent in network.sent.items():
        came_to = [its for (one, two, _), its in network.handed.items() if (one, two) == (sender, receiver)]
        for numbers in came_to:
            of_this_life = [number for number in numbers if number in set(sent)]
            assert of_this_life == sorted(set(of_this_life))
        node = network.nodes[sender]
        if node.life == life and node.alive and receiver in network.hops_from(sender):
            assert set(sent) & network.lasting <= {number for numbers in came_to for number in numbers}
            assert node.conversations[receiver].sending.is_idle


def check_all(network: Network, *, within_s: float = AGREE_WITHIN_S) -> None:
    """After the faults: one view, no frame astray, every message."""
    network.clock.run(within_s)
    event(f"frames went astray meanwhile: {network.counts['gone too far'] + network.counts['unroutable'] > 0}")
    assert [number for number in range(len(network.nodes)) if not network.agrees(number)] == []
    astray = network.counts["gone too far"], network.counts["unroutable"]
    for node in network.nodes[::7]:
        others = sorted(set(network.hops_from(node.number)) - {node.number})
        if node.alive and others:
            network.send(node.number, network.rng.choice(others))
    network.clock.run(QUIET_S)
    assert (network.counts["gone too far"], network.counts["unroutable"]) == astray
    check_messages(network)
    check_bounds(network)


@settings(REPRODUCIBLE, max_examples=20)
@given(COURSES)
def test_two_dozen_nodes_come_through_whatever_happens(course: Course) -> None:
    """Cuts, crashes, restarts, loss, duplicates and delay."""
    check_all(afflicted(24, course))


@settings(REPRODUCIBLE, max_examples=8)
@given(COURSES)
def test_without_loss_a_view_heals_within_seconds(course: Course) -> None:
    """What a link brings when it comes up is enough: nobody waits for what is said again every minute."""
    wire = replace(course.wire, loss=0.0)
    check_all(afflicted(24, replace(course, wire=wire)), within_s=HEALED_WITHIN_S)


@pytest.mark.timeout(600)
@settings(REPRODUCIBLE, max_examples=2)
@given(OF_MANY)
def test_two_hundred_nodes_come_through_whatever_happens(course: Course) -> None:
    """The same of 200."""
    check_all(afflicted(200, course))
