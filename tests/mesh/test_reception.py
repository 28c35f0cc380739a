"""Pairing and enrolment through real doors: interrupted, guessed at, asked for by the wrong ones."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from mesh.access import Access
from mesh.community import CommunityStore
from mesh.core.door_messages import DoorType, Grant, Ports, framed
from mesh.core.entries import Entry, Remove
from mesh.core.frames import Lane
from mesh.core.joiner import Joiner
from mesh.core.membership import Member
from mesh.core.pairing import Introduction, PairingKey
from mesh.door import Conversation, Door
from mesh.errors import (
    CertificateError,
    DoorBusyError,
    DoorRefusedError,
    LinkDownError,
    MalformedError,
    NoCommunityError,
    WrongWordsError,
)
from mesh.identity import Identity
from mesh.offers import OpenOffer, key_of
from mesh.reception import Reception, ReceptionEvents
from mesh.sightings import Sighting
from mesh.visits import MAX_DOORS, DoorAddress, Visitor, offer_doors

PATIENCE_S = 2.0  # of a door with whoever has proven nothing


class Host:
    """A node without a broker: what is behind a door, and what knocks at others'."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.identity = Identity.open(directory / name / "identity")
        self.store = CommunityStore(directory / name / "community.db", self.identity)
        self.access = Access(self.identity, directory / name / "tls")
        self.met: asyncio.Queue[tuple[bytes, Grant, Sighting]] = asyncio.Queue()
        self.admitted: list[bytes] = []
        self.doubles: list[str] = []
        self.settled: asyncio.Queue[Entry] = asyncio.Queue()
        self.reception = Reception(
            identity=self.identity,
            name=name,
            store=self.store,
            access=self.access,
            ports=lambda: Ports(1883, self.door.port),
            events=ReceptionEvents(
                on_admitted=self.admitted.append,
                on_settled=self.settled.put_nowait,
                on_met=lambda *meeting: self.met.put_nowait(meeting),
                on_double=lambda: self.doubles.append(self.identity.node_id),
            ),
        )
        self.door = Door(0, self.reception.answer, patience_s=PATIENCE_S)
        self.visitor = Visitor(
            identity=self.identity,
            name=name,
            store=self.store,
            access=self.access,
            ports=lambda: Ports(1883, self.door.port),
        )

    @property
    def address(self) -> DoorAddress:
        """Where its door is."""
        return DoorAddress("127.0.0.1", self.door.port)

    def as_seen_by(self, other: "Host") -> Member:
        """This node as a member in another's ledger."""
        return next(one for one in other.store.others if one.raw_id == self.identity.raw_id)

    async def joins(self, other: "Host", key: PairingKey) -> None:
        """Take the other's offer."""
        doors: asyncio.Queue[DoorAddress] = asyncio.Queue()
        doors.put_nowait(other.address)
        await self.visitor.join(key, doors, only=True)

    def joiner(self, key: PairingKey) -> Joiner:
        """The joiner's machine, to be driven by hand."""
        introduction = Introduction(self.identity.statement, self.name, self.access.tls_public)
        return Joiner(introduction, self.identity.static, key=key, random=secrets.token_bytes)


@asynccontextmanager
async def hosts(directory: Path, *names: str) -> AsyncIterator[list[Host]]:
    """Run hosts; the first has founded a community and opened an offer."""
    async with AsyncExitStack() as stack:
        made = []
        for name in names:
            host = Host(directory, name)
            stack.callback(host.store.close)
            ready = asyncio.Event()
            task = asyncio.create_task(host.door.run(ready))
            stack.push_async_callback(ended, task)
            await ready.wait()
            made.append(host)
        made[0].store.found("Harbour", names[0])
        made[0].reception.offer = await OpenOffer.make(ttl_s=60)
        yield made


async def ended(task: asyncio.Task[None]) -> None:
    """End a task and wait for it."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def words_of(host: Host) -> PairingKey:
    """The key of the words on a host's screen."""
    assert host.reception.offer is not None
    return await key_of(host.reception.offer.words)


async def up_to_the_proof(conversation: Conversation, joiner: Joiner) -> None:
    """Speak as a joiner does until its proof is sent."""
    await conversation.send(joiner.probe())
    joiner.receive(*await conversation.receive())
    await conversation.send(joiner.begin())
    proof, _ = joiner.receive(*await conversation.receive())
    await conversation.send(proof)


