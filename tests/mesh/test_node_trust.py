"""Nodes on loopback: who is let in, who is put out, and which keys count."""

import asyncio
import contextlib
import shutil
import sqlite3
import ssl
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mesh.certificates import BrokerAuthority, TlsKey, client_context
from mesh.core import crypto
from mesh.core.door_messages import Grant
from mesh.core.topic_policy import CommonName, Role
from mesh.errors import (
    AlreadyMemberError,
    DoorRefusedError,
    LinkDownError,
    NoCommunityError,
    NoOfferError,
    NotAllowedError,
    UnknownNodeError,
    WrongWordsError,
)
from mesh.links import LinkState
from mesh.mqtt import MqttClient
from tests.mesh.nodes import DEADLINE_S, PING, paired, running
from tests.models.waiting import until


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
            ben.node.belonging.forget(cleo.node.node_id)
        anna.node.belonging.forget(cleo.node.node_id)
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
                anna.node.belonging.forget(cleo.node.node_id)
                await ben.until(lambda: (view := ben.node.community()) is not None and view.epoch == 1)
        await anna.until(lambda: len(anna.received) == 60)
        assert [one.body[0] for one in anna.received] == list(range(60))
        assert states <= {"linked"}


async def test_a_blocked_node_is_cut_off_at_once(tmp_path: Path) -> None:
    """On this side alone, without asking anyone."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        ben.node.belonging.block(anna.node.node_id)
        assert ben.state_of(anna) == "blocked"
        with pytest.raises(LinkDownError):
            await ben.node.send(anna.node.node_id, PING, b"no")
        await anna.until(lambda: anna.state_of(ben) != "linked")
        with pytest.raises(UnknownNodeError):
            ben.node.belonging.block("a" * 52)
        ben.node.belonging.unblock(anna.node.node_id)
        await asyncio.gather(anna.linked_to(ben), ben.linked_to(anna))
        with pytest.raises(UnknownNodeError):
            ben.node.belonging.unblock(anna.node.node_id)


async def test_who_left_may_come_back(tmp_path: Path) -> None:
    """Leaving is told to the neighbours; the same node joins again with new words."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        await ben.node.belonging.leave()
        assert ben.node.community() is None
        with pytest.raises(NoCommunityError):
            await ben.node.belonging.leave()
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
        anna.node.belonging.close_offer()
        with pytest.raises(NoOfferError):
            await cleo.node.join(again.words, at=at)


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
