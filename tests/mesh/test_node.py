"""Two nodes on loopback: they pair by words, link, talk, lose and find each other again."""

import asyncio
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

from mesh.core.epochs import EpochKey
from mesh.core.ledger import Ledger
from mesh.errors import LinkDownError, NoOfferError, PortInUseError, UnknownNodeError
from mesh.node import MeshConfig, MeshNode, Received
from mesh.sightings import Sighting
from tests.mesh.nodes import DEADLINE_S, PING, PONG, Kind, paired, running
from tests.models.waiting import until


@pytest.mark.parametrize("kinds", [("mosquitto", "mosquitto"), ("amqtt", "amqtt"), ("mosquitto", "amqtt")])
async def test_two_nodes_pair_link_and_talk(tmp_path: Path, kinds: tuple[Kind, Kind]) -> None:
    """Words on one screen, typed at the other: then messages go both ways."""
    async with running(tmp_path, "Anna", kinds[0]) as anna, running(tmp_path, "Ben", kinds[1]) as ben:
        offer = await anna.node.open_offer()
        joined = await ben.node.join(offer.words)
        assert (joined.node_id, joined.name, joined.community) == (anna.node.node_id, "Anna", "Anna")
        assert joined.fingerprint == anna.node.fingerprint
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        question = await ben.node.send(anna.node.node_id, PING, b"ping")
        await anna.until(lambda: bool(anna.received))
        assert anna.received == [Received(ben.node.node_id, PING, question, None, b"ping")]
        await anna.node.send(ben.node.node_id, PONG, b"pong", re=question)
        await ben.until(lambda: bool(ben.received))
        assert (ben.received[0].kind, ben.received[0].re, ben.received[0].body) == (PONG, question, b"pong")
        views = [anna.node.community(), ben.node.community()]
        assert views[0] == views[1]
        assert views[0] is not None
        assert [(one.name, one.role) for one in views[0].members] == [("Anna", "voter"), ("Ben", "observer")]


async def test_nobody_knocks_at_the_door_of_a_joiner_that_is_on_its_way_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys are exchanged in the pairing itself; the others learn of the newcomer when it knows them."""
    caplog.set_level("INFO", "mesh")
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben, running(tmp_path, "Cleo") as cleo:
        await anna.until(lambda: len(anna.node.nearby()) > 1)
        await ben.until(lambda: len(ben.node.nearby()) > 1)
        await paired(anna, ben)
        await paired(anna, cleo)
        await asyncio.gather(ben.linked_to(cleo), cleo.linked_to(ben))
    assert "does not know this one" not in caplog.text


async def test_a_join_whose_caller_gave_up_still_counts(tmp_path: Path) -> None:
    """What is saved is acted on: the links come up although nobody waits for the answer."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        offer = await anna.node.open_offer()
        joining = asyncio.create_task(ben.node.join(offer.words))
        enter = ben.node._store.enter

        def enter_and_give_up(ledger: Ledger, keys: Iterable[EpochKey]) -> None:
            enter(ledger, keys)
            joining.cancel()

        ben.node._store.enter = enter_and_give_up  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await joining
        assert [one.node_id for one in ben.node.neighbours()] == [anna.node.node_id]
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        assert ben.node.community() == anna.node.community()


async def test_a_forged_record_does_not_move_a_neighbour(tmp_path: Path) -> None:
    """It is dialled where it was met, whatever was announced since, and however often."""
    async with running(tmp_path, "Anna", interfaces=()) as anna, running(tmp_path, "Ben", interfaces=()) as ben:
        offer = await anna.node.open_offer()
        await ben.node.join(offer.words, at=f"127.0.0.1:{anna.node.door_port}")
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        with socket.create_server(("127.0.0.2", 0)) as nobody:
            port = nobody.getsockname()[1]
            forged = Sighting(ben.node.node_id, ("127.0.0.2",), port, port)
            anna.node.sighted(forged)
            assert ben.node._broker._process is not None
            ben.node._broker._process.kill()
            await anna.until(lambda: anna.state_of(ben) != "linked")
            for _ in range(10):
                anna.node.sighted(forged)
            await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
            await anna.node.send(ben.node.node_id, PING, b"there")
            await ben.until(lambda: [one.body for one in ben.received] == [b"there"])


async def test_a_restarted_node_links_again(tmp_path: Path) -> None:
    """It finds its community on disk, its neighbour by mDNS; the one that stayed up answers at once."""
    async with running(tmp_path, "Anna") as anna:
        async with running(tmp_path, "Ben") as ben:
            await paired(anna, ben)
            ben_id = ben.node.node_id
        await anna.until(lambda: [one.state for one in anna.node.neighbours()] == ["unreachable"])
        with pytest.raises(LinkDownError):
            await anna.node.send(ben_id, PING, b"lost")
        async with running(tmp_path, "Ben") as ben:
            assert ben.node.node_id == ben_id
            await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
            await anna.node.send(ben_id, PING, b"again")
            await ben.until(lambda: [one.body for one in ben.received] == [b"again"])