async def test_an_interrupted_pairing_is_resumed(tmp_path: Path) -> None:
    """The same joiner gets the same admission again: one entry, one invitation."""
    async with hosts(tmp_path, "Anna", "Ben") as [anna, ben]:
        key = await words_of(anna)
        async with await Conversation.open("127.0.0.1", anna.door.port) as conversation:
            await up_to_the_proof(conversation, ben.joiner(key))
            assert (await conversation.receive())[0] is DoorType.SEALED
        assert anna.admitted == [ben.identity.raw_id]
        await anna.settled.get()
        assert ben.store.membership is None
        await ben.joins(anna, key)
        assert len(anna.admitted) == 1
        assert ben.store.membership == anna.store.membership
        assert anna.settled.empty()
        raw_id, grant, sighting = await anna.met.get()
        assert raw_id == ben.identity.raw_id
        assert sighting == Sighting(ben.identity.node_id, ("127.0.0.1",), 1883, ben.door.port)
        assert set(anna.access.contexts(grant)) == set(Lane)


async def test_a_record_of_years_may_take_its_time(tmp_path: Path) -> None:
    """Who knew the words is not cut off because what it is given is long, and its line or its board slow."""
    async with hosts(tmp_path, "Anna", "Ben") as [anna, ben]:
        for _ in range(20):
            anna.store.sign(Remove(secrets.token_bytes(32), "x" * 200))
        async with await Conversation.open("127.0.0.1", anna.door.port) as conversation:
            joiner = ben.joiner(await words_of(anna))
            await up_to_the_proof(conversation, joiner)
            _, accepted = joiner.receive(*await conversation.receive())
            await asyncio.sleep(PATIENCE_S + 0.2)  # longer than a stranger may take
            while accepted is None:
                _, accepted = joiner.receive(*await conversation.receive())
            back = ben.access.grant_for(anna.identity.raw_id, anna.access.tls_public)
            await conversation.send(joiner.confirm(back, Ports(1883, ben.door.port)))
        assert (await anna.met.get())[0] == ben.identity.raw_id


async def test_a_guesser_is_told_no_and_does_not_end_the_offer(tmp_path: Path) -> None:
    """It knows the probe's half, fails at the proof; the right joiner waits its second and comes in."""
    async with hosts(tmp_path, "Anna", "Ben", "Eve") as [anna, ben, eve]:
        key = await words_of(anna)
        guess = PairingKey(key.form, b"x" * 32, key.probe)
        async with await Conversation.open("127.0.0.1", anna.door.port) as conversation:
            await up_to_the_proof(conversation, eve.joiner(guess))
            with pytest.raises(DoorRefusedError, match="proof"):
                await conversation.receive()
        await ben.joins(anna, key)  # meets BUSY at first
        assert ben.store.membership is not None
        assert eve.store.membership is None


async def test_a_pairing_that_breaks_after_it_was_saved_is_a_pairing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The joiner belongs; the offerer, which has not heard so, gets its key at the joiner's door."""
    async with hosts(tmp_path, "Anna", "Ben") as [anna, ben]:
        key = await words_of(anna)
        send = Conversation.send

        async def send_until_entered(conversation: Conversation, data: bytes) -> None:
            if ben.store.membership is not None:
                conversation._writer.transport.abort()
                raise LinkDownError("the connection broke")
            await send(conversation, data)

        monkeypatch.setattr(Conversation, "send", send_until_entered)
        await ben.joins(anna, key)
        monkeypatch.setattr(Conversation, "send", send)
        assert ben.store.membership == anna.store.membership
        await anna.settled.get()
        assert anna.met.empty()
        met = await anna.visitor.enrol(ben.as_seen_by(anna), ben.address)
        assert set(anna.access.contexts(met.grant)) == set(Lane)


async def test_one_probe_a_conversation(tmp_path: Path) -> None:
    """A second one ends it, and so does the answer that no offer is open."""
    async with hosts(tmp_path, "Anna", "Ben") as [anna, ben]:
        joiner = ben.joiner(await words_of(anna))
        async with await Conversation.open("127.0.0.1", anna.door.port) as conversation:
            await conversation.send(joiner.probe() * 2)
            assert (await conversation.receive())[0] is DoorType.OFFER
            with pytest.raises(LinkDownError):
                await conversation.receive()
        anna.reception.offer = None
        async with await Conversation.open("127.0.0.1", anna.door.port) as conversation:
            await conversation.send(joiner.probe())
            assert (await conversation.receive())[0] is DoorType.CLOSED
            with pytest.raises(LinkDownError):
                await conversation.receive()


async def test_forged_doors_do_not_use_up_a_search(tmp_path: Path) -> None:
    """Hundreds of records that lead nowhere, or to one address: the right door is still knocked at."""
    async with hosts(tmp_path, "Anna", "Ben") as [anna, ben]:
        doors: asyncio.Queue[DoorAddress] = asyncio.Queue(MAX_DOORS)
        forged = [
            Sighting("a" * 52, tuple(f"127.{i // 100}.{i % 100}.{j}" for j in range(1, 9)), 8883, 1024)
            for i in range(255)
        ]
        right = Sighting(anna.identity.node_id, ("127.0.0.1",), 8883, anna.door.port)
        offer_doors(doors, *forged, right)
        await ben.visitor.join(await words_of(anna), doors)
        assert ben.store.membership == anna.store.membership


