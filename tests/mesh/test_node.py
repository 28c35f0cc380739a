"""Two nodes on loopback: they pair by words, link, talk, lose and find each other again."""

import asyncio
import contextlib
import shutil
import socket
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Literal

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mesh.certificates import BrokerAuthority, TlsKey, client_context
from mesh.core import crypto
from mesh.core.door_messages import Grant
from mesh.core.entries import Entry
from mesh.core.epochs import EpochKey
from mesh.core.topic_policy import CommonName, Role
from mesh.errors import (
    AlreadyMemberError,
    DoorRefusedError,
    LinkDownError,
    NoCommunityError,
    NoOfferError,
    NotAllowedError,
    PortInUseError,
    UnknownNodeError,
    WrongWordsError,
)
from mesh.links import LinkState
from mesh.mqtt import MqttClient
from mesh.node import MeshConfig, MeshNode, Received
from mesh.sightings import Sighting
from tests.models.waiting import until

Kind = Literal["mosquitto", "amqtt"]
DEADLINE_S = 30.0
PING, PONG = 100, 101


class Running:
    """A node that runs, and a way to wait for what it sees."""

    def __init__(self, node: MeshNode) -> None:
        self.node = node
        self.received: list[Received] = []
        self._news = asyncio.Event()
        node.on_message(self._hear)
        node.on_change(self._news.set)
        node.on_announcement(lambda _node_id, _body: self._news.set())

    def _hear(self, message: Received) -> None:
        self.received.append(message)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true; it is looked at on every change."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._news.clear()
                if not condition():
                    await self._news.wait()

    def state_of(self, other: "Running") -> str | None:
        """The link's state as this node sees it."""
        states = {one.node_id: one.state for one in self.node.neighbours()}
        return states.get(other.node.node_id)

    async def linked_to(self, other: "Running") -> None:
        """Wait for the link."""
        await self.until(lambda: self.state_of(other) == "linked")


