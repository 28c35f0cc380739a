"""The host's side of the door: who knows the words is admitted, who is a member gets a key to the broker."""

import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mesh.access import Access
from mesh.community import CommunityStore
from mesh.core import crypto, enrolment
from mesh.core.door_messages import DoorType, Grant, HangUpError, Ports, Refusal, refused
from mesh.core.entries import Admit, Entry
from mesh.core.membership import OBSERVER, Member
from mesh.core.offerer import Joined, Offerer, Proven
from mesh.core.pairing import MAX_ADMISSION_BYTES, Admission, Introduction
from mesh.door import PATIENCE_S, Conversation
from mesh.errors import CertificateError, CryptoError, MalformedError
from mesh.identity import Identity
from mesh.offers import OpenOffer
from mesh.sightings import Sighting

log = logging.getLogger(__name__)

ENROLMENTS_EVERY_S: Final = 1.0  # a source: message 1 can be replayed, and costs two signatures
MAX_SOURCES: Final = 256
TAKEN_IN_BYTES_PER_S: Final = 32 * 1024  # by the slowest board over the worst Wi-Fi, signatures looked at
MAX_ADMITTED_BYTES: Final = MAX_ADMISSION_BYTES - 256 * 1024  # of entries; keys, grant and heads of items beside them


@dataclass(frozen=True, kw_only=True)
class ReceptionEvents:
    """Whom the reception tells what, in the event loop."""

    on_admitted: Callable[[bytes], None]  # raw id: a member from now on, though it does not know that yet
    on_settled: Callable[[Entry], None]  # its entry: now it knows, or it hung up
    on_met: Callable[[bytes, Grant, Sighting], None]  # a member let this node into its broker
    on_double: Callable[[], None]  # another machine has shown that it holds this node's own key


