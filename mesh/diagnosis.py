"""Why neighbours are missing: what this node knows of it, and what it learns by knocking at their ports and its own."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from mesh.addresses import parse_door
from mesh.broker import Broker
from mesh.checkpoints import Checkpoints
from mesh.community import CommunityStore
from mesh.config import MeshConfig
from mesh.core import crypto
from mesh.core.membership import Member
from mesh.door import Door
from mesh.double import Double
from mesh.errors import MeshError, NoCommunityError
from mesh.facts import Hearing, Knock, MeshFacts, Reach, StaticPeer
from mesh.hardware import HomeBoard
from mesh.interfaces import survey
from mesh.reach import knock
from mesh.sightings import Sighting
from mesh.static_peers import resolve
from mesh.views import Neighbour

LOOPBACK: Final = "127.0.0.1"
MAX_KNOCKS: Final = 64  # at a time
MAX_AWAY: Final = 32  # members looked at
MAX_PLACES: Final = 8  # of each


class Places(Protocol):
    """What knows where nodes are: the neighbourhood."""

    def nearby(self) -> tuple[Sighting, ...]:
        """Whoever says it is in reach, member or not."""
        ...

    def places(self, node_id: str) -> Sequence[Sighting]:
        """Where to look for a node."""
        ...


class Examination:
    """Gathers the facts; `hearing` says how discovery does, once it runs."""

    def __init__(
        self,
        *,
        node_id: str,
        store: CommunityStore,
        broker: Broker,
        door: Door,
        places: Places,
        neighbours: Callable[[], Iterable[Neighbour]],
        config: MeshConfig,
        home: HomeBoard,
        double: Double,
        checkpoints: Checkpoints,
    ) -> None:
        self._node_id = node_id
        self._store = store
        self._broker = broker
        self._door = door
        self._places = places
        self._neighbours = neighbours
        self._config = config
        self._home = home
        self._double = double
        self._checkpoints = checkpoints
        self._knocking = asyncio.Semaphore(MAX_KNOCKS)
        self.hearing: Callable[[], Hearing] = Hearing

    async def facts(self) -> MeshFacts:
        """Look around, and knock where there is doubt; it takes some seconds at most."""
        membership = self._store.membership
        members = {one.node_id: one for one in self._store.others}
        neighbours = [one for one in self._neighbours() if one.node_id in members]
        away = [one for one in neighbours if not one.reachable and one.state != "blocked"]
        listed, static, own = await asyncio.gather(
            asyncio.gather(*(self._reach(members[one.node_id], one.trouble) for one in away[:MAX_AWAY])),
            asyncio.gather(*(self._static_peer(peer) for peer in self._config.static_peers)),
            asyncio.gather(
                self._knock(self._broker.address, self._broker.port), self._knock(LOOPBACK, self._door.port)
            ),
        )
        unlisted = (Reach(node_id=one.node_id, name=one.name, trouble=one.trouble) for one in away[MAX_AWAY:])
        return MeshFacts(
            node_id=self._node_id,
            wanted=self._config.interfaces,
            interfaces=survey(),
            hearing=self.hearing(),
            community=membership.name if membership is not None else None,
            strangers=tuple(one.node_id for one in self._places.nearby() if one.node_id not in members),
            reached=sum(one.reachable for one in neighbours),
            away=(*listed, *unlisted),
            blocked=self._blocked(),
            static_peers=tuple(static),
            broker=self._broker.kind,
            broker_port=self._broker.port,
            broker_error=own[0].error,
            door_port=self._door.port,
            door_error=own[1].error,
            duplicate=self._double.exists,
            board_changed=self._home.changed,
            equivocators=self._equivocators(),
            forked=membership is not None and bool(membership.rivals),
            disputed=await self._disputed(),
        )

    def _equivocators(self) -> tuple[tuple[str, str], ...]:
        membership = self._store.membership
        accused = [membership.members[raw_id] for raw_id in membership.equivocations] if membership else []
        return tuple((member.name, member.node_id) for member in accused)

    async def _disputed(self) -> tuple[tuple[str, str], ...]:
        try:
            seats = (await self._checkpoints.latest()).disputed
        except NoCommunityError:
            return ()
        voters = self._store.membership.voters if self._store.membership is not None else {}
        return tuple((one.name, one.node_id) for seat, one in voters.items() if seat in seats)

    def _blocked(self) -> tuple[tuple[str, str], ...]:
        names = {member.raw_id: member.name for member in self._store.others}
        ids = ((crypto.node_id(raw_id), names.get(raw_id, "")) for raw_id in sorted(self._store.blocked))
        return tuple((name or node_id[:8], node_id) for node_id, name in ids)

    async def _reach(self, member: Member, trouble: str) -> Reach:
        places = self._places.places(member.node_id)
        doors = dict.fromkeys((a, place.door_port) for place in places for a in place.addresses)
        brokers = dict.fromkeys((a, place.mqtt_port) for place in places for a in place.addresses)
        answers = await asyncio.gather(
            *(self._knock(*place) for place in [*doors][:MAX_PLACES]),
            *(self._knock(*place) for place in [*brokers][:MAX_PLACES]),
        )
        count = min(len(doors), MAX_PLACES)
        return Reach(
            node_id=member.node_id,
            name=member.name,
            trouble=trouble,
            announced=any(one.node_id == member.node_id for one in self._places.nearby()),
            doors=tuple(answers[:count]),
            brokers=tuple(answers[count:]),
        )

    async def _static_peer(self, peer: str) -> StaticPeer:
        try:
            door = await resolve(*parse_door(peer))
        except MeshError as error:
            return StaticPeer(peer=peer, error=str(error))
        return StaticPeer(peer=peer, error=(await self._knock(door.address, door.port)).error)

    async def _knock(self, address: str, port: int) -> Knock:
        async with self._knocking:
            return Knock(address=address, port=port, error=await knock(address, port))