async def test_why_a_neighbour_is_not_reached_is_known(tmp_path: Path) -> None:
    """Where it was tried and what came of it; nothing while it is linked."""
    async with running(tmp_path, "Anna") as anna:
        async with running(tmp_path, "Ben") as ben:
            await paired(anna, ben)
            assert [one.trouble for one in anna.node.neighbours()] == [""]
            place = f"127.0.0.1 port {ben.node.mqtt_port}"
        await anna.until(lambda: anna.state_of(ben) == "unreachable")
        await until(lambda: anna.node.neighbours()[0].trouble == f"{place}: connection refused")
        with pytest.raises(UnknownNodeError):
            ben.node.belonging.forget("a" * 52)


async def test_discovered_and_linked_soon_after_start(tmp_path: Path) -> None:
    """Two members that start together are linked within a few seconds (the figure is the benchmark's)."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        assert anna.state_of(ben) == "linked"


async def test_a_goodbye_while_a_door_answers_does_not_stop_the_loop(tmp_path: Path) -> None:
    """A member with a key but without an address waits for one, and lets everything else go on."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        hood, ben_id = anna.node._neighbourhood, ben.node.node_id
        slot, sighting = hood._slots[ben_id], hood._sightings._sighted[ben_id]
        hood._stop(slot)
        hood._sightings._sighted.clear()
        slot.stirred.set()
        hood._start(slot)
        async with asyncio.timeout(DEADLINE_S):
            while slot.stirred.is_set():  # noqa: ASYNC110  it says nothing when it waits
                await asyncio.sleep(0)
        hood.sighted(sighting)
        await anna.linked_to(ben)


@pytest.mark.parametrize("at", ["no-such-host.invalid", "8.8.8.8", "127.0.0.1:80", "a..b", "x" * 70])
async def test_doors_that_are_none_are_named(tmp_path: Path, at: str) -> None:
    """A name nobody has, an address of the internet, a port of the system, what is no name at all."""
    async with running(tmp_path, "Anna", static_peers=("no-such-host.invalid", "my..host")) as anna:
        with pytest.raises(NoOfferError):
            await anna.node.join("zoo zoo zoo zoo zoo zoo", at=at)


async def test_nobody_in_reach_is_said(tmp_path: Path) -> None:
    """After a look around; a static peer that is away is no other error."""
    async with running(tmp_path, "Anna", interfaces=(), static_peers=("no-such-host.invalid",)) as anna:
        with pytest.raises(NoOfferError, match="in reach"):
            await anna.node.join("zoo zoo zoo zoo zoo zoo")


async def test_static_peers_are_found_without_mdns(tmp_path: Path) -> None:
    """The owner names the address; who lives there is proven at the door."""
    async with running(tmp_path, "Anna", interfaces=()) as anna:
        at = f"127.0.0.1:{anna.node.door_port}"
        async with running(tmp_path, "Ben", interfaces=(), static_peers=(at,)) as ben:
            offer = await anna.node.open_offer()
            await ben.node.join(offer.words)
            await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        async with running(tmp_path, "Ben", interfaces=(), static_peers=(at,)) as ben:
            await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
            assert [one.addresses for one in ben.node.nearby()] == [("127.0.0.1",)]


async def test_the_device_may_not_speak_for_the_mesh(tmp_path: Path) -> None:
    """Kinds below 16 are the mesh's own, and nobody is linked to nobody."""
    async with running(tmp_path, "Anna") as anna:
        with pytest.raises(ValueError, match="belongs to the mesh"):
            await anna.node.send("a" * 52, 1, b"")
        with pytest.raises(LinkDownError):
            await anna.node.send("a" * 52, PING, b"")


async def test_a_port_in_use_stops_the_start(tmp_path: Path) -> None:
    """It is named, and nothing keeps running."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        node = MeshNode(
            MeshConfig(data_dir=tmp_path, name="Anna", interfaces=(), mqtt_port=0, door_port=other.getsockname()[1])
        )
        with pytest.raises(ExceptionGroup) as caught:
            await node.run(asyncio.Event())
        assert caught.group_contains(PortInUseError)


async def test_a_node_on_loopback_alone_listens_nowhere_else(tmp_path: Path) -> None:
    """Broker and door keep to 127.0.0.1; any other address of the machine refuses."""
    async with running(tmp_path, "anna") as anna:
        for port in (anna.node.mqtt_port, anna.node.door_port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.2", port)


async def test_a_neighbour_that_says_goodbye_at_once_stops_nothing(tmp_path: Path) -> None:
    """Sighted and gone before its link was begun: the node waits for it, and its loop goes on turning."""
    async with running(tmp_path, "anna") as anna, running(tmp_path, "ben") as ben:
        await paired(anna, ben)
        sighting = next(one for one in anna.node.nearby() if one.node_id == ben.node.node_id)
    async with running(tmp_path, "anna") as anna:
        anna.node.sighted(sighting)
        anna.node._neighbourhood.lost(sighting.node_id)
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.to_thread(lambda: None)
        assert anna.node.neighbours()[0].state != "linked"


async def test_a_host_name_no_resolver_takes_is_said(tmp_path: Path) -> None:
    """Two dots in a row are no name."""
    async with running(tmp_path, "anna") as anna:
        with pytest.raises(NoOfferError, match="cannot be found"):
            await anna.node.join("abandon ability able about above absent", at="my..host")
