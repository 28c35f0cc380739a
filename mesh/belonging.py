"""Coming into a community, letting others in, and leaving: what an owner decides about membership."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mesh.addresses import parse_door
from mesh.community import CommunityStore
from mesh.core import crypto
from mesh.core.ballots import SHOW_OUT
from mesh.core.door_messages import Grant
from mesh.core.entries import Entry, Remove
from mesh.core.pairing import PairingKey
from mesh.council import Council
from mesh.errors import (
    AlreadyMemberError,
    FeedBehindError,
    InvitingNotAllowedError,
    KeyInDisputeError,
    NoCommunityError,
    NoOfferError,
    NotAllowedError,
    UnknownNodeError,
)
from mesh.exchange import Exchange
from mesh.identity import Identity, fingerprint
from mesh.neighbourhood import Neighbourhood
from mesh.offers import Offer, OpenOffer, key_of
from mesh.reception import Reception
from mesh.sightings import Sighting
from mesh.static_peers import resolve
from mesh.views import Joined
from mesh.visits import MAX_DOORS, DoorAddress, Met, Visitor, offer_doors

log = logging.getLogger(__name__)

SETTLED_S: Final = 10.0
FAREWELL_S: Final = 2.0  # for neighbours to hear that this node leaves
FAREWELLS: Final = 3


@dataclass(frozen=True, kw_only=True)
class BelongingEvents:
    """Whom it tells what, in the event loop."""

    on_ledger: Callable[[], None]  # members or blocks have changed
    on_met: Callable[[bytes, Grant, Sighting], None]  # a member has given this node a key to its broker


class Belonging:
    """This node's place in a community, and what its owner does about it."""

    def __init__(
        self,
        *,
        identity: Identity,
        name: str,
        store: CommunityStore,
        reception: Reception,
        visitor: Visitor,
        neighbourhood: Neighbourhood,
        exchange: Exchange,
        council: Council,
        static_peers: tuple[str, ...],
        events: BelongingEvents,
    ) -> None:
        self._identity = identity
        self._name = name
        self._store = store
        self._reception = reception
        self._visitor = visitor
        self._neighbourhood = neighbourhood
        self._exchange = exchange
        self._council = council
        self._static_peers = static_peers
        self._events = events
        self._doors: asyncio.Queue[DoorAddress] | None = None  # of a join that is looking for the offer

    def sighted(self, sighting: Sighting) -> None:
        """Let a join that is looking for its offer try there too."""
        if self._doors is not None:
            offer_doors(self._doors, sighting)

    async def open_offer(self, *, ttl_s: float) -> Offer:
        """Let one node in by words, or show the offer that is open; a lone node founds a community by it.

        Errors: NotAllowedError when this node may not invite, BoardChangedError.
        """
        self._store.require_signing()
        offer = self._reception.offer
        if offer is not None and offer.is_open and offer.taken_by is None:
            return offer.shown()
        if self._store.membership is None:
            self._store.found(self._name, self._name)
            self._events.on_ledger()
        membership = self._store.membership
        if membership is None or not membership.may_admit(self._identity.public):
            if membership and self._store.is_voter and self._identity.raw_id in membership.equivocations:
                raise KeyInDisputeError("this node's key has signed two entries for one place of the ledger")
            raise InvitingNotAllowedError("only voters with invitations left let nodes in")
        self._reception.offer = await OpenOffer.make(ttl_s=ttl_s)
        return self._reception.offer.shown()

    def close_offer(self) -> None:
        """Take the open offer back."""
        self._reception.offer = None

    async def join(self, words: str, *, at: str | None = None) -> Joined:
        """Come into the community of the node that shows these words; `at`: "host[:door port]" where mDNS fails.

        Errors: AlreadyMemberError, WrongWordsError, NoOfferError, DoorRefusedError, MeshError.
        """
        membership = self._store.membership
        if membership is not None and self._store.others:
            raise AlreadyMemberError(f"this node belongs to the community “{membership.name}”")
        key = await key_of(words)
        doors: asyncio.Queue[DoorAddress] = asyncio.Queue(MAX_DOORS)
        try:
            if at is not None:
                doors.put_nowait(await resolve(*parse_door(at)))
                met = await self._visitor.join(key, doors, only=True)
            else:
                met = await self._join_in_reach(key, doors)
        finally:  # whatever came after it: this node belongs once its admission is saved
            if self._store.membership is not membership:
                self._reception.offer = None
                self._events.on_ledger()
        self._events.on_met(met.raw_id, met.grant, met.sighting)
        community = self._store.membership
        return Joined(
            met.sighting.node_id,
            met.name,
            fingerprint(met.sighting.node_id),
            community.name if community is not None else "",
        )

    async def leave(self) -> None:
        """Leave the community: tell the neighbours, then forget it; the identity stays.

        Errors: NoCommunityError, StorageError.
        """
        membership = self._store.membership
        if membership is None:
            raise NoCommunityError("this node belongs to no community")
        if self._store.others:
            await self.farewell("left")
        self._reception.offer = None
        self._store.leave()
        self._events.on_ledger()

    async def farewell(self, reason: str, *before: Entry) -> None:
        """Say in the record that this node leaves, and wait a moment for the neighbours to hear of it.

        before: what this node signed just now and they should hear of too.  Who has left answers nobody any more, so it
        is told again while a neighbour has not cut its link: a link on its way to another epoch key loses what is sent.
        """
        await self._neighbourhood.settled(SETTLED_S)
        try:
            leaving = self._store.sign(Remove(self._identity.public, reason))
        except FeedBehindError as error:
            log.warning("leaving without a word: %s", error)
            return
        for _ in range(FAREWELLS):
            for entry in (*before, leaving):
                self._exchange.spread(entry)
            if await self._neighbourhood.shown_out(FAREWELL_S):
                break

    def forget(self, node_id: str) -> bool:
        """End a node's membership for everyone, or propose that; return whether it ended.

        Errors: UnknownNodeError, NotAllowedError (block it instead).
        """
        membership = self._store.membership
        member = next((one for one in self._store.others if one.node_id == node_id), None)
        if membership is None or member is None:
            raise UnknownNodeError(f"no member has the id {node_id[:8]}")
        if membership.may_remove(self._identity.public, member.public):
            self._exchange.spread(self._store.sign(Remove(member.public, "forgotten")))
            self._events.on_ledger()
        elif self._store.is_voter:
            self._council.propose(SHOW_OUT, member.raw_id)
        else:
            raise NotAllowedError(f"only voters, or {member.name} itself, can end its membership")
        self._exchange.ensure_key()
        return all(one.node_id != node_id for one in self._store.others)

    def block(self, node_id: str) -> None:
        """Cut a node off on this side, at once and for good.  Errors: UnknownNodeError."""
        known = {one.node_id for one in self._store.others} | {one.node_id for one in self._neighbourhood.nearby()}
        if node_id not in known:
            raise UnknownNodeError(f"no node with the id {node_id[:8]} is known")
        self._store.block(crypto.parse_node_id(node_id))
        self._events.on_ledger()

    def unblock(self, node_id: str) -> None:
        """Let a node in again that was cut off on this side.  Errors: UnknownNodeError, StorageError."""
        raw_id = next((one for one in self._store.blocked if crypto.node_id(one) == node_id), None)
        if raw_id is None:
            raise UnknownNodeError(f"no node with the id {node_id[:8]} is blocked")
        self._store.unblock(raw_id)
        self._events.on_ledger()

    async def _join_in_reach(self, key: PairingKey, doors: "asyncio.Queue[DoorAddress]") -> Met:
        for peer in self._static_peers:
            with contextlib.suppress(NoOfferError):  # one that is away does not keep the others from being asked
                doors.put_nowait(await resolve(*parse_door(peer)))
        offer_doors(doors, *self._neighbourhood.nearby())
        self._doors = doors
        try:
            return await self._visitor.join(key, doors)
        finally:
            self._doors = None