class Reception:
    """Answers at this node's door."""

    def __init__(
        self,
        *,
        identity: Identity,
        name: str,
        store: CommunityStore,
        access: Access,
        ports: Callable[[], Ports],
        events: ReceptionEvents,
    ) -> None:
        self.offer: OpenOffer | None = None
        self._identity = identity
        self._introduction = Introduction(identity.statement, name, access.tls_public)
        self._store = store
        self._access = access
        self._ports = ports
        self._events = events
        self._enrolled_at: OrderedDict[str, float] = OrderedDict()

    async def answer(self, conversation: Conversation) -> None:
        """Hold one conversation.  Errors: MeshError; the caller closes the connection."""
        kind, body = await conversation.receive()
        try:
            if kind is DoorType.ENROL:
                await self._enrol(conversation, body)
            else:
                await self._pair(conversation, kind, body)
        except HangUpError as error:
            await conversation.send(refused(error.reason))
            raise

    async def _pair(self, conversation: Conversation, kind: DoorType, body: bytes) -> None:
        offer = self.offer if self.offer is not None and self.offer.is_open else None
        source = conversation.source
        machine = Offerer(
            self._introduction,
            self._identity.static,
            keys=offer.keys if offer else (),
            begin_try=lambda: offer.tries.begin(source, now=time.monotonic()) if offer else Refusal.TAKEN,
            random=secrets.token_bytes,
        )
        if offer is None:
            reply, _ = machine.receive(kind, body)
            await conversation.send(reply)
            return
        while True:
            reply, event = machine.receive(kind, body)
            if reply:
                await conversation.send(reply)
            if isinstance(event, Proven):
                offer.tries.forgive(source)
                await self._welcome(conversation, machine, offer, event.joiner)
                return
            kind, body = await conversation.receive()

    async def _welcome(
        self, conversation: Conversation, machine: Offerer, offer: OpenOffer, joiner: Introduction
    ) -> None:
        """Admit a joiner, and hear that it has saved its admission."""
        admission, entry = self._admit(offer, joiner)
        conversation.take_time(PATIENCE_S + sum(map(len, admission.entries)) / TAKEN_IN_BYTES_PER_S)
        try:
            for message in machine.accept(admission):
                await conversation.send(message)
            _, event = machine.receive(*await conversation.receive())
            if isinstance(event, Joined):
                self._meet(joiner.statement.raw_id, event.grant, conversation.source, event.ports)
        finally:
            if entry is not None:
                self._events.on_settled(entry)

    def _admit(self, offer: OpenOffer, joiner: Introduction) -> tuple[Admission, Entry | None]:
        """Admit a joiner that knew the words, by a new entry; the same one again gets the same admission."""
        raw_id = joiner.statement.raw_id
        if self.offer is not offer or not offer.is_open or not offer.is_free_for(raw_id):
            raise HangUpError(Refusal.TAKEN)
        membership, ledger = self._store.membership, self._store.ledger
        if membership is None or ledger is None:
            raise HangUpError(Refusal.TAKEN)
        member = membership.members.get(raw_id)
        if member is None and not membership.may_admit(self._identity.public):
            raise HangUpError(Refusal.COMMUNITY_FULL)
        try:
            grant = self._access.grant_for(raw_id, joiner.tls_public)
        except CertificateError as error:
            raise MalformedError("a joiner without a TLS key") from error
        offer.taken_by = raw_id
        self._store.unblock(raw_id)
        entry = None
        if member is None:
            entry = self._store.sign(Admit(joiner.statement, joiner.name, OBSERVER))
            log.info("admitted %s (%s)", joiner.name, crypto.node_id(raw_id)[:8])
            self._events.on_admitted(raw_id)
        entries = tuple(entry.raw for entry in ledger.for_newcomer(MAX_ADMITTED_BYTES))
        return Admission(entries, self._store.keys.current, grant, self._ports()), entry

    async def _enrol(self, conversation: Conversation, body: bytes) -> None:
        membership = self._store.membership
        if membership is None:
            raise HangUpError(Refusal.NOT_A_MEMBER)
        if not self._may_enrol(conversation.source):
            raise HangUpError(Refusal.BUSY)
        place = enrolment.Place(membership.community, self._identity.raw_id)
        owner = enrolment.Owner(place, self._identity.static, ephemeral=secrets.token_bytes(crypto.KEY_BYTES))
        request = self._read_request(owner, body)
        if request.static == membership.members[self._identity.raw_id].static:
            self._events.on_double()
        member = self._member_of(request.static)
        grant = self._access.grant_for(member.raw_id, request.tls_public)
        await conversation.send(owner.grant(grant, self._access.tls_public, self._ports()))
        kind, body = await conversation.receive()
        if kind is not DoorType.SEALED:
            raise MalformedError("a door message out of turn")
        returned = owner.returned(body)
        self._member_of(request.static)  # it may have been removed meanwhile
        self._meet(member.raw_id, returned.grant, conversation.source, returned.ports)

    def _read_request(self, owner: enrolment.Owner, body: bytes) -> enrolment.Request:
        try:
            return owner.request(body)
        except CryptoError as error:  # of another community, or meant for another node
            raise HangUpError(Refusal.NOT_A_MEMBER) from error

    def _member_of(self, static: bytes) -> Member:
        """Find whom a static key speaks for.  Errors: HangUpError."""
        for member in self._store.others:
            if member.static == static and member.raw_id not in self._store.blocked:
                return member
        raise HangUpError(Refusal.NOT_A_MEMBER)

    def _may_enrol(self, source: str) -> bool:
        now = time.monotonic()
        if now - self._enrolled_at.get(source, float("-inf")) < ENROLMENTS_EVERY_S:
            return False
        self._enrolled_at[source] = now
        self._enrolled_at.move_to_end(source)
        if len(self._enrolled_at) > MAX_SOURCES:
            self._enrolled_at.popitem(last=False)
        return True

    def _meet(self, raw_id: bytes, grant: Grant, address: str, ports: Ports) -> None:
        sighting = Sighting(crypto.node_id(raw_id), (address,), ports.mqtt, ports.door)
        self._events.on_met(raw_id, grant, sighting)
