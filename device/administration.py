"""What the owner sees and does: the state of this node, its neighbours, pairing and leaving."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from device.api import (
    BrokerAddress,
    Community,
    Diagnosis,
    DoorAddress,
    HttpAddress,
    HttpsAddress,
    Joined,
    Member,
    Memory,
    Nearby,
    Neighbour,
    Offer,
    Peers,
    Queue,
    Rekeyed,
    Status,
)
from device.api_of_council import Forgotten, Moved, Proposed
from device.api_of_models import MeshModels
from device.core.admission import Standing
from device.core.diagnosis import diagnose, identity_warnings
from device.core.mesh_catalogue import with_record
from device.core.routing import Candidate, find_node
from device.council import CouncilRoom
from device.errors import BadRequestError
from device.guests import Guests
from device.library import Library
from device.queries import Queries
from device.record.log import RecordLog
from device.record.publishing import Publishing
from device.record.reading import Readings
from device.telemetry import memory
from mesh.core.record import RecordFile
from mesh.identity import fingerprint
from mesh.node import MeshNode


@dataclass(frozen=True, kw_only=True)
class Administration:
    """The owner's view of one node.  started_at: by `clock`, which is monotonic; restart: asks for one."""

    mesh: MeshNode
    queries: Queries
    library: Library
    log: RecordLog
    publishing: Publishing
    readings: Readings
    guests: Guests
    http: HttpAddress
    version: str
    started_at: float
    restart: Callable[[], None]
    https: HttpsAddress | None = None
    clock: Callable[[], float] = time.monotonic

    @property
    def uptime_s(self) -> float:
        """For how long the daemon has been running."""
        return self.clock() - self.started_at

    @property
    def memory(self) -> Memory:
        """What the daemon uses and what the machine has left."""
        return memory(engine_pid=self.library.engine_pid)

    @property
    def council(self) -> CouncilRoom:
        """What voters decide."""
        return CouncilRoom(
            self.mesh.council, self.mesh.record.checkpoints, self.mesh.fork, self.readings, self.mesh.node_id
        )

    def status(self) -> Status:
        """This node now."""
        return Status(
            node_id=self.mesh.node_id,
            name=self.mesh.name,
            version=self.version,
            uptime_s=round(self.uptime_s, 1),
            http=self.http,
            https=self.https,
            mqtt=BrokerAddress(port=self.mesh.mqtt_port, broker=self.mesh.broker_kind),
            door=DoorAddress(port=self.mesh.door_port),
            memory=self.memory,
            queries=self.queries.counts(),
            queue=self._queue(),
            guests=replace(self.guests.status(), urls=(), https_urls=()),
            community=self._community(),
            neighbours=self._neighbours(),
            models=self.library.models(),
            warnings=self._warnings(),
        )

    async def mesh_models(self) -> MeshModels:
        """What the nodes in reach hold, and whether it would fit here."""
        found = self.queries.mesh_models(await asyncio.to_thread(self.library.room))
        return with_record(found, await self.publishing.on_record(model.digest for model in found.models))

    def missing(self) -> tuple[str, ...]:
        """What this node lacks to take questions; nothing when it is ready for them."""
        lacks = ["the node is stopping: it takes no more questions"] if self.queries.stopping else []
        in_reach = any(one.models for one in self._neighbours() if one.hops)
        if not (self.library.held() or in_reach):
            lacks.append("there is no model here or in reach: hearth models pull smollm2-135m")
        return tuple(lacks)

    async def doctor(self) -> Diagnosis:
        """Find out what keeps neighbours away."""
        return diagnose(await self.mesh.diagnose())

    def peers(self) -> Peers:
        """Everyone this node knows of."""
        community = self._community()
        members = community.members if community else ()
        ids = {member.node_id for member in members}
        nearby = tuple(
            Nearby(node_id=seen.node_id, addresses=seen.addresses, member=seen.node_id in ids)
            for seen in self.mesh.nearby()
        )
        return Peers(neighbours=self._neighbours(), nearby=nearby, members=members)

    async def pair(self) -> Offer:
        """Open an offer, or show the open one; a lone node founds a community by it.  Raises MeshError."""
        offer = await self.mesh.open_offer()
        return Offer(
            words=offer.words,
            qr=offer.qr,
            expires_in_s=offer.expires_in_s,
            node_id=self.mesh.node_id,
            name=self.mesh.name,
            fingerprint=self.mesh.fingerprint,
        )

    def rekey(self) -> Rekeyed:
        """Be another node, which restarts for it; the old identity is kept aside.  Raises MeshError."""
        kept = self.mesh.replace_identity()
        self.restart()
        return Rekeyed(kept=str(kept))

    def accept_board(self) -> None:
        """Let the identity be used on this board from now on.  Raises BadRequestError, MeshError."""
        if not self.mesh.board_changed:
            error = BadRequestError("this node's identity was made on this very board: there is nothing to accept")
            error.hint = "for a new identity: hearth rekey"
            raise error
        self.mesh.accept_board()

    async def close_offer(self) -> None:
        """Take the open offer back."""
        self.mesh.belonging.close_offer()

    async def join(self, words: str, *, at: str | None) -> Joined:
        """Take a neighbour's offer.  Raises MeshError."""
        joined = await self.mesh.join(words, at=at)
        return Joined(
            node_id=joined.node_id, name=joined.name, fingerprint=joined.fingerprint, community=joined.community
        )

    async def record(self, *, fixed: bool) -> RecordFile:
        """Write the community's record, signed by this node; fixed: only what was decided on.  Raises MeshError."""
        return await self.mesh.record.export(fixed_only=fixed)

    async def leave(self) -> None:
        """Leave the community.  Raises MeshError."""
        await self.mesh.belonging.leave()

    def forget(self, prefix: str) -> Forgotten:
        """End the membership of a node, or propose that.

        Raises NoSuchNodeError, AmbiguousNodeError, BadRequestError, MeshError.
        """
        return Forgotten(ended=self.mesh.belonging.forget(self._node_id(prefix)))

    def propose(self, what: str, prefix: str, reason: str) -> Proposed:
        """Propose something about a node, this one too.  Raises as `forget` does."""
        return self.council.propose(what, self._node_id(prefix, own=True), reason)

    async def fork(self, without: Sequence[str]) -> Moved:
        """Begin the community anew without these nodes.  Raises as `forget` does."""
        return await self.council.fork([self._node_id(one) for one in without])

    async def block(self, prefix: str) -> None:
        """Cut a node off on this side, at once, member or not.  Raises as `forget` does."""
        self.mesh.belonging.block(self._node_id(prefix))

    async def unblock(self, prefix: str) -> None:
        """Let a node in again that was cut off on this side.  Raises as `forget` does."""
        self.mesh.belonging.unblock(self._node_id(prefix))

    def _queue(self) -> Queue:
        waiting, offering = self.queries.turns.waiting, self.queries.turns.offering
        return Queue(
            owner=waiting[Standing.OWNER],
            own=waiting[Standing.OWN],
            guest=waiting[Standing.GUEST],
            neighbour=waiting[Standing.NEIGHBOUR],
            share=offering.share,
            reason=offering.reason,
        )

    def _warnings(self) -> tuple[str, ...]:
        found = identity_warnings(duplicate=self.mesh.duplicate, board_changed=self.mesh.board_changed)
        return tuple(one.what for one in found)

    def _node_id(self, prefix: str, *, own: bool = False) -> str:
        """The node, known or only nearby, that a name, if only one has it, or the beginning of an id means.

        own: whether it may be this one.
        """
        peers = self.peers()
        names = {one.node_id: "a node nearby" for one in peers.nearby}
        names |= {one.node_id: one.name for one in peers.members}
        names |= {one.node_id: one.name for one in peers.neighbours}
        names[self.mesh.node_id] = self.mesh.name
        called = [node_id for node_id, name in names.items() if name == prefix]
        if len(called) == 1:
            prefix = called[0]
        found = find_node(prefix, [Candidate(node_id=one, name=name, models=()) for one, name in names.items()])
        if found.node_id == self.mesh.node_id and not own:
            error = BadRequestError(f"{prefix}: that is this node")
            error.hint = "name another node (hearth peers); to leave the community: hearth leave"
            raise error
        return found.node_id

    def _neighbours(self) -> tuple[Neighbour, ...]:
        return tuple(
            Neighbour(
                node_id=one.node_id,
                name=one.name,
                state=one.state,
                since_s=round(one.since_s, 1),
                hops=one.hops,
                trouble=one.trouble,
                models=self.queries.models_of(one.node_id),
            )
            for one in self.mesh.neighbours()
        )

    def _community(self) -> Community | None:
        view = self.mesh.community()
        if view is None:
            return None
        return Community(
            id=view.id,
            name=view.name,
            epoch=view.epoch,
            state=view.state,
            entries=view.entries,
            members=tuple(
                Member(
                    node_id=one.node_id,
                    name=one.name,
                    role=one.role,
                    fingerprint=fingerprint(one.node_id),
                    this_node=one.node_id == self.mesh.node_id,
                )
                for one in view.members
            ),
        )