async def test_an_expired_offer_is_no_offer(tmp_path: Path) -> None:
    """The words are wrong from then on, and nothing was changed."""
    async with hosts(tmp_path, "Anna", "Ben") as [anna, ben]:
        key = await words_of(anna)
        anna.reception.offer = await OpenOffer.make(ttl_s=60)
        with pytest.raises(WrongWordsError):
            await ben.joins(anna, key)
        key = await words_of(anna)
        async with await Conversation.open("127.0.0.1", anna.door.port) as conversation:
            joiner = ben.joiner(key)
            await conversation.send(joiner.probe())
            joiner.receive(*await conversation.receive())
            await conversation.send(joiner.begin())
            proof, _ = joiner.receive(*await conversation.receive())
            anna.reception.offer = None
            await conversation.send(proof)
            with pytest.raises(DoorRefusedError, match="used by another"):
                await conversation.receive()
        assert anna.admitted == []


async def test_a_joiner_without_a_tls_key_is_not_admitted(tmp_path: Path) -> None:
    """What cannot be certified is refused before the ledger is touched."""
    async with hosts(tmp_path, "Anna", "Ben") as [anna, ben]:
        joiner = ben.joiner(await words_of(anna))
        joiner._introduction = Introduction(ben.identity.statement, "Ben", b"no key")
        async with await Conversation.open("127.0.0.1", anna.door.port) as conversation:
            await up_to_the_proof(conversation, joiner)
            with pytest.raises(LinkDownError):
                await conversation.receive()
        assert anna.admitted == []


async def test_members_exchange_keys_at_the_door(tmp_path: Path) -> None:
    """Either may knock; a repeated knock within the second is told to wait."""
    async with hosts(tmp_path, "Anna", "Ben") as [anna, ben]:
        await ben.joins(anna, await words_of(anna))
        await anna.met.get()
        met = await anna.visitor.enrol(ben.as_seen_by(anna), ben.address)
        assert (met.raw_id, met.name) == (ben.identity.raw_id, "Ben")
        assert set(anna.access.contexts(met.grant)) == set(Lane)
        raw_id, grant, _ = await ben.met.get()
        assert raw_id == anna.identity.raw_id
        assert set(ben.access.contexts(grant)) == set(Lane)
        with pytest.raises(CertificateError):
            anna.access.contexts(grant)
        with pytest.raises(DoorBusyError):
            await anna.visitor.enrol(ben.as_seen_by(anna), ben.address)


async def test_only_members_get_a_key(tmp_path: Path) -> None:
    """Not a stranger, not who was removed or blocked, not who knocks at another's door."""
    async with hosts(tmp_path, "Anna", "Ben", "Cleo") as [anna, ben, cleo]:
        with pytest.raises(NoCommunityError):
            await ben.visitor.enrol(Member(b"", b"", b"", "", ""), anna.address)
        await ben.joins(anna, await words_of(anna))
        anna_as_member = anna.as_seen_by(ben)
        with pytest.raises(DoorRefusedError, match="does not know"):
            await ben.visitor.enrol(anna_as_member, cleo.address)
        anna.store.block(ben.identity.raw_id)
        with pytest.raises(DoorRefusedError, match="does not know"):
            await ben.visitor.enrol(anna_as_member, anna.address)
        anna.store.unblock(ben.identity.raw_id)
        anna.store.sign(Remove(ben.identity.public, "forgotten"))
        anna.reception._enrolled_at.clear()
        with pytest.raises(DoorRefusedError, match="does not know"):
            await ben.visitor.enrol(anna_as_member, anna.address)
        cleo.store.found("Elsewhere", "Cleo")
        with pytest.raises(DoorRefusedError, match="does not know"):
            await ben.visitor.enrol(anna_as_member, cleo.address)


async def test_messages_out_of_turn_end_the_conversation(tmp_path: Path) -> None:
    """The door hangs up without a word."""
    async with hosts(tmp_path, "Anna") as [anna]:
        for message in (framed(DoorType.HANDSHAKE), framed(DoorType.ENROL), framed(DoorType.OFFER)):
            async with await Conversation.open("127.0.0.1", anna.door.port) as conversation:
                await conversation.send(message)
                with pytest.raises((LinkDownError, DoorRefusedError)):
                    await conversation.receive()


async def test_an_admission_must_hold_both_ends(tmp_path: Path) -> None:
    """A ledger in which the offerer is no member is not entered."""
    async with hosts(tmp_path, "Anna", "Ben") as [anna, ben]:
        anna.store.sign(Remove(anna.identity.public, "left"))
        with pytest.raises((MalformedError, DoorRefusedError)):
            await ben.joins(anna, await words_of(anna))
        assert ben.store.membership is None
