"""Where nodes may be: by their records, by what members say of themselves, and as handshakes have proven; all hints."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mesh.addresses import MAX_PORT, MIN_PORT, is_dialable, near_ones
from mesh.core.topic_policy import NODE_ID
from mesh.links import Endpoint

MAX_SIGHTINGS: Final = 256
MAX_ADDRESSES: Final = 8
FIELDS: Final = (b"id", b"v", b"port", b"door")
VERSION: Final = "1"
PORT: Final = re.compile(r"[1-9][0-9]{3,4}", re.ASCII)


@dataclass(frozen=True)
class Sighting:
    """Where a node says it is; nothing of it is proven."""

    node_id: str
    addresses: tuple[str, ...]
    mqtt_port: int
    door_port: int

    @classmethod
    def told(cls, node_id: str, fields: Mapping[bytes, bytes | None], addresses: Iterable[str]) -> "Sighting | None":
        """Read what the record of a name says; None when it is no node's or not sound."""
        try:
            claimed, version, port, door = ((fields.get(key) or b"").decode("ascii") for key in FIELDS)
        except UnicodeDecodeError:
            return None
        near = near_ones(addresses)[:MAX_ADDRESSES]
        if not (NODE_ID.fullmatch(node_id) and claimed == node_id and version == VERSION and near):
            return None
        if not all(PORT.fullmatch(text) and MIN_PORT <= int(text) <= MAX_PORT for text in (port, door)):
            return None
        return cls(node_id, near, int(port), int(door))


class Sightings:
    """The places of each node; only addresses that may be dialled are kept."""

    def __init__(self) -> None:
        self._sighted: dict[str, Sighting] = {}  # by node id, members or not
        self._hinted: dict[str, Sighting] = {}  # where members say they listen
        self._proven: dict[str, Sighting] = {}  # where a member has shown itself, which records cannot move

    def nearby(self) -> tuple[Sighting, ...]:
        """Whoever says it is in reach, member or not."""
        return tuple(self._sighted.values())

    def sighted(self, sighting: Sighting) -> bool:
        """Take a record; return whether it can be used."""
        dialable = _dialable(sighting)
        if dialable is None:
            return False
        self._sighted.pop(sighting.node_id, None)
        self._sighted[sighting.node_id] = dialable
        if len(self._sighted) > MAX_SIGHTINGS:
            del self._sighted[next(iter(self._sighted))]
        return True

    def lost(self, node_id: str) -> bool:
        """Drop a record; return whether there was one."""
        return self._sighted.pop(node_id, None) is not None

    def hinted(self, sighting: Sighting) -> bool:
        """Take what a member says of itself; return whether that is news."""
        dialable = _dialable(sighting)
        if dialable is None or self._hinted.get(sighting.node_id) == dialable:
            return False
        self._hinted[sighting.node_id] = dialable
        return True

    def proven(self, sighting: Sighting) -> None:
        """Take where a handshake has shown a member to be."""
        if dialable := _dialable(sighting):
            self._proven[sighting.node_id] = dialable

    def forget(self, node_id: str) -> None:
        """Keep of a node that is no member any more only what its record says."""
        self._proven.pop(node_id, None)
        self._hinted.pop(node_id, None)

    def places(self, node_id: str) -> Sequence[Sighting]:
        """Where to look for a node: first where it was met, then where a record says it is."""
        return [found[node_id] for found in (self._proven, self._sighted, self._hinted) if node_id in found]

    def endpoints(self, node_id: str) -> Sequence[Endpoint]:
        """Where to dial its broker, in the same order."""
        by_port: dict[int, list[str]] = {}
        for place in self.places(node_id):
            by_port.setdefault(place.mqtt_port, []).extend(place.addresses)
        return [Endpoint(tuple(dict.fromkeys(addresses)), port) for port, addresses in by_port.items()]


def _dialable(sighting: Sighting) -> Sighting | None:
    """Keep the addresses this node may dial, if there are any."""
    ports = (sighting.mqtt_port, sighting.door_port)
    addresses = tuple(a for a in sighting.addresses if all(is_dialable(a, port) for port in ports))
    return replace(sighting, addresses=addresses) if addresses else None
