"""What the use-cases need of the mesh (`mesh.node.MeshNode`, in tests a simulated net) and of the LAN's door."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mesh.core.contributions import Amount, Contribution
from mesh.core.entries import Entry, PublishModel, RetireModel
from mesh.node import Neighbour, Received
from mesh.record import RecordView


class Mesh(Protocol):
    """A node's links to its neighbours."""

    @property
    def node_id(self) -> str:
        """This node."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def host_name(self) -> str:
        """The name that leads phones here, as `ember.local`; empty while there is none."""

    def publish_host(self, name: str | None, *, port: int) -> None:
        """Answer to `<name>.local`, or to its next form where that is taken, for a page at that port; None: stop."""

    async def send(self, peer: str, kind: int, body: bytes, *, re: bytes | None = None, ttl_s: float = 30.0) -> bytes:
        """Queue a message and return its id; nothing can arrive in answer to it before this returns.

        Raises LinkDownError, QueueFullError, MessageTooLargeError.
        """

    def post(self, peer: str, kind: int, body: bytes, *, re: bytes | None = None) -> bytes:
        """Send a message of a bulk kind once, and return its id; it arrives once or never, in no order.

        Raises LinkDownError, QueueFullError while enough is on its way to that node, MessageTooLargeError.
        """

    def on_message(self, handler: Callable[[Received], None]) -> None:
        """Call `handler` in the loop with each message."""

    def on_change(self, handler: Callable[[], None]) -> None:
        """Call `handler` in the loop when a neighbour's state changed."""

    def announce(self, body: Callable[[], bytes]) -> None:
        """Tell every member what `body` gives, now and whenever `announcement_changed` says so; the newest counts."""

    def announcement_changed(self) -> None:
        """Say that what is announced has changed."""

    def announcements(self) -> Mapping[str, bytes]:
        """What the other members announced last, by node id."""

    def on_announcement(self, handler: Callable[[str, bytes], None]) -> None:
        """Call `handler` in the loop with a member's id and what it announces."""

    def neighbours(self) -> Sequence[Neighbour]:
        """Everyone this node has, wants or had a link to."""


class Publisher(Protocol):
    """Who signs for this node, and whom its community believes (`mesh.publishing.Publisher`)."""

    @property
    def public(self) -> bytes:
        """This node's Ed25519 public key."""

    def sign(self, message: bytes) -> bytes:
        """Sign a release plainly.  Raises BoardChangedError."""

    def believes(self, public: bytes) -> bool:
        """Whether a key is this node's own, or a member's."""


class Record(Protocol):
    """The mesh's record (`mesh.record.Record`)."""

    @property
    def own(self) -> bytes:
        """This node's public key."""

    def view(self) -> RecordView:
        """All of it.  Raises NoCommunityError."""

    def sign(self, body: PublishModel | RetireModel | Contribution) -> Entry:
        """Sign something about a model, or a contribution.  Raises MeshError."""

    def counter_sign(self, receiver: bytes, period: int, amount: Amount) -> bytes:
        """Sign, as the giver, what a receiver is about to say.  Raises MeshError."""


class GiveAndTake(Protocol):
    """What counts how much members and this node give each other (`device.contributions.exchange.Contributions`)."""

    def received(self, peer: str, amount: Amount) -> None:
        """A member gave this node something."""

    def gave(self, peer: str, amount: Amount) -> None:
        """This node gave a member something."""


class Uncounted:
    """Counts nothing."""

    def received(self, peer: str, amount: Amount) -> None:
        """A member gave this node something."""

    def gave(self, peer: str, amount: Amount) -> None:
        """This node gave a member something."""


@dataclass(frozen=True, kw_only=True)
class SharingCounts:
    """Models on their way here, neighbours that are given some now, and bytes of chunks since the daemon started."""

    arriving: int = 0
    served: int = 0
    bytes_sent: int = 0
    bytes_fetched: int = 0


class Lan(Protocol):
    """The door to the LAN; `device.http.lan.LanServer` is one."""

    @property
    def is_open(self) -> bool:
        """Whether it is to be reached at all."""

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens now."""

    @property
    def tls_addresses(self) -> Sequence[str]:
        """Where it listens over TLS now."""

    def open(self) -> None:
        """Listen from now on, or as soon as it runs."""

    def close(self) -> None:
        """Listen no more; answers that run may end."""
