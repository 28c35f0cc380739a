"""Who reaches whom: link-state adverts, and the shortest paths they give (decision 17 of docs/protocol.md).

    advert = [[[neighbour's raw id[:8], metric]...], [[address...], mqtt port, door port] | null]

An edge counts only if both of its ends say so, at the worse of their two metrics: nobody can invent a link to a node
that does not want it.  Two nodes that lie together can; the end-to-end sessions keep what they carry secret all the
same, and whoever loses messages on a path tries another first hop.
"""

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from mesh.core import codec
from mesh.core.frames import HOP_LIMIT
from mesh.errors import MalformedError

SHORT_ID_BYTES: Final = 8  # of a neighbour in an advert; who is meant is a member, and members' ids are no secret
MAX_EDGES: Final = 24
MAX_METRIC: Final = 1000
LAN_METRIC: Final = 10  # of an ordinary link; slow ones count for more
MAX_ADVERT_BYTES: Final = 1024
MAX_ADDRESSES: Final = 8
MAX_ADDRESS_CHARACTERS: Final = 64
MAX_PORT: Final = 2**16 - 1
MAX_HOPS: Final = HOP_LIMIT + 1  # each relay adds one to what the sender sets to 0


@dataclass(frozen=True)
class Place:
    """Where a node says it listens; a hint like any other."""

    addresses: tuple[str, ...]
    mqtt_port: int
    door_port: int


@dataclass(frozen=True)
class LinksAdvert:
    """A node's own account of its links: short ids of its neighbours, with what each link costs."""

    edges: Mapping[bytes, int]
    place: Place | None = None

    def to_body(self) -> bytes:
        """Write the advert; edges beyond the bound are left out, the dearest first."""
        edges: list[codec.Item] = [
            [short, metric]
            for short, metric in sorted(self.edges.items(), key=lambda edge: (edge[1], edge[0]))[:MAX_EDGES]
        ]
        place: codec.Item = None
        if self.place is not None:
            addresses: list[codec.Item] = list(self.place.addresses[:MAX_ADDRESSES])
            place = [addresses, self.place.mqtt_port, self.place.door_port]
        return codec.encode([edges, place])

    @classmethod
    def parse(cls, body: bytes) -> "LinksAdvert":
        """Read a foreign advert.  Errors: MalformedError."""
        match codec.decode_array(body, max_bytes=MAX_ADVERT_BYTES):
            case [items, place]:
                edges = dict(_edge(item) for item in codec.short_array(items, MAX_EDGES))
                return cls(edges, None if place is None else _place(place))
        raise MalformedError("not an advert of links")


def short_id(raw_id: bytes) -> bytes:
    """Return how an advert names a neighbour."""
    return raw_id[:SHORT_ID_BYTES]


@dataclass(frozen=True)
class _Path:
    cost: int
    hops: int
    first: bytes  # raw id of the first hop


class RouteTable:
    """Shortest paths from one node; raw ids throughout.

    `update` takes what is known; paths are computed when the first is asked for after that.
    """

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._edges: dict[bytes, dict[bytes, int]] = {}
        self._paths: dict[bytes, Mapping[bytes, _Path]] = {}  # from a node, computed on demand

    def update(self, links: Mapping[bytes, int], adverts: Mapping[bytes, LinksAdvert]) -> None:
        """Take the links of this node as they are now (raw id: metric), and what the others said last."""
        names = {short_id(raw_id): raw_id for raw_id in (*adverts, *links, self._own)}
        said = {
            raw_id: {names[short]: metric for short, metric in advert.edges.items() if short in names}
            for raw_id, advert in adverts.items()
            if raw_id != self._own
        }
        # A link of our own is known at first hand: a session over it has just shown that it works both ways.
        own = {n: max(metric, said.get(n, {}).get(self._own, metric)) for n, metric in links.items()}
        edges: dict[bytes, dict[bytes, int]] = {self._own: own}
        for one, its in said.items():
            for other, metric in its.items():
                back = said.get(other, {}).get(one)
                if back is not None and other != one:
                    edges.setdefault(one, {})[other] = max(metric, back)
        for neighbour, metric in own.items():
            edges.setdefault(neighbour, {})[self._own] = metric
        self._edges, self._paths = edges, {}

    def reachable(self) -> Mapping[bytes, int]:
        """Return how many hops away every node is that a path leads to."""
        return {node: path.hops for node, path in self._from(self._own).items() if node != self._own}

    def first_hops(self) -> Mapping[bytes, bytes]:
        """Return the first hop of the shortest path to every node that one leads to."""
        return {node: path.first for node, path in self._from(self._own).items() if node != self._own}

    def hops(self, destination: bytes) -> int:
        """Return how many hops away a node is; 0: no path leads there."""
        path = self._from(self._own).get(destination)
        return path.hops if path is not None else 0

    def next_hop(self, destination: bytes, *, avoiding: Collection[bytes] = ()) -> bytes | None:
        """Return the neighbour to give a frame to, if there is one.

        The first hop of the shortest path; if that is to be avoided, another neighbour that is sure not to send the
        frame back here (a loop-free alternate, RFC 5286, inequality 1), the nearest first; if there is none, the
        shortest path after all.
        """
        path = self._from(self._own).get(destination)
        if path is None or destination == self._own:
            return None
        if path.first not in avoiding:
            return path.first
        found = [
            (metric + other.cost, neighbour)
            for neighbour, metric in self._edges[self._own].items()
            if neighbour not in avoiding
            and (other := self._from(neighbour).get(destination)) is not None
            and other.cost < self._from(neighbour)[self._own].cost + path.cost
        ]
        return min(found)[1] if found else path.first

    def _from(self, source: bytes) -> Mapping[bytes, _Path]:
        """Compute the shortest paths from a node; equal ones are told apart by hops, then by the first hop's id."""
        if source not in self._paths:
            self._paths[source] = self._dijkstra(source)
        return self._paths[source]

    def _dijkstra(self, source: bytes) -> Mapping[bytes, _Path]:
        done: dict[bytes, _Path] = {}
        frontier: list[tuple[int, int, bytes, bytes]] = [(0, 0, source, source)]
        while frontier:
            cost, hops, first, node = heapq.heappop(frontier)
            if node in done:
                continue
            done[node] = _Path(cost, hops, first)
            if hops == MAX_HOPS:
                continue
            for neighbour, metric in self._edges.get(node, {}).items():
                if neighbour not in done:
                    step = neighbour if node == source else first
                    heapq.heappush(frontier, (cost + metric, hops + 1, step, neighbour))
        return done


def _edge(item: codec.Item) -> tuple[bytes, int]:
    match item:
        case [short, metric]:
            cost = codec.unsigned(metric, MAX_METRIC)
            if cost > 0:
                return codec.fixed_bytes(short, SHORT_ID_BYTES), cost
    raise MalformedError("not an edge of an advert")


def _place(item: codec.Item) -> Place:
    match item:
        case [addresses, mqtt_port, door_port]:
            texts = [
                codec.short_text(address, MAX_ADDRESS_CHARACTERS)
                for address in codec.short_array(addresses, MAX_ADDRESSES)
            ]
            return Place(tuple(texts), codec.unsigned(mqtt_port, MAX_PORT), codec.unsigned(door_port, MAX_PORT))
    raise MalformedError("not the place of an advert")
