"""The guest's side of the door: joining with words, and asking members for a key to their broker."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from mesh.access import Access
from mesh.addresses import is_dialable
from mesh.community import CommunityStore
from mesh.core import crypto, enrolment
from mesh.core.door_messages import Grant, Ports
from mesh.core.entries import Entry
from mesh.core.joiner import Accepted, Joiner
from mesh.core.ledger import Ledger
from mesh.core.membership import Member
from mesh.core.pairing import Introduction, PairingKey
from mesh.door import PATIENCE_S, Conversation
from mesh.errors import (
    CertificateError,
    DoorBusyError,
    LinkDownError,
    MalformedError,
    MeshError,
    NoCommunityError,
    NoOfferError,
    StorageError,
    WrongWordsError,
)
from mesh.identity import Identity
from mesh.sightings import MAX_ADDRESSES, Sighting

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0  # for doors to come into sight
LOOK_ON_S: Final = 1.5  # after one was found that other words open
BUSY_TRIES: Final = 5
BUSY_PAUSE_S: Final = 1.1
MAX_DOORS: Final = 512  # waiting to be knocked at
MAX_KNOCKS: Final = 128  # at a time: the first address of every sighting has its turn before the time is up
MAX_DOORS_AT_ADDRESS: Final = 32  # a made-up record costs nothing, an address on the network does


@dataclass(frozen=True)
class DoorAddress:
    """A door somewhere: nothing is known of who lives there."""

    address: str
    port: int


@dataclass(frozen=True)
class Met:
    """A member whose broker this node may use now, and where it is."""

    raw_id: bytes
    name: str
    grant: Grant
    sighting: Sighting


class Visitor:
    """Knocks at other nodes' doors."""

    def __init__(
        self, *, identity: Identity, name: str, store: CommunityStore, access: Access, ports: Callable[[], Ports]
    ) -> None:
        self._identity = identity
        self._introduction = Introduction(identity.statement, name, access.tls_public)
        self._store = store
        self._access = access
        self._ports = ports

    async def enrol(self, member: Member, door: DoorAddress) -> Met:
        """Exchange keys to each other's brokers with a member.  Errors: MeshError."""
        membership = self._store.membership
        if membership is None:
            raise NoCommunityError("this node belongs to no community")
        applicant = enrolment.Applicant(
            enrolment.Place(membership.community, member.raw_id),
            self._identity.static,
            owner_static=member.static,
            ephemeral=secrets.token_bytes(crypto.KEY_BYTES),
        )
        async with await Conversation.open(door.address, door.port) as conversation, _patience():
            await conversation.send(applicant.request(self._access.tls_public))
            granted = applicant.granted(*await conversation.receive())
            self._access.check(granted.grant)
            back = self._grant_for(member.raw_id, granted.tls_public)
            await conversation.send(applicant.give_back(back, self._ports()))
        return Met(member.raw_id, member.name, granted.grant, _sighting(member.raw_id, door, granted.ports))

    async def join(self, key: PairingKey, doors: "asyncio.Queue[DoorAddress]", *, only: bool = False) -> Met:
        """Find the door these words open and come into the community behind it; it is saved when this returns.

        doors: those in reach, and those that come into reach; only: there is one, and no more will come.
        Errors: WrongWordsError, NoOfferError, DoorRefusedError, MeshError.
        """
        door = await _Search(lambda conversation: self._probe(key, conversation), only=only).run(doors)
        for _ in range(BUSY_TRIES - 1):
            try:
                return await self._take_offer(key, door)
            except DoorBusyError:
                await asyncio.sleep(BUSY_PAUSE_S)
        return await self._take_offer(key, door)

    async def _probe(self, key: PairingKey, conversation: Conversation) -> Joiner:
        """Ask whether these words open the door's offer.  Errors: WrongWordsError, NoOfferError."""
        joiner = Joiner(self._introduction, self._identity.static, key=key, random=secrets.token_bytes)
        await conversation.send(joiner.probe())
        joiner.receive(*await conversation.receive())
        return joiner

    async def _take_offer(self, key: PairingKey, door: DoorAddress) -> Met:
        async with await Conversation.open(door.address, door.port) as conversation:
            async with _patience():
                joiner = await self._probe(key, conversation)
                await conversation.send(joiner.begin())
            accepted: Accepted | None = None
            while accepted is None:
                async with _patience():
                    reply, accepted = joiner.receive(*await conversation.receive())
                    if reply:
                        await conversation.send(reply)
            offerer = accepted.offerer
            back = self._grant_for(offerer.statement.raw_id, offerer.tls_public)
            await self._enter(accepted)
            # This node belongs from here on; should the other not hear of it, it asks for its key to our broker.
            with contextlib.suppress(LinkDownError):
                async with _patience():
                    await conversation.send(joiner.confirm(back, self._ports()))
        raw_id, admission = offerer.statement.raw_id, accepted.admission
        return Met(raw_id, offerer.name, admission.grant, _sighting(raw_id, door, admission.ports))

    async def _enter(self, accepted: Accepted) -> None:
        """Save the admission, if it is what it must be: a ledger with both ends among its members."""
        ledger = await asyncio.to_thread(_checked, accepted.admission.entries)  # of years: it takes a small board long
        statement = accepted.offerer.statement
        offerer = ledger.membership().members.get(statement.raw_id)
        if offerer is None or offerer.static != statement.static:
            raise MalformedError("an admission by a node that is no member")
        self._access.check(accepted.admission.grant)
        self._store.enter(ledger, accepted.admission.keys)
        try:
            self._store.unblock(statement.raw_id)
            self._store.save_grant(statement.raw_id, accepted.admission.grant)
        except StorageError as error:  # it belongs all the same; the key can be asked for at the door
            log.warning("the key to %s's broker is asked for again: %s", accepted.offerer.name, error)

    def _grant_for(self, raw_id: bytes, tls_public: bytes) -> Grant:
        try:
            return self._access.grant_for(raw_id, tls_public)
        except CertificateError as error:
            raise MalformedError("a node without a TLS key") from error


