"""Members whose ledgers meet over wires that deliver when they are told to."""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mesh.community import CommunityStore
from mesh.core.entries import Admit
from mesh.core.envelope import Envelope
from mesh.core.ledger import Ledger
from mesh.core.membership import OBSERVER
from mesh.errors import QueueFullError
from mesh.identity import Identity
from mesh.sync import LedgerSync
from tests.mesh.core.world import Person

ANNA, BEN, CLEO, DARA = Person("Anna"), Person("Ben"), Person("Cleo"), Person("Dara")


class Wire:
    """One end of a link that delivers when told to; it counts what it carries."""

    def __init__(self, net: "Net", sender: "Node", receiver: "Node") -> None:
        self.peer_id = receiver.person.statement.node_id
        self.full = False
        self.largest = 0
        self._net = net
        self._sender = sender
        self._receiver = receiver

    def send(self, kind: int, body: bytes, *, ttl_s: float) -> bytes:
        """Queue a message, or refuse it as a full queue does."""
        if self.full:
            raise QueueFullError("full")
        self.largest = max(self.largest, len(body))
        envelope = Envelope(kind, b"m" * 16, None, round(ttl_s * 1000), body)
        self._net.queue.append((self._sender, self._receiver, envelope))
        return envelope.message_id


class Node:
    """A store, its exchange, and its wires."""

    def __init__(self, person: Person, store: CommunityStore) -> None:
        self.person = person
        self.store = store
        self.wires: dict[str, Wire] = {}
        self.ledger_changes = 0
        self.key_changes = 0
        self.sync = LedgerSync(
            store,
            own_id=person.statement.node_id,
            peers=lambda: [*self.wires.values()],
            on_ledger=self._ledger_changed,
            on_keys=self._keys_changed,
        )

    @property
    def ledger(self) -> Ledger:
        """What it holds."""
        assert self.store.ledger is not None
        return self.store.ledger

    def _ledger_changed(self) -> None:
        self.ledger_changes += 1

    def _keys_changed(self) -> None:
        self.key_changes += 1

    def admits(self, *people: Person) -> None:
        """Let people in."""
        for person in people:
            self.store.sign(Admit(person.statement, person.name, OBSERVER))


class Net:
    """Delivers messages in order until there are none."""

    def __init__(self) -> None:
        self.queue: deque[tuple[Node, Node, Envelope]] = deque()
        self.delivered = 0

    def link(self, one: Node, two: Node) -> None:
        """Bring up a link; both ends compare."""
        one.wires[two.person.name] = Wire(self, one, two)
        two.wires[one.person.name] = Wire(self, two, one)
        one.sync.compare(one.wires[two.person.name])
        two.sync.compare(two.wires[one.person.name])

    def settle(self) -> None:
        """Deliver everything, and what comes of it."""
        while self.queue:
            sender, receiver, envelope = self.queue.popleft()
            self.delivered += 1
            assert self.delivered < 1000
            if sender.person.name in receiver.wires:
                receiver.sync.receive(receiver.wires[sender.person.name], envelope)


@contextmanager
def three_nodes(folder: Path) -> Iterator[list[Node]]:
    """Anna founded; Ben and Cleo were admitted and have her ledger as it was then."""
    with ExitStack() as stack:
        made = []
        for person in (ANNA, BEN, CLEO):
            identity = Identity(person.seed, person.static_secret, person.statement)
            store = CommunityStore(folder / person.name, identity)
            stack.callback(store.close)
            made.append(Node(person, store))
        anna, *others = made
        anna.store.found("Harbour", "Anna")
        anna.admits(BEN, CLEO)
        for node in others:
            node.store.enter(Ledger.of(anna.ledger.entries), anna.store.keys.current)
        yield made


def same(*nodes: Node) -> bool:
    """Whether all hold one membership and one ring of present keys."""
    states = [(node.store.membership, node.store.keys.current) for node in nodes]
    return all(state == states[0] for state in states) and bool(nodes[0].store.keys.current)
