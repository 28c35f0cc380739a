"""Beyond the neighbours: nodes on loopback that are told only of some of the others reach the rest over relays."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mesh.core.announcements import Stamp, Topic, announce
from mesh.core.routes import LinksAdvert
from mesh.errors import LinkDownError
from mesh.node import Lane
from mesh.sightings import Sighting
from tests.mesh.core.world import Person
from tests.mesh.nodes import PING, PONG, Kind, Running, running
from tests.models.waiting import until

NOWHERE = ()  # no interface for mDNS: nodes know only the addresses they are told


@contextlib.asynccontextmanager
async def around(directory: Path, names: str, kind: Kind = "mosquitto") -> AsyncIterator[list[Running]]:
    """Run nodes whose first lets all the others in; each is linked with the first alone."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(running(directory, name, kind, interfaces=NOWHERE)) for name in names]
        for guest in nodes[1:]:
            await admitted(nodes[0], guest)
        yield nodes


async def admitted(host: Running, guest: Running) -> None:
    """Let a node in by the host's address."""
    offer = await host.node.open_offer()
    await guest.node.join(offer.words, at=f"127.0.0.1:{host.node.door_port}")
    await asyncio.gather(host.linked_to(guest), guest.linked_to(host))


async def linked(one: Running, two: Running) -> None:
    """Tell two members of each other, and wait for the link."""
    for here, there in ((one, two), (two, one)):
        place = Sighting(there.node.node_id, ("127.0.0.1",), there.node.mqtt_port, there.node.door_port)
        here.node.sighted(place)
    await asyncio.gather(one.linked_to(two), two.linked_to(one))


def hops(one: Running, two: Running) -> int:
    """How far away one node sees another."""
    return next((each.hops for each in one.node.neighbours() if each.node_id == two.node.node_id), 0)


async def reaches(one: Running, two: Running, at: int) -> None:
    """Wait until both are so many hops apart."""
    await asyncio.gather(one.until(lambda: hops(one, two) == at), two.until(lambda: hops(two, one) == at))


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
async def test_messages_go_over_a_relay(tmp_path: Path, kind: Kind) -> None:
    """On both lanes, both ways, and the far node is shown as reachable."""
    async with around(tmp_path, "BAC", kind) as (_ben, anna, carl):
        await reaches(anna, carl, 2)
        states = {one.node_id: one.state for one in anna.node.neighbours()}
        assert states[carl.node.node_id] == "reachable"
        for lane in Lane:
            body = bytes(200_000) if lane is Lane.BULK else b"ping"
            question = await anna.node.send(carl.node.node_id, PING, body, lane=lane)
            await carl.until(lambda question=question: question in [one.message_id for one in carl.received])  # type: ignore[misc]
            answer = await carl.node.send(anna.node.node_id, PONG, b"pong", re=question, lane=lane)
            await anna.until(lambda answer=answer: answer in [one.message_id for one in anna.received])  # type: ignore[misc]
        assert [one.peer for one in carl.received] == [anna.node.node_id] * 2


async def test_messages_go_over_three_hops(tmp_path: Path) -> None:
    """In a line of four: the last was let in by the second, and then moved to where only the third knows it."""
    async with around(tmp_path, "BAC") as (ben, anna, carl):
        async with running(tmp_path, "D", interfaces=NOWHERE) as dora:
            await admitted(ben, dora)
        async with running(tmp_path, "D", interfaces=NOWHERE) as dora:
            await linked(carl, dora)
            await reaches(anna, dora, 3)
            question = await anna.node.send(dora.node.node_id, PING, b"ping")
            await dora.until(lambda: [one.message_id for one in dora.received] == [question])
            await dora.node.send(anna.node.node_id, PONG, b"pong", re=question)
            await anna.until(lambda: [one.re for one in anna.received] == [question])


async def test_many_messages_arrive_once_and_in_order(tmp_path: Path) -> None:
    """More than a window of them."""
    async with around(tmp_path, "BAC") as (_ben, anna, carl):
        await reaches(anna, carl, 2)
        for number in range(500):
            await anna.node.send(carl.node.node_id, PING, number.to_bytes(2, "big"))
        await carl.until(lambda: len(carl.received) >= 500)
        assert [int.from_bytes(one.body, "big") for one in carl.received] == list(range(500))


async def test_another_relay_takes_over(tmp_path: Path) -> None:
    """In a diamond, the death of the relay loses nothing."""
    async with around(tmp_path, "CAD") as (carl, anna, dora):
        async with running(tmp_path, "B", interfaces=NOWHERE) as ben:
            await admitted(carl, ben)
            await linked(ben, anna)
            await linked(ben, dora)
            await reaches(anna, dora, 2)
            for number in range(100):
                await anna.node.send(dora.node.node_id, PING, bytes([number]))
        began = time.monotonic()
        for number in range(100, 200):
            await anna.node.send(dora.node.node_id, PING, bytes([number]))
        await dora.until(lambda: len(dora.received) >= 200)
        assert [one.body[0] for one in dora.received] == list(range(200))
        assert time.monotonic() - began < 30


