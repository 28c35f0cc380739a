"""A double: another machine with this node's identity, as when an SD card was copied.

Of two boards the one that starts later finds the name taken.  It knocks at the door behind that record as this very
node: so the first one learns of it too, by a proof instead of a record that anybody can send.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from mesh.community import CommunityStore
from mesh.core.door_messages import Ports
from mesh.errors import MeshError
from mesh.identity import Identity
from mesh.interfaces import survey
from mesh.sightings import Sighting
from mesh.visits import DoorAddress, Visitor

log = logging.getLogger(__name__)

FORGOTTEN_AFTER_S: Final = 600.0  # without another sign of it, the copy is gone
LOGGED_EVERY_S: Final = 60.0


class Double:
    """What is known of one; `run` must be running for it to be told.  `on_news` is called with each sign of it."""

    def __init__(
        self,
        *,
        identity: Identity,
        store: CommunityStore,
        visitor: Visitor,
        ports: Callable[[], Ports],
        on_news: Callable[[], None],
    ) -> None:
        self._identity = identity
        self._store = store
        self._visitor = visitor
        self._ports = ports
        self._on_news = on_news
        self._seen_at = self._logged_at = float("-inf")
        self._sighted: asyncio.Queue[Sighting] = asyncio.Queue(1)

    @property
    def exists(self) -> bool:
        """Whether there is one, as far as there were signs of it lately."""
        return time.monotonic() - self._seen_at < FORGOTTEN_AFTER_S

    def seen(self) -> None:
        """Take note of a sign of it."""
        self._seen_at = time.monotonic()
        if self._seen_at - self._logged_at >= LOGGED_EVERY_S:
            self._logged_at = self._seen_at
            log.error("another board uses this node's identity: a cloned SD card? hearth doctor says what to do")
        self._on_news()

    def sighted(self, sighting: Sighting | None) -> None:
        """Take a record with this node's name that is not its own."""
        self.seen()
        if sighting is not None and not self._sighted.full():
            self._sighted.put_nowait(sighting)

    async def run(self) -> None:
        """Knock where the other machine says it is, until cancelled."""
        while True:
            sighting = await self._sighted.get()
            membership = self._store.membership
            if membership is None:
                continue
            own = {address for one in survey() for address in one.addresses}
            for address in sighting.addresses:
                if address in own and sighting.door_port == self._ports().door:
                    continue  # an echo of this node's own record
                try:
                    await self._visitor.enrol(
                        membership.members[self._identity.raw_id], DoorAddress(address, sighting.door_port)
                    )
                except MeshError as error:
                    log.debug("knocked at the door of the other board at %s: %s", address, error)
