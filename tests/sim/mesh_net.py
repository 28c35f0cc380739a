"""Nodes on a simulated net: messages arrive in order and at once, ways open and close when a test says so."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable

from mesh.core.envelope import BULK_KINDS
from mesh.errors import LinkDownError, QueueFullError
from mesh.node import Neighbour, Received


class SimulatedNet:
    """Links between simulated nodes.  lost: decides which messages never arrive; full: which cannot be queued."""

    def __init__(self) -> None:
        self.nodes: dict[str, SimulatedMesh] = {}
        self._hops: dict[frozenset[str], int] = {}
        self.lost: Callable[[Received], bool] = lambda _: False
        self.full: Callable[[str, int], bool] = lambda _peer, _kind: False
        self._numbers = itertools.count(1)

    def node(self, name: str) -> "SimulatedMesh":
        """Add a node; its id begins with its name."""
        mesh = SimulatedMesh(self, name.ljust(52, "2"), name)
        self.nodes[mesh.node_id] = mesh
        return mesh

    def link(self, one: "SimulatedMesh", other: "SimulatedMesh", *, hops: int = 1) -> None:
        """Open a way, or change it: a direct link or, of more hops, one over others; both ends notice."""
        self._hops[frozenset((one.node_id, other.node_id))] = hops
        one.changed()
        other.changed()
        self.flood()

    def cut(self, one: "SimulatedMesh", other: "SimulatedMesh") -> None:
        """Close every way; both ends notice."""
        self._hops.pop(frozenset((one.node_id, other.node_id)), None)
        one.changed()
        other.changed()

    def flood(self) -> None:
        """Let every node hear, in the loop's next turn, what those in reach announce."""
        for one in self.nodes.values():
            for other in self.nodes.values():
                if one is not other and other.announces:
                    asyncio.get_running_loop().call_soon(one.hear, other)

    def hops(self, one: str, other: str) -> int:
        """How far it is; 0 where there is no way."""
        return self._hops.get(frozenset((one, other)), 0)

    def carry(self, sender: str, peer: str, kind: int, body: bytes, re: bytes | None) -> bytes:
        """Deliver a message in the loop's next turn."""
        if not self.hops(sender, peer):
            raise LinkDownError(f"no link to {peer[:8]}")
        if self.full(peer, kind):
            raise QueueFullError(f"too much waits for {peer[:8]}")
        message_id = next(self._numbers).to_bytes(16, "big")
        received = Received(peer=sender, kind=kind, message_id=message_id, re=re, body=body)
        if not self.lost(received):
            asyncio.get_running_loop().call_soon(self.nodes[peer].deliver, received)
        return message_id


class SimulatedMesh:
    """One node's end of the net, with what `device.ports.Mesh` asks for."""

    def __init__(self, net: SimulatedNet, node_id: str, name: str) -> None:
        self._net = net
        self.node_id = node_id
        self.name = name
        self.states: dict[str, str] = {}  # of neighbours that are not linked, when it is not "unreachable"
        self.seen: defaultdict[int, list[Received]] = defaultdict(list)
        self._on_message: list[Callable[[Received], None]] = []
        self._on_announcement: list[Callable[[str, bytes], None]] = []
        self._body: Callable[[], bytes] | None = None
        self._known: dict[str, bytes] = {}
        self._on_change: list[Callable[[], None]] = []
        self.host_name = ""

    def publish_host(self, name: str | None, *, port: int) -> None:
        """Be found by that very name at once: nobody else is on this net's Wi-Fi."""
        assert port > 0
        self.host_name = f"{name}.local" if name else ""

    async def send(self, peer: str, kind: int, body: bytes, *, re: bytes | None = None, ttl_s: float = 30.0) -> bytes:
        """Queue a message for a node in reach."""
        assert ttl_s > 0
        return self._net.carry(self.node_id, peer, kind, body, re)

    def post(self, peer: str, kind: int, body: bytes, *, re: bytes | None = None) -> bytes:
        """Send a bulk message; it arrives unless the test has it lost."""
        assert kind in BULK_KINDS
        return self._net.carry(self.node_id, peer, kind, body, re)

    def on_message(self, handler: Callable[[Received], None]) -> None:
        """Call `handler` with each message."""
        self._on_message.append(handler)

    def deafen(self) -> None:
        """Call nobody any more: whoever listened has ended."""
        self._on_message.clear()
        self._on_change.clear()

    def on_change(self, handler: Callable[[], None]) -> None:
        """Call `handler` when a link changed."""
        self._on_change.append(handler)

    def announce(self, body: Callable[[], bytes]) -> None:
        """Tell every node in reach, and whoever comes into reach."""
        self._body = body
        self._net.flood()

    def announcement_changed(self) -> None:
        """Tell them anew."""
        self._net.flood()

    def announcements(self) -> dict[str, bytes]:
        """What is known of the others."""
        return dict(self._known)

    def on_announcement(self, handler: Callable[[str, bytes], None]) -> None:
        """Call `handler` with what is announced."""
        self._on_announcement.append(handler)

    @property
    def announces(self) -> bool:
        """Whether it has anything to say."""
        return self._body is not None

    def hear(self, other: "SimulatedMesh") -> None:
        """Take what another node announces, if it is in reach and has news."""
        body = other._body() if other._body is not None and self._hops(other) else None
        if body is not None and self._known.get(other.node_id) != body:
            self._known[other.node_id] = body
            for handler in self._on_announcement:
                handler(other.node_id, body)

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Every other node of the net."""
        return tuple(
            Neighbour(other.node_id, other.name, self._state(other), 0.0, hops=self._hops(other))
            for other in self._net.nodes.values()
            if other is not self
        )

    def deliver(self, received: Received) -> None:
        """Take a message from the net."""
        self.seen[received.kind].append(received)
        for handler in self._on_message:
            handler(received)

    def changed(self) -> None:
        """Tell whoever listens that a link changed."""
        for handler in self._on_change:
            handler()

    def _hops(self, other: "SimulatedMesh") -> int:
        return self._net.hops(self.node_id, other.node_id)

    def _state(self, other: "SimulatedMesh") -> str:
        if hops := self._hops(other):
            return "linked" if hops == 1 else "reachable"
        return self.states.get(other.node_id, "unreachable")
