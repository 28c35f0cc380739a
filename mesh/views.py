"""What a node of the mesh shows to the device: frozen values."""

from dataclasses import dataclass
from typing import Final

from mesh.core import crypto
from mesh.core.membership import Membership, state_hash

BLOCKED: Final = "blocked"  # a neighbour's state


@dataclass(frozen=True)
class Neighbour:
    """A member, or a blocked node, as people see it.

    since_s: for how long it has been in this state; hops: 1 for a direct link, 0 for whom nothing reaches.
    trouble: where and why the last try to reach it failed.
    """

    node_id: str
    name: str
    state: str
    since_s: float
    hops: int = 0
    trouble: str = ""

    @property
    def reachable(self) -> bool:
        """Whether messages get there, directly or over others."""
        return self.hops > 0


@dataclass(frozen=True)
class Received:
    """A message of a neighbour's for the device."""

    peer: str
    kind: int
    message_id: bytes
    re: bytes | None
    body: bytes


@dataclass(frozen=True)
class MemberView:
    """A member as people see it."""

    node_id: str
    name: str
    role: str


@dataclass(frozen=True)
class CommunityView:
    """The community as people see it.

    epoch: how often its keys had to change; state: a hash of who belongs; entries: how many its record has here.
    """

    id: str
    name: str
    members: tuple[MemberView, ...]
    epoch: int
    state: str
    entries: int

    @classmethod
    def of(cls, membership: Membership, entries: int) -> "CommunityView":
        """Show what the ledger says."""
        members = tuple(MemberView(one.node_id, one.name, one.role) for one in membership.members.values())
        state = state_hash(membership).hex()
        return cls(crypto.node_id(membership.community), membership.name, members, membership.number, state, entries)


@dataclass(frozen=True)
class Joined:
    """Whose offer was taken, to be compared with what the other screen shows."""

    node_id: str
    name: str
    fingerprint: str
    community: str
