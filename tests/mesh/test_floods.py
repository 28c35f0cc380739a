"""A member that signs valid entries without end, by forking its feed: what it can cost whom, and what it cannot."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.core import codec
from mesh.core.entries import Entry, Place, Remove, RotateKey
from mesh.core.envelope import Envelope, MeshKind
from mesh.core.ledger import MAX_FEED_BYTES
from mesh.core.pairing import MAX_ADMISSION_BYTES
from mesh.core.surplus import FEEDS
from mesh.sync import SURPLUS_BURST_BYTES, SURPLUS_BYTES_PER_S
from tests.mesh.core.world import Person, of_the_future
from tests.mesh.syncing import ANNA, CLEO, DARA, Net, Node, same, three_nodes

SIZE = 12_000  # of one entry, so that as few signatures as possible make many bytes
PER_MESSAGE = 20
FLOOD_BYTES = 4 * 2**20
SLACK_S = 60  # in which as much more may come, for a slow machine


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """Anna founded; Ben and Cleo are members."""
    with three_nodes(tmp_path) as made:
        yield made


def branches(node: Node, *, start: int = 0) -> Iterator[list[Entry]]:
    """Cleo's messages, each with branches that nobody has seen."""
    place, number = Place(0, None, (node.ledger.community,)), start
    while True:
        yield [of_the_future(CLEO, node.ledger, SIZE + number + n, place=place) for n in range(PER_MESSAGE)]
        number += PER_MESSAGE


def sends(net: Net, cleo: Node, receiver: Node, entries: list[Entry]) -> None:
    """Have Cleo's node send entries, as it can at any time."""
    body = codec.encode([False, [entry.raw for entry in entries]])
    envelope = Envelope(MeshKind.ENTRIES, bytes(16), None, 0, body)
    receiver.sync.receive(receiver.wires[cleo.person.name], envelope)
    net.settle()


def held(node: Node, person: Person = CLEO) -> int:
    """The bytes of somebody's entries at a node."""
    return sum(len(entry.raw) for entry in node.ledger.entries if entry.author == person.public)


def test_a_flood_of_forks_costs_a_bounded_number_of_bytes(nodes: list[Node]) -> None:
    """Twice what a feed holds, what a neighbour may bring at once, and a quarter of a kilobyte a second from then on.

    Nobody is sent more of it unasked; what others sign gets through, to them and from them; and the removal, to all.
    """
    anna, ben, cleo = nodes
    net = Net()
    net.link(anna, ben)
    net.link(anna, cleo)
    net.settle()
    flood, sent = branches(anna), 0
    while sent < FLOOD_BYTES:
        message = next(flood)
        sent += sum(len(entry.raw) for entry in message)
        sends(net, cleo, anna, message)
        if sent < FLOOD_BYTES / 4:
            anna.admits(Person(f"guest {sent}"))
            anna.sync.spread([anna.ledger.entries[-1]])
            net.settle()
    most = FEEDS * MAX_FEED_BYTES + SURPLUS_BURST_BYTES + SLACK_S * SURPLUS_BYTES_PER_S
    assert SURPLUS_BURST_BYTES / 2 < held(anna) <= most < FLOOD_BYTES / 2
    assert held(ben) <= FEEDS * MAX_FEED_BYTES
    assert ben.ledger.equivocations.keys() == {CLEO.public}
    assert len(ben.store.others) == len(anna.store.others) > 3
    news = ben.store.sign(Remove(DARA.public, "news"))
    ben.sync.spread([news])
    net.settle()
    assert news.id in anna.ledger
    assert len(news.raw) < 400  # it is built on no surplus
    removal = anna.store.sign(Remove(CLEO.public, "it floods"))
    anna.sync.spread([removal])
    anna.sync.ensure_key()
    net.settle()
    assert same(anna, ben)
    assert CLEO.raw_id not in {member.raw_id for member in ben.store.others}


