"""Where frames go from here: along the routes, but for first hops over which nothing came back of late."""

from collections.abc import Mapping
from typing import Final

from mesh.core.routes import LinksAdvert, RouteTable

GIVEN_S: Final = 0.2  # a first hop is given so long to prove itself: a window of messages is not to switch with each
SUSPECT_S: Final = 10.0  # a first hop over which nothing came back is avoided for so long


class Forwarding:
    """The routes of one node, and its suspicions; times are monotonic seconds, nodes are raw ids."""

    def __init__(self, own: bytes) -> None:
        self.routes = RouteTable(own)
        self._suspects: dict[bytes, dict[bytes, float]] = {}  # by destination: first hops, and until when

    def update(self, links: Mapping[bytes, int], adverts: Mapping[bytes, LinksAdvert]) -> None:
        """Take the links of this node as they are now (with their metric), and what the others said last."""
        self.routes.update(links, adverts)
        for gone in [one for one in self._suspects if not self.routes.hops(one)]:
            del self._suspects[gone]

    def first_hop(self, destination: bytes, *, now: float) -> bytes | None:
        """Return the neighbour to give a frame of this node's own to."""
        return self.routes.next_hop(destination, avoiding=self._suspected(destination, now=now))

    def onward(self, destination: bytes, *, came_from: bytes) -> bytes | None:
        """Return the neighbour to pass a frame on to, never the one that it came from."""
        hop = self.routes.next_hop(destination, avoiding={came_from})
        return None if hop == came_from else hop

    def suspect(self, destination: bytes, *, now: float) -> None:
        """Avoid the present first hop to a node for a while: what went that way was not answered."""
        hop, suspects = self.first_hop(destination, now=now), self._suspected(destination, now=now)
        if hop is None or now < max(suspects.values(), default=now) - SUSPECT_S + GIVEN_S:
            return
        # Where nobody is left unsuspected, the shortest way was taken after all: then all have their turn again.
        others = {} if hop in suspects else suspects
        self._suspects[destination] = {**others, hop: now + SUSPECT_S}

    def _suspected(self, destination: bytes, *, now: float) -> Mapping[bytes, float]:
        return {hop: until for hop, until in self._suspects.get(destination, {}).items() if now < until}
