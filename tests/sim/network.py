"""A simulated network: many nodes that run the mesh's own cores on one virtual clock, over links that fail.

What is simulated is the wire and what the shells do with the clock (mesh/announcing.py, routing.py, delivery.py).
Sessions are taken for granted: a frame carries the life of its destination that it was sealed for, as a session would,
and is lost on another life.  All randomness comes from one seed: what happened once happens again.
"""

import functools
import hashlib
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mesh.announcing import CHECK_EVERY_S
from mesh.core import codec, crypto
from mesh.core.announcements import REFRESH_S, Announcement, Head, Topic
from mesh.core.envelope import Envelope, MeshKind
from mesh.core.flooding import Flood, Verdict
from mesh.core.forwarding import Forwarding
from mesh.core.frames import Frame, FrameType, Header, Lane, one_hop_on
from mesh.core.routes import LAN_METRIC, MAX_HOPS, LinksAdvert, short_id
from mesh.core.streams import Ack, ReceiveStream, SendStream
from mesh.delivery import ACK_WITHIN_S, NO_PATH_PAUSE_S
from mesh.errors import MalformedError
from tests.sim.wires import GOOD, Clock, Pair, Wire

COMMUNITY: Final = b"c" * 32
PING: Final = 16
HANDSHAKE_S: Final = 0.02
LASTING_S: Final = 7 * 24 * 3600.0  # a time to live that no run outlasts


@functools.lru_cache(maxsize=4096)
def links_advert(body: bytes) -> LinksAdvert:
    """Read an advert, which 200 nodes do."""
    return LinksAdvert.parse(body)


@dataclass(eq=False)
class Conversation:
    """Both directions with one other node."""

    sending: SendStream
    receiving: ReceiveStream = field(default_factory=ReceiveStream)
    acknowledging: bool = False
    wakes_at: float | None = None