@contextlib.asynccontextmanager
async def running(
    directory: Path,
    name: str,
    kind: Kind = "mosquitto",
    *,
    interfaces: tuple[str, ...] = ("lo",),
    static_peers: tuple[str, ...] = (),
    hardware: Path = Path("/"),
) -> AsyncIterator[Running]:
    """Run a node on the loopback interface with free ports."""
    config = MeshConfig(
        data_dir=directory / name,
        name=name,
        interfaces=interfaces,
        mqtt_port=0,
        door_port=0,
        broker=kind,
        static_peers=static_peers,
        hardware=hardware,
    )
    node = MeshNode(config)
    ready = asyncio.Event()
    task = asyncio.create_task(node.run(ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task
    try:
        yield Running(node)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def paired(one: Running, two: Running) -> None:
    """Let the second join the first, and wait for both ends of the link."""
    offer = await one.node.open_offer()
    await two.node.join(offer.words)
    await asyncio.gather(one.linked_to(two), two.linked_to(one))


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

        def enter_and_give_up(entries: Iterable[Entry], keys: Iterable[EpochKey]) -> None:
            enter(entries, keys)
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


async def test_members_of_one_founder_link_without_words(tmp_path: Path) -> None:
    """The founder admits two; they learn of each other from the ledger and exchange keys at their doors."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben, running(tmp_path, "Cleo") as cleo:
        await paired(anna, ben)
        await paired(anna, cleo)
        await asyncio.gather(ben.linked_to(cleo), cleo.linked_to(ben))
        await ben.node.send(cleo.node.node_id, PING, b"hello")
        await cleo.until(lambda: [one.body for one in cleo.received] == [b"hello"])


async def test_a_forgotten_node_is_out_and_the_others_go_on_under_a_new_key(tmp_path: Path) -> None:
    """The removal reaches everyone; the epoch key changes; those who stay still talk."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben, running(tmp_path, "Cleo") as cleo:
        await paired(anna, ben)
        await paired(anna, cleo)
        await asyncio.gather(ben.linked_to(cleo), cleo.linked_to(ben))
        with pytest.raises(NotAllowedError):
            await ben.node.forget(cleo.node.node_id)
        await anna.node.forget(cleo.node.node_id)
        assert cleo.node.node_id not in {one.node_id for one in anna.node.neighbours()}
        await ben.until(lambda: ben.state_of(cleo) is None)
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        await cleo.until(lambda: cleo.node.community() is None)
        view = ben.node.community()
        assert view is not None
        assert (view.epoch, len(view.members)) == (1, 2)
        await ben.node.send(anna.node.node_id, PING, b"still here")
        await anna.until(lambda: [one.body for one in anna.received] == [b"still here"])


async def test_a_change_of_keys_interrupts_nobody(tmp_path: Path) -> None:
    """Messages sent while a third node is shown out all arrive, in order, and the link never counts as down."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben, running(tmp_path, "Cleo") as cleo:
        await paired(anna, ben)
        await paired(anna, cleo)
        states = set[str | None]()
        ben.node.on_change(lambda: states.add(ben.state_of(anna)))
        for number in range(60):
            await ben.node.send(anna.node.node_id, PING, bytes([number]))
            if number == 20:
                await anna.node.forget(cleo.node.node_id)
                await ben.until(lambda: (view := ben.node.community()) is not None and view.epoch == 1)
        await anna.until(lambda: len(anna.received) == 60)
        assert [one.body[0] for one in anna.received] == list(range(60))
        assert states <= {"linked"}


async def test_a_blocked_node_is_cut_off_at_once(tmp_path: Path) -> None:
    """On this side alone, without asking anyone."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        await ben.node.block(anna.node.node_id)
        assert ben.state_of(anna) == "blocked"
        with pytest.raises(LinkDownError):
            await ben.node.send(anna.node.node_id, PING, b"no")
        await anna.until(lambda: anna.state_of(ben) != "linked")
        with pytest.raises(UnknownNodeError):
            await ben.node.block("a" * 52)
        await ben.node.unblock(anna.node.node_id)
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        with pytest.raises(UnknownNodeError):
            await ben.node.unblock(anna.node.node_id)


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
            await ben.node.forget("a" * 52)


async def test_who_left_may_come_back(tmp_path: Path) -> None:
    """Leaving is told to the neighbours; the same node joins again with new words."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        await ben.node.leave()
        assert ben.node.community() is None
        with pytest.raises(NoCommunityError):
            await ben.node.leave()
        await anna.until(lambda: not anna.node.neighbours())
        await paired(anna, ben)
        view = ben.node.community()
        assert view is not None
        assert (view.epoch, len(view.members)) == (1, 2)
        await ben.node.send(anna.node.node_id, PING, b"back")
        await anna.until(lambda: [one.body for one in anna.received] == [b"back"])


async def test_wrong_words_change_nothing(tmp_path: Path) -> None:
    """The offer stays open, the joiner stays alone, and the right words still work."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        with pytest.raises(NoOfferError):
            await ben.node.join("zoo zoo zoo zoo zoo zoo", at=f"127.0.0.1:{anna.node.door_port}")
        offer = await anna.node.open_offer()
        assert (await anna.node.open_offer()).words == offer.words
        with pytest.raises(WrongWordsError):
            await ben.node.join("zoo zoo zoo zoo zoo zoo", at=f"127.0.0.1:{anna.node.door_port}")
        await ben.until(lambda: bool(ben.node.nearby()))
        with pytest.raises(WrongWordsError):
            await ben.node.join("zoo zoo zoo zoo zoo zoo")
        assert ben.node.community() is None
        await ben.node.join(offer.qr, at=f"127.0.0.1:{anna.node.door_port}")
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))