def test_many_that_flood_are_bounded_each_by_itself_and_keep_no_news_back(nodes: list[Node]) -> None:
    """Also where each node was shown other branches first: what one has built on, another gets, and at once."""
    anna, ben, cleo = nodes
    net = Net()
    net.link(anna, cleo)
    net.link(ben, cleo)
    net.settle()
    for node, start in ((anna, 0), (ben, 1000)):
        flood = branches(node, start=start)
        for _ in range(8):
            sends(net, cleo, node, next(flood))
            node.store.sign(Remove(DARA.public, f"{start} {len(node.ledger)}"))
    assert all(any(map(node.ledger.is_surplus, node.ledger.entries)) for node in (anna, ben))
    signed = {entry.id for node in (anna, ben) for entry in node.ledger.entries if entry.author != CLEO.public}
    net.link(anna, ben)
    net.settle()
    for node in (anna, ben):
        assert all(one in node.ledger for one in signed)
        assert not any(node.ledger.is_surplus(entry) for entry in node.ledger.entries if entry.author != CLEO.public)
    removal = anna.store.sign(Remove(CLEO.public, "it floods"))
    anna.sync.spread([removal])
    net.settle()
    assert CLEO.raw_id not in {member.raw_id for member in ben.store.others}


def test_an_accomplice_that_builds_on_surplus_brings_no_more_than_a_message_for_each_of_its_entries(
    nodes: list[Node],
) -> None:
    """What somebody else has built on is taken, whatever came before: its author pays with its own feed."""
    anna, ben, cleo = nodes
    net = Net()
    net.link(anna, cleo)
    net.link(anna, ben)
    net.settle()
    flood = branches(anna)
    for _ in range(8):
        sends(net, cleo, anna, next(flood))
    before = held(anna)
    sends(net, cleo, anna, next(flood))
    assert held(anna) <= before + SLACK_S * SURPLUS_BYTES_PER_S
    message = next(flood)
    place = ben.ledger.next_place(ben.person.public)
    deps = tuple(sorted(entry.id for entry in message))
    on_top = ben.person.publishes(anna.ledger, "tiny", place=Place(place.seq, place.prev, deps))
    assert on_top.id not in anna.ledger
    sends(net, cleo, anna, [*message, on_top])
    assert on_top.id in anna.ledger
    assert all(entry.id in anna.ledger for entry in message)
    assert on_top.id in ben.ledger  # and whoever gets it, gets what it is built on


def test_a_flood_keeps_no_newcomer_out(nodes: list[Node]) -> None:
    """More forks than an admission holds, taken in over months: it holds what it must; the rest comes over links."""
    anna, *_ = nodes
    flood = branches(anna)
    while held(anna) < MAX_ADMISSION_BYTES + 2**20:
        anna.store.take(next(flood))
    anna.admits(DARA)
    entries = anna.ledger.for_newcomer(MAX_ADMISSION_BYTES)
    assert sum(len(entry.raw) for entry in entries) < 2**20
    assert {entry.id for entry in anna.ledger.entries if entry.author == ANNA.public} <= {entry.id for entry in entries}


def test_rotations_without_end_are_surplus_and_leave_all_with_one_number(nodes: list[Node]) -> None:
    """Each key would have a feed of its own, and each rotation changes the number under which nodes share keys.

    Another node hears of them also where the first one has been flooded before.
    """
    anna, ben, cleo = nodes
    net = Net()
    net.link(anna, ben)
    net.link(anna, cleo)
    net.settle()
    flood = branches(anna)
    for _ in range(3):
        sends(net, cleo, anna, next(flood))
    mark, chain, old = anna.ledger.mark(), list[Entry](), CLEO
    for number in range(300):
        new = Person(f"key {number}")
        chain.append(old.signs(anna.ledger, RotateKey(old.public, new.statement)))
        old = new
    anna.ledger.back_to(mark)
    for start in range(0, len(chain), 50):
        sends(net, cleo, anna, chain[start : start + 50])
    assert all(anna.ledger.is_surplus(entry) for entry in chain)
    assert anna.store.keys.number == 300
    assert same(anna, ben)
    assert held(ben) <= held(anna) <= FEEDS * MAX_FEED_BYTES + SURPLUS_BURST_BYTES
