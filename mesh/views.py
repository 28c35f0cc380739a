"""What a node of the mesh shows to the device: frozen values, no behaviour."""

from dataclasses import dataclass


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
    """The community as people see it; epoch: how often its keys had to change."""

    id: str
    name: str
    members: tuple[MemberView, ...]
    epoch: int


@dataclass(frozen=True)
class Joined:
    """Whose offer was taken, to be compared with what the other screen shows."""

    node_id: str
    name: str
    fingerprint: str
    community: str