class _Search:
    """Knocks at doors as they come into sight, until one has the offer that the words open."""

    def __init__(self, probe: Callable[[Conversation], Awaitable[Joiner]], *, only: bool) -> None:
        self._probe = probe
        self._only = only
        self._found: asyncio.Future[DoorAddress] = asyncio.get_running_loop().create_future()
        self._deadline = asyncio.timeout(LOOK_S)
        self._wrong: WrongWordsError | None = None

    async def run(self, doors: "asyncio.Queue[DoorAddress]") -> DoorAddress:
        """Return the door, or raise what keeps the words from opening one."""
        looking = asyncio.create_task(self._look(doors), name="look for the offer")
        try:
            async with self._deadline:
                return await self._found
        except TimeoutError as error:
            if self._wrong is not None:
                raise WrongWordsError("no open offer in reach answers to these words") from self._wrong
            raise NoOfferError("no node in reach has an open offer") from error
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self, doors: "asyncio.Queue[DoorAddress]") -> None:
        knocked: dict[str, set[DoorAddress]] = {}  # by address
        free = asyncio.Semaphore(MAX_KNOCKS)
        async with asyncio.TaskGroup() as tasks:
            while True:
                door = await doors.get()
                there = knocked.setdefault(door.address, set())
                if door not in there and len(there) < MAX_DOORS_AT_ADDRESS:
                    there.add(door)
                    await free.acquire()
                    knock = tasks.create_task(self._knock(door), name="knock")
                    knock.add_done_callback(lambda _: free.release())

    async def _knock(self, door: DoorAddress) -> None:
        try:
            async with await Conversation.open(door.address, door.port) as conversation, _patience():
                await self._probe(conversation)
        except MeshError as error:
            log.debug("the door at %s port %d: %s", door.address, door.port, error)
            self._failed(error)
        else:
            if not self._found.done():
                self._found.set_result(door)

    def _failed(self, error: MeshError) -> None:
        if self._only and not self._found.done():
            self._found.set_exception(error)
        elif isinstance(error, WrongWordsError):
            self._wrong = error
            soon = asyncio.get_running_loop().time() + LOOK_ON_S
            self._deadline.reschedule(min(self._deadline.when() or soon, soon))


def offer_doors(doors: "asyncio.Queue[DoorAddress]", *sightings: Sighting) -> None:
    """Let a search know of nodes' doors, the first address of each before any second; too many are left out."""
    for turn in range(MAX_ADDRESSES):
        for sighting in sightings:
            for address in sighting.addresses[turn : turn + 1]:
                if not doors.full() and is_dialable(address, sighting.door_port):
                    doors.put_nowait(DoorAddress(address, sighting.door_port))


@contextlib.asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield
    except TimeoutError as error:
        raise LinkDownError("the other node does not answer at its door") from error


def _checked(raws: Iterable[bytes]) -> Ledger:
    """Look at every signature, and fold what was signed.  Errors: MalformedError, CryptoError."""
    ledger = Ledger.of(Entry.parse(raw) for raw in raws)
    ledger.membership()
    return ledger


def _sighting(raw_id: bytes, door: DoorAddress, ports: Ports) -> Sighting:
    return Sighting(crypto.node_id(raw_id), (door.address,), ports.mqtt, ports.door)
