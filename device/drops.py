"""Malformed messages of neighbours are logged, but none of them can fill the log."""

import asyncio
import logging
from typing import Final

from device.errors import NeighbourMisbehavedError

LOGGED_EVERY_S: Final = 10.0

log = logging.getLogger(__name__)


class Drops:
    """Counts what was dropped, and says so now and then."""

    def __init__(self) -> None:
        self._count = 0
        self._next_at = 0.0

    def dropped(self, peer: str, error: NeighbourMisbehavedError) -> None:
        """Note a message that was dropped for an error."""
        self._count += 1
        now = asyncio.get_running_loop().time()
        if now >= self._next_at:
            log.warning("messages dropped", extra={"count": self._count, "peer": peer, "reason": str(error)})
            self._count, self._next_at = 0, now + LOGGED_EVERY_S
