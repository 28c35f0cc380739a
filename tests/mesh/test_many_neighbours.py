"""More nodes than one links with: bounds made small, so that five are many."""

import asyncio
import contextlib
import itertools
from pathlib import Path

import pytest

from mesh import choosing, neighbourhood
from mesh.core import crypto, neighbour_choice
from mesh.links import LinkState
from mesh.sightings import Sighting
from tests.mesh.nodes import PING, Running, running
from tests.mesh.test_routing import NOWHERE, admitted, hops


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two others be many already."""
    for module in (neighbour_choice, choosing):
        monkeypatch.setattr(module, "ALL_UP_TO", 1)
    monkeypatch.setattr(neighbour_choice, "FEW_FROM", 1)
    for pause in ("CHOOSE_EVERY_S", "UNWANTED_S", "LET_GO_S"):
        monkeypatch.setattr(choosing, pause, 0.2)
    monkeypatch.setattr(neighbourhood, "CHOOSE_EVERY_S", 0.2)


def tell(one: Running, *others: Running) -> None:
    """Tell a node where others are."""
    for other in others:
        if other is not one:
            node = other.node
            one.node.sighted(Sighting(node.node_id, ("127.0.0.1",), node.mqtt_port, node.door_port))


def is_linked(one: Running, two: Running) -> bool:
    """Whether a node has a link with another that is up."""
    slot = one.node._neighbourhood._slots.get(two.node.node_id)
    return slot is not None and slot.state is LinkState.LINKED


async def linked(one: Running, two: Running) -> None:
    """Wait until each has a link with the other."""
    await asyncio.gather(one.until(lambda: is_linked(one, two)), two.until(lambda: is_linked(two, one)))


def on_the_ring(nodes: list[Running]) -> list[Running]:
    """Put nodes in the order of their ids."""
    return sorted(nodes, key=lambda running: crypto.parse_node_id(running.node.node_id))


async def test_who_asks_for_a_link_is_taken(tmp_path: Path) -> None:
    """A node that sees less of the others chooses one that did not choose it."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(running(tmp_path, name, interfaces=NOWHERE)) for name in "ABCD"]
        host = nodes[0]
        for guest in nodes[1:]:
            await admitted(host, guest)
        ring = on_the_ring(nodes)
        one, two = (pair for pair in (ring[0::2], ring[1::2]) if host not in pair).__next__()
        (other,) = set(nodes) - {host, one, two}
        tell(one, two)
        tell(two, one, other)
        tell(other, two)
        await linked(one, two)
        raw_ids = [crypto.parse_node_id(each.node.node_id) for each in (two, host, one, other)]
        assert raw_ids[2] not in neighbour_choice.choose(raw_ids[0], raw_ids, ())


async def test_no_more_links_are_kept_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of five links with its two neighbours on the ring and at most one more, and reaches everybody."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(running(tmp_path, name, interfaces=NOWHERE)) for name in "ABCDE"]
        for guest in nodes[1:]:
            await admitted(nodes[0], guest)
        # Not before: the guests know nobody but their host yet, who would let one of them wait for another.
        monkeypatch.setattr(neighbour_choice, "MAX_NEIGHBOURS", 3)
        for one in nodes:
            tell(one, *nodes)
        ring = on_the_ring(nodes)
        for one, two in itertools.pairwise([*ring, ring[0]]):
            await linked(one, two)
        for one, two in itertools.permutations(nodes, 2):
            await one.until(lambda one=one, two=two: hops(one, two) > 0)  # type: ignore[misc]
        for one in nodes:
            await one.until(lambda one=one: sum(is_linked(one, two) for two in nodes) <= 3)  # type: ignore[misc]
        pairs = [*itertools.combinations(nodes, 2)]
        async with asyncio.timeout(20):  # who was let go knows it, or would talk to nobody
            while any(is_linked(one, two) is not is_linked(two, one) for one, two in pairs):  # noqa: ASYNC110  two nodes tell of it
                await asyncio.sleep(0.01)
        await ring[0].node.send(ring[2].node.node_id, PING, b"over there")
        await ring[2].until(lambda: [one.body for one in ring[2].received] == [b"over there"])


async def test_who_is_tried_in_vain_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is heard of again."""
    monkeypatch.setattr(neighbourhood, "CHOOSE_EVERY_S", 0.05)
    monkeypatch.setattr(choosing, "VAIN_S", 1.0)
    async with running(tmp_path, "A", interfaces=NOWHERE) as anna, running(tmp_path, "B", interfaces=NOWHERE) as ben:
        await admitted(anna, ben)
        async with running(tmp_path, "C", interfaces=NOWHERE) as carl:
            await admitted(anna, carl)
        slot = anna.node._neighbourhood._slots[carl.node.node_id]
        async with asyncio.timeout(20):
            while slot.task is not None:  # noqa: ASYNC110  no event announces it
                await asyncio.sleep(0.01)
        monkeypatch.setattr(choosing, "VAIN_S", 60.0)
        assert is_linked(anna, ben)
        async with running(tmp_path, "C", interfaces=NOWHERE) as carl:
            tell(anna, carl)
            await anna.linked_to(carl)