async def test_who_is_out_of_reach_is_said_to_be(tmp_path: Path) -> None:
    """Without the relay there is no path, and sending says so at once."""
    async with running(tmp_path, "A", interfaces=NOWHERE) as anna, running(tmp_path, "C", interfaces=NOWHERE) as carl:
        async with running(tmp_path, "B", interfaces=NOWHERE) as ben:
            await admitted(ben, anna)
            await admitted(ben, carl)
            await reaches(anna, carl, 2)
        await reaches(anna, carl, 0)
        with pytest.raises(LinkDownError, match="nothing leads to"):
            await anna.node.send(carl.node.node_id, PING, b"too late")


async def test_what_a_relay_swallows_goes_another_way(tmp_path: Path) -> None:
    """A relay that takes frames and passes none on is avoided after the first loss."""
    async with around(tmp_path, "CAD") as (carl, anna, dora), running(tmp_path, "B", interfaces=NOWHERE) as ben:
        await admitted(carl, ben)
        await linked(ben, anna)
        await linked(ben, dora)
        await reaches(anna, dora, 2)
        used: list[str] = []
        for relay in (ben, carl):
            router = relay.node._exchange._router
            forward = router._forward

            def passed(*frame: Any, name: str = relay.node.name, forward: Any = forward) -> None:  # noqa: ANN401  passed on as it is
                used.append(name)
                if len(set(used)) > 1:  # whoever is asked first swallows everything
                    forward(*frame)

            router._forward = passed  # type: ignore[method-assign, assignment]
        await anna.node.send(dora.node.node_id, PING, b"ping")
        await dora.until(lambda: [one.body for one in dora.received] == [b"ping"])
        assert set(used) == {"B", "C"}


async def test_what_is_announced_while_a_link_comes_up_is_heard(tmp_path: Path) -> None:
    """A link whose control lane is there first passes on what the others say before its bulk lane is there too."""
    async with around(tmp_path, "BAC") as (ben, anna, carl):
        await reaches(anna, carl, 2)
        link = ben.node._neighbourhood.linked[anna.node.node_id]
        bulk, control = link._lanes[Lane.BULK].channel, link._lanes[Lane.CTL].channel._sessions
        bulk.way_closed()
        link.refresh()
        await ben.until(lambda: hops(ben, anna) == 0)
        session = control._current
        carl.node.announce(lambda: b"news")
        await anna.until(lambda: anna.node.announcements().get(carl.node.node_id) == b"news")
        assert link in ben.node._neighbourhood.links
        assert control._current is session  # a new one would have begun with a comparison
        bulk.way_opened()
        await reaches(anna, carl, 2)


async def test_a_restored_backup_is_heard_again(tmp_path: Path) -> None:
    """A node whose count of starts went back jumps past what the others remember of it."""
    async with running(tmp_path, "B", interfaces=NOWHERE) as ben:
        async with running(tmp_path, "A", interfaces=NOWHERE) as anna:
            await admitted(ben, anna)
        backup = (tmp_path / "A" / "mesh" / "community.db").read_bytes()
        for number in range(3):
            async with running(tmp_path, "A", interfaces=NOWHERE) as anna:
                anna.node.announce(lambda number=number: bytes([number]))  # type: ignore[misc]
                await linked(anna, ben)
                await ben.until(lambda number=number: [*ben.node.announcements().values()] == [bytes([number])])  # type: ignore[misc]
        (tmp_path / "A" / "mesh" / "community.db").write_bytes(backup)
        async with running(tmp_path, "A", interfaces=NOWHERE) as anna:
            anna.node.announce(lambda: b"back")
            await linked(anna, ben)
            await ben.until(lambda: [*ben.node.announcements().values()] == [b"back"])


async def test_many_adverts_at_once_are_computed_together(tmp_path: Path) -> None:
    """A node that comes to hundreds of others is not busy with each by itself."""
    async with around(tmp_path, "AB") as (anna, _ben):
        router = anna.node._exchange._router
        update = router._forwarding.update
        heard: list[int] = []

        def counted(links: Mapping[bytes, int], adverts: Mapping[bytes, LinksAdvert]) -> None:
            heard.append(len(router._adverts))
            update(links, adverts)

        router._forwarding.update = counted  # type: ignore[method-assign]
        for number in range(200):
            person = Person(f"member {number}")
            body = LinksAdvert({bytes([number]) * 8: 10}).to_body()
            router.heard(announce(person.seed, bytes(32), Topic.LINKS, Stamp(1, 1), body))
        await until(lambda: any(count >= 200 for count in heard))
        assert len(heard) <= 3
