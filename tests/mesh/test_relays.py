"""What relays and colluders can do, and what not even they can."""

from pathlib import Path

from mesh.core.frames import Frame
from mesh.core.routes import LAN_METRIC, LinksAdvert, RouteTable, short_id
from mesh.links import Link
from tests.mesh.core.world import Person
from tests.mesh.nodes import PING
from tests.mesh.test_routing import around, reaches

ADA, BEN, CLEO, DORA, EVE = (Person(name) for name in ("ada", "ben", "cleo", "dora", "eve"))


def lists(*neighbours: Person, metric: int = LAN_METRIC) -> LinksAdvert:
    """What a node says of its links."""
    return LinksAdvert({short_id(one.raw_id): metric for one in neighbours})


def test_two_that_lie_together_can_invent_an_edge() -> None:
    """Not defended: an edge both ends claim counts, so colluders can draw traffic between them over themselves."""
    table = RouteTable(ADA.raw_id)
    links = {BEN.raw_id: LAN_METRIC, CLEO.raw_id: LAN_METRIC}
    honest = {
        BEN.raw_id: lists(ADA, DORA),
        CLEO.raw_id: lists(ADA),
        DORA.raw_id: lists(BEN, EVE),
        EVE.raw_id: lists(DORA),
    }
    table.update(links, honest)
    assert (table.next_hop(EVE.raw_id), table.hops(EVE.raw_id)) == (BEN.raw_id, 3)
    table.update(links, {**honest, CLEO.raw_id: lists(ADA, EVE), EVE.raw_id: lists(DORA, CLEO)})
    assert (table.next_hop(EVE.raw_id), table.hops(EVE.raw_id)) == (CLEO.raw_id, 2)


def test_one_that_lies_alone_cannot() -> None:
    """An edge that the other end does not list is none, however cheap it is said to be."""
    table = RouteTable(ADA.raw_id)
    links = {BEN.raw_id: LAN_METRIC, CLEO.raw_id: LAN_METRIC}
    adverts = {BEN.raw_id: lists(ADA, DORA), CLEO.raw_id: lists(ADA, DORA, metric=1), DORA.raw_id: lists(BEN)}
    table.update(links, adverts)
    assert (table.next_hop(DORA.raw_id), table.hops(DORA.raw_id)) == (BEN.raw_id, 2)


async def test_a_relay_that_delays_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """What it holds back is sent again; when it lets go of it at last, nothing comes twice."""
    async with around(tmp_path, "BAC") as (ben, anna, carl):
        await reaches(anna, carl, 2)
        await anna.node.send(carl.node.node_id, PING, b"first")
        await carl.until(lambda: len(carl.received) == 1)
        router = ben.node._exchange._router
        forward = router._forward
        held: list[tuple[Link, Frame, bytes]] = []

        def delayed(link: Link, frame: Frame, payload: bytes) -> None:
            if len(held) < 5:
                held.append((link, frame, payload))
            else:
                forward(link, frame, payload)

        router._forward = delayed  # type: ignore[method-assign]
        for number in range(5):
            await anna.node.send(carl.node.node_id, PING, bytes([number]), ttl_s=60)
        await carl.until(lambda: len(carl.received) == 6)
        assert len(held) == 5
        for one in held:
            forward(*one)
        await anna.node.send(carl.node.node_id, PING, b"last")
        await carl.until(lambda: carl.received[-1].body == b"last")
        assert [one.body for one in carl.received] == [b"first", *(bytes([number]) for number in range(5)), b"last"]
