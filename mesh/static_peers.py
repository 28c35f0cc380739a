"""Peers the owner named, where mDNS does not reach: their doors are knocked until one opens to a member.

An address says nothing of who lives there, so each member that is not linked is tried; the handshake tells.
"""

import asyncio
import logging
import random
import socket
from typing import Final

from mesh.addresses import host_of, is_dialable, parse_door
from mesh.community import CommunityStore
from mesh.errors import MeshError, NoOfferError, StorageError
from mesh.links import LinkState
from mesh.neighbourhood import Neighbourhood
from mesh.visits import DoorAddress, Visitor

log = logging.getLogger(__name__)

PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 60.0


class StaticPeers:
    """Finds members behind the addresses of `[discovery] peers`."""

    def __init__(
        self, peers: tuple[str, ...], store: CommunityStore, visitor: Visitor, neighbourhood: Neighbourhood
    ) -> None:
        self._peers = peers
        self._store = store
        self._visitor = visitor
        self._neighbourhood = neighbourhood

    async def run(self) -> None:
        """Look for them until cancelled; return at once when there are none."""
        async with asyncio.TaskGroup() as tasks:
            for peer in self._peers:
                tasks.create_task(self._look(peer), name=f"static peer {peer}")

    async def _look(self, peer: str) -> None:
        pause_s = PAUSE_FIRST_S
        while True:
            if await self._knock(peer):
                pause_s = PAUSE_FIRST_S
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))  # noqa: S311  not a secret
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _knock(self, peer: str) -> bool:
        """Try each member that is not linked at this door; return whether one lives there."""
        linked = {one.node_id for one in self._neighbourhood.neighbours() if one.state == LinkState.LINKED}
        for member in self._store.others:
            if member.node_id in linked or member.raw_id in self._store.blocked:
                continue
            try:
                met = await self._visitor.enrol(member, await resolve(*parse_door(peer)))
                self._neighbourhood.met(met.raw_id, met.grant, met.sighting)
            except StorageError as error:
                log.warning("the key to %s's broker is asked for again: %s", member.name, error)
            except MeshError as error:
                log.debug("%s does not answer at %s: %s", member.name, peer, error)
            else:
                return True
        return False


async def resolve(host: str, port: int) -> DoorAddress:
    """Find the address of a host, if it is one this node may dial.  Errors: NoOfferError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter for names no resolver takes
        raise NoOfferError(f"the host “{host}” cannot be found") from error
    for *_, address in found:
        if is_dialable(found_host := host_of(address), port):
            return DoorAddress(found_host, port)
    raise NoOfferError(f"“{host}” is not an address of a local network")