class Node:
    """One life of a node; a crash ends it, and the next begins with the count of starts alone."""

    def __init__(self, network: "Network", number: int, life: int) -> None:
        self.network = network
        self.number = number
        self.life = life
        self.raw_id, self.seed = network.names[number], network.seeds[number]
        self.alive = True
        self.links: dict[int, int] = {}  # neighbour: which time the link is up
        self.flood = Flood(self.raw_id, life)
        self.forwarding = Forwarding(self.raw_id)
        self.adverts: dict[bytes, LinksAdvert] = {}
        self.conversations: dict[int, Conversation] = {}
        self._outdated = False
        self._first_hops: Mapping[bytes, bytes] = {}
        self._telling = False
        self._refreshed_at = network.clock.now
        self.later(network.rng.uniform(0, CHECK_EVERY_S), self._check)
        self._changed()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call in this life."""
        self.network.clock.after(seconds, lambda: call() if self.alive else None)

    @property
    def now(self) -> float:
        """The time."""
        return self.network.clock.now

    # Links and announcements, as mesh/announcing.py has them.

    def link_up(self, peer: int, time: int) -> None:
        """Compare with a neighbour, and tell of it."""
        self.links[peer] = time
        self._routes_changed()
        self._changed()
        heads = self.flood.board.heads()
        self.network.carry(self, peer, lambda node: node.compared(self.number, heads))

    def link_down(self, peer: int) -> None:
        """Tell that a neighbour is gone."""
        if self.links.pop(peer, None) is not None:
            self._routes_changed()
            self._changed()

    def compared(self, peer: int, heads: list[Head]) -> None:
        """Send what a neighbour lacks."""
        self._spread(self.flood.board.missing_at(heads), [peer])

    def hear(self, peer: int, announcements: list[Announcement]) -> None:
        """Take announcements, and pass on what is new."""
        names, publics = self.network.names, self.network.publics
        news = [
            one
            for one in announcements
            if self.flood.judge(one, sender=names[peer], public=publics[one.author], community=COMMUNITY, now=self.now)
            is Verdict.NEWS
        ]
        news = [one for one in news if self.flood.board.take(one, now=self.now)]
        self._spread(news, [other for other in self.links if other != peer])
        for one in news:
            known, advert = self.adverts.get(one.author), links_advert(one.body)
            self.adverts[one.author] = advert
            if known is None or known.edges != advert.edges:
                self._routes_changed()

    def _changed(self) -> None:
        if not self._telling:
            self._telling = True
            self.later(self.flood.pause_s(Topic.LINKS, now=self.now), self._tell)

    def _tell(self) -> None:
        self._telling = False
        advert = LinksAdvert({short_id(self.network.names[peer]): LAN_METRIC for peer in self.links})
        one = self.flood.say(self.seed, COMMUNITY, Topic.LINKS, advert.to_body(), now=self.now)
        self.network.counts["said"] += 1
        self._spread([one], self.links)

    def _check(self) -> None:
        if self.flood.prune(now=self.now, is_member=self.network.publics.__contains__):
            held = self.flood.board.about(Topic.LINKS)
            self.adverts = {author: advert for author, advert in self.adverts.items() if author in held}
            self._routes_changed()
        if self.now - self._refreshed_at >= REFRESH_S:
            self._refreshed_at = self.now
            self._changed()
        self.later(CHECK_EVERY_S, self._check)

    def _spread(self, announcements: list[Announcement], peers: Iterable[int]) -> None:
        if announcements:
            for peer in [*peers]:
                self.network.counts["announcements sent"] += len(announcements)
                self.network.carry(self, peer, lambda node: node.hear(self.number, announcements))

    # Routes and forwarding, as mesh/routing.py has them.

    def routed(self) -> Forwarding:
        """Return the routes of the moment."""
        if self._outdated:
            self._outdated = False
            links = {self.network.names[peer]: LAN_METRIC for peer in self.links}
            self.forwarding.update(links, self.adverts)
        return self.forwarding

    def _routes_changed(self) -> None:
        if not self._outdated:
            self._outdated = True
            if self.conversations:
                self.later(0, self._paths_changed)

    def _paths_changed(self) -> None:
        before, self._first_hops = self._first_hops, self.routed().routes.first_hops()
        for peer, conversation in self.conversations.items():
            hop = self._first_hops.get(self.network.names[peer])
            if hop is not None and hop != before.get(self.network.names[peer]):
                conversation.sending.hurry(now=self.now)
                self._pump(peer, conversation)

    def arrived(self, came_from: int, data: bytes) -> None:
        """Take a frame, or pass it on."""
        frame = Frame.parse(data)
        header = frame.header
        if header.destination == self.raw_id:
            if header.receiver_index == self.life:
                self._receive(self.network.numbers[header.source], Envelope.parse(bytes(frame.body)))
            return
        try:
            onward = one_hop_on(data)
        except MalformedError:
            self.network.counts["gone too far"] += 1
            return
        hop = self.routed().onward(header.destination, came_from=self.network.names[came_from])
        if hop is None or not self._give(hop, onward):
            self.network.counts["unroutable"] += 1

    def _give(self, hop: bytes, data: bytes) -> bool:
        peer = self.network.numbers[hop]
        if peer not in self.links:
            return False
        self.network.carry(self, peer, lambda node: node.arrived(self.number, data))
        return True

    # Delivery, as mesh/delivery.py has it.

    def send(self, peer: int, number: int, *, ttl_s: float) -> None:
        """Send a message."""
        envelope = Envelope(PING, number.to_bytes(16, "big"), None, round(ttl_s * 1000), b"")
        conversation = self._conversation(peer)
        conversation.sending.put(envelope, now=self.now)
        self._pump(peer, conversation)

    def _conversation(self, peer: int) -> Conversation:
        if peer not in self.conversations:
            stream = self.life.to_bytes(4, "big") + self.number.to_bytes(2, "big") + peer.to_bytes(2, "big")
            self.conversations[peer] = Conversation(SendStream(stream))
        return self.conversations[peer]

    def _pump(self, peer: int, conversation: Conversation) -> None:
        sending = conversation.sending
        for envelope in sending.due(now=self.now):
            if self._carry(peer, envelope, retried=sending.is_retried(envelope)):
                sending.sent(envelope, now=self.now)
            else:
                sending.postpone(envelope, until=self.now + NO_PATH_PAUSE_S)
        wakes_at = sending.next_due()
        if wakes_at is not None and (conversation.wakes_at is None or wakes_at < conversation.wakes_at):
            conversation.wakes_at = wakes_at
            self.later(max(0.0, wakes_at - self.now), lambda: self._woken(peer, conversation, wakes_at))

    def _woken(self, peer: int, conversation: Conversation, at: float) -> None:
        if conversation.wakes_at == at:
            conversation.wakes_at = None
            self._pump(peer, conversation)

    def _carry(self, peer: int, envelope: Envelope, *, retried: bool) -> bool:
        destination = self.network.names[peer]
        forwarding = self.routed()
        if peer not in self.links and retried:
            forwarding.suspect(destination, now=self.now)
        hop = destination if peer in self.links else forwarding.first_hop(destination, now=self.now)
        life = self.network.nodes[peer].life
        header = Header(FrameType.DATA, Lane.CTL, self.raw_id, destination, life, routed=True)
        return hop is not None and self._give(hop, Frame(header, envelope.to_bytes()).to_bytes())

    def _receive(self, peer: int, envelope: Envelope) -> None:
        conversation = self._conversation(peer)
        if envelope.kind == MeshKind.ACK:
            ack = Ack.parse(envelope.body)
            if ack.stream == conversation.sending.stream:
                conversation.sending.acknowledged(ack.next, ack.beyond, now=self.now)
                self._pump(peer, conversation)
            return
        ready = conversation.receiving.receive(envelope)
        for one in ready:
            self.network.handed_over(self, peer, int.from_bytes(one.message_id, "big"))
        if not conversation.acknowledging:
            conversation.acknowledging = True
            self.later(ACK_WITHIN_S if ready else 0.0, lambda: self._acknowledge(peer, conversation))

    def _acknowledge(self, peer: int, conversation: Conversation) -> None:
        conversation.acknowledging = False
        fields = conversation.receiving.acknowledgement()
        if fields is not None:
            envelope = Envelope(MeshKind.ACK, bytes(16), None, 5000, codec.encode([*fields]))
            self._carry(peer, envelope, retried=False)


class Network:
    """Nodes, and the wires between them."""

    def __init__(self, size: int, *, seed: int, wire: Wire = GOOD) -> None:
        self.rng = random.Random(seed)  # noqa: S311  the same in every run
        self.wire = wire
        self.clock = Clock()
        self.seeds = [hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(size)]
        keys = [crypto.ed25519_public(seed) for seed in self.seeds]
        self.names = [crypto.raw_id(key) for key in keys]
        self.publics = dict(zip(self.names, keys, strict=True))
        self.numbers = {name: number for number, name in enumerate(self.names)}
        self.counts: Counter[str] = Counter()
        self.wires: dict[Pair, int] = {}  # those that are whole, and the how many-th time
        self.sent: dict[tuple[int, int, int], list[int]] = {}  # sender, its life, receiver: numbers of messages
        self.lasting: set[int] = set()
        self.handed: dict[tuple[int, int, int], list[int]] = {}  # sender, receiver, its life
        self._times = itertools.count(1)
        self._messages = itertools.count()
        self.nodes = [Node(self, number, 1) for number in range(size)]

    # What happens to the network.

    def join(self, one: int, two: int) -> None:
        """Put up a wire, or mend it."""
        pair = frozenset((one, two))
        time = self.wires[pair] = next(self._times)

        def up() -> None:
            if self.wires.get(pair) == time and self.nodes[one].alive and self.nodes[two].alive:
                self.nodes[one].link_up(two, time)
                self.nodes[two].link_up(one, time)

        self.clock.after(HANDSHAKE_S * self.rng.uniform(1, 1.25), up)

    def cut(self, one: int, two: int) -> None:
        """Break a wire; both ends notice in their own time."""
        self.wires.pop(frozenset((one, two)), None)
        self._notice(one, two)
        self._notice(two, one)

    def crash(self, number: int) -> None:
        """End a node's life; those linked with it notice in their own time."""
        self.nodes[number].alive = False
        for peer in self.neighbours(number):
            self._notice(peer, number)

    def restart(self, number: int) -> None:
        """Begin a node's next life, on the wires that are whole."""
        self.nodes[number] = Node(self, number, self.nodes[number].life + 1)
        for peer in self.neighbours(number):
            self.join(number, peer)

    def send(self, sender: int, receiver: int, *, ttl_s: float = LASTING_S) -> None:
        """Let a node send a numbered message."""
        number = next(self._messages)
        node = self.nodes[sender]
        self.sent.setdefault((sender, node.life, receiver), []).append(number)
        if ttl_s >= LASTING_S:
            self.lasting.add(number)
        node.send(receiver, number, ttl_s=ttl_s)

    def _notice(self, number: int, peer: int) -> None:
        node = self.nodes[number]
        time = node.links.get(peer)

        def noticed() -> None:
            if node.links.get(peer) == time:  # else there is a new link already
                node.link_down(peer)

        node.later(self.rng.uniform(*self.wire.noticed_s), noticed)

    # What the nodes do.

    def carry(self, sender: Node, peer: int, arrive: Callable[[Node], None]) -> None:
        """Carry something over the link of the moment, or lose it, or carry it twice."""
        self.counts["frames"] += 1
        pair, time = frozenset((sender.number, peer)), sender.links.get(peer)
        receiver = self.nodes[peer]

        def arrives() -> None:
            if self.wires.get(pair) == time and receiver.alive and receiver.links.get(sender.number) == time:
                arrive(receiver)

        for _ in range(2 if self.rng.random() < self.wire.twice else 1):
            if self.rng.random() >= self.wire.loss:
                self.clock.after(self.rng.uniform(*self.wire.delay_s), arrives)

    def handed_over(self, receiver: Node, sender: int, number: int) -> None:
        """Note that a message has come."""
        self.handed.setdefault((sender, receiver.number, receiver.life), []).append(number)

    # What there is to see.

    def neighbours(self, number: int) -> list[int]:
        """Return whom whole wires lead to, in the order of their numbers."""
        return sorted(other for pair in self.wires if number in pair for other in pair if other != number)

    def hops_from(self, number: int) -> dict[int, int]:
        """Return how far everybody really is, of those that frames can get to."""
        near = self._graph()
        hops = {number: 0}
        queue = deque([number])
        while queue:
            node = queue.popleft()
            for other in near[node]:
                if other not in hops and hops[node] < MAX_HOPS:
                    hops[other] = hops[node] + 1
                    queue.append(other)
        return hops

    def agrees(self, number: int) -> bool:
        """Whether a node's view of who is how far away is the truth."""
        node = self.nodes[number]
        seen = {self.numbers[name]: hops for name, hops in node.routed().routes.reachable().items()}
        return not node.alive or {**seen, number: 0} == self.hops_from(number)

    def all_know_all(self) -> bool:
        """Whether every node holds what every other would say now."""
        near = self._graph()
        truth = {
            self.names[node.number]: {short_id(self.names[peer]): LAN_METRIC for peer in near[node.number]}
            for node in self.nodes
            if node.alive
        }
        return all(
            node.adverts[name].edges == edges if name in node.adverts else name == node.raw_id
            for node in self.nodes
            if node.alive
            for name, edges in truth.items()
        )

    def _graph(self) -> list[list[int]]:
        near: list[list[int]] = [[] for _ in self.nodes]
        for pair in self.wires:
            one, two = pair
            if self.nodes[one].alive and self.nodes[two].alive:
                near[one].append(two)
                near[two].append(one)
        return near