async def test_an_offer_serves_one_node(tmp_path: Path) -> None:
    """A second node with the same words is refused; a member of a larger community must leave first."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben, running(tmp_path, "Cleo") as cleo:
        offer = await anna.node.open_offer()
        at = f"localhost:{anna.node.door_port}"
        await ben.node.join(offer.words, at=at)
        with pytest.raises(DoorRefusedError, match="used by another"):
            await cleo.node.join(offer.words, at=at)
        with pytest.raises(AlreadyMemberError):
            await ben.node.join(offer.words, at=at)
        with pytest.raises(NotAllowedError):
            await ben.node.open_offer()
        again = await anna.node.open_offer()
        assert again.words != offer.words
        await anna.node.close_offer()
        with pytest.raises(NoOfferError):
            await cleo.node.join(again.words, at=at)


async def test_discovered_and_linked_soon_after_start(tmp_path: Path) -> None:
    """Two members that start together are linked within a few seconds (the figure is the benchmark's)."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        assert anna.state_of(ben) == "linked"


async def test_lost_and_damaged_keys_are_asked_for_again(tmp_path: Path) -> None:
    """A grant that is gone, one that is damaged, and an authority that was made anew: the doors mend all of it."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
    with contextlib.closing(sqlite3.connect(tmp_path / "Ben" / "mesh" / "community.db")) as database, database:
        database.execute("DELETE FROM grants")
    with contextlib.closing(sqlite3.connect(tmp_path / "Anna" / "mesh" / "community.db")) as database, database:
        database.execute("UPDATE grants SET ctl = x'00'")
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
    shutil.rmtree(tmp_path / "Anna" / "mesh" / "tls")
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        await ben.node.send(anna.node.node_id, PING, b"mended")
        await anna.until(lambda: [one.body for one in anna.received] == [b"mended"])


def hostile_pem(authority: BrokerAuthority) -> bytes:
    """A certificate of somebody's, and an encrypted private key: OpenSSL would ask for its pass phrase."""
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    return authority.sign(TlsKey.make().public_bytes, CommonName("a" * 52, Role.CTL)) + encrypted


async def test_a_hostile_grant_ends_nothing_and_is_not_kept(tmp_path: Path) -> None:
    """Neither when it is given in a pairing nor when it is on the disk already."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Mallory") as mallory:
        access = mallory.node._access
        sound = access.grant_for
        hostile = hostile_pem(access.authority)

        def grant_for(raw_id: bytes, tls_public: bytes) -> Grant:
            return Grant(sound(raw_id, tls_public).ca, hostile, hostile)

        access.grant_for = grant_for  # type: ignore[method-assign]
        offer = await anna.node.open_offer()
        await mallory.node.join(offer.words)
        await until(lambda: not anna.node._door._talking)
        assert anna.node._store.grant_of(crypto.parse_node_id(mallory.node.node_id)) is None
    with contextlib.closing(sqlite3.connect(tmp_path / "Anna" / "mesh" / "community.db")) as database, database:
        row = (crypto.parse_node_id(mallory.node.node_id), access.authority.ca_pem, hostile, hostile)
        database.execute("INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?)", row)
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Mallory") as mallory:
        await asyncio.gather(anna.linked_to(mallory), mallory.linked_to(anna))
        grant = anna.node._store.grant_of(crypto.parse_node_id(mallory.node.node_id))
        assert grant is not None
        assert grant.ctl != hostile


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


async def test_who_sends_during_a_change_of_keys_does_not_stop_the_loop(tmp_path: Path) -> None:
    """It waits for news of the link, also when there was some already."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        slot = anna.node._neighbourhood._slots[ben.node.node_id]
        assert slot.link is not None
        slot.rekeying_until = time.monotonic() + DEADLINE_S
        slot.link.state = LinkState.CONNECTING
        slot.stirred.set()
        began = time.monotonic()
        sending = asyncio.create_task(anna.node.send(ben.node.node_id, PING, b"soon"))
        await asyncio.sleep(0)
        assert time.monotonic() - began < DEADLINE_S / 2
        slot.link.refresh()
        await sending
        await ben.until(lambda: [one.body for one in ben.received] == [b"soon"])


async def test_a_link_whose_key_counts_no_more_gets_a_new_one(tmp_path: Path) -> None:
    """The neighbour's authority was made anew while both were up once: who stays down knocks at the door."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        other = BrokerAuthority(tmp_path / "other")
        grant = ben.node._store.grant_of(crypto.parse_node_id(anna.node.node_id))
        assert grant is not None
    with contextlib.closing(sqlite3.connect(tmp_path / "Ben" / "mesh" / "community.db")) as database, database:
        database.execute("UPDATE grants SET ca = ?", (other.ca_pem,))
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        assert ben.node._store.grant_of(crypto.parse_node_id(anna.node.node_id)) is not None


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


async def test_strangers_get_into_no_broker(tmp_path: Path) -> None:
    """Neither without a certificate nor with one of another authority nor as somebody else."""
    async with running(tmp_path, "Anna") as anna:
        own, other = BrokerAuthority(tmp_path / "Anna" / "mesh" / "tls"), BrokerAuthority(tmp_path / "other")
        key = TlsKey.make()
        name = CommonName("a" * 52, Role.CTL)
        foreign = client_context(ca_pem=own.ca_pem, certificate_pem=other.sign(key.public_bytes, name), key=key)
        bare = ssl.create_default_context(cadata=own.ca_pem.decode())
        bare.check_hostname = False
        for context in (foreign, bare):
            client = MqttClient("127.0.0.1", port=anna.node.mqtt_port, tls=context, client_id=str(name))
            assert await never_connected(client)


async def never_connected(client: MqttClient) -> str:
    """Let a client try until it is told why not; return that."""
    states: list[bool] = []
    client._on_state = states.append
    task = asyncio.create_task(client.run())
    async with asyncio.timeout(DEADLINE_S):
        while not client.last_error:  # noqa: ASYNC110  the client reports attempts nowhere else
            await asyncio.sleep(0.01)
    client.close()
    await task
    assert states == []
    return client.last_error


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
