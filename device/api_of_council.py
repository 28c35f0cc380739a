"""What voters decide, as the owner's API shows it: frozen values; see device/council.py for what fills them."""

from dataclasses import dataclass
from typing import Final

MAX_REASON: Final = 200  # characters of why something is proposed, as in an entry


@dataclass(frozen=True, kw_only=True)
class Seat:
    """A voter.  left: whether it left and the others have yet to take that up; paper: whether it has a paper key."""

    node_id: str
    name: str
    this_node: bool
    left: bool
    paper: bool


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What can be decided on.

    id: of the proposal; says: the proposal in words; agreed: who votes for it; waiting: the voters who do not yet;
    seen: how many voters have seen it; answer: what this node's owner said, "yes", "no" or "".
    """

    id: str
    says: str
    agreed: tuple[str, ...]
    waiting: tuple[str, ...]
    seen: int
    answer: str


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A community that a member began anew, and this node can go along with.  members: names, the founder's first."""

    id: str
    by: str
    members: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What the last decision fixed.

    entries: how many; root: of their tree, in hex; signed: the voters who sign it; disputed: those who sign another.
    """

    entries: int
    root: str
    signed: tuple[str, ...]
    disputed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Council:
    """Who decides, by which rules, and on what.

    rule: in words; quorum: how many must agree; margin, notice, invitations: what a charter may change;
    invitations_left: how many nodes this one may still let in; decided: how
    many decisions led here; votes: whether this node votes; forked: the proposals that were decided in one place, which
    takes more than a third of dishonest voters: then nothing more is decided.
    """

    community: str
    rule: str
    seats: tuple[Seat, ...]
    quorum: int
    margin: int
    notice: int
    invitations: int
    invitations_left: int
    decided: int
    fixed: Fixed
    votes: bool
    forked: tuple[str, ...]
    motions: tuple[Motion, ...]
    begun: tuple[Begun, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A community that this node has left for one that goes on from it.  kept: where the old one's record is."""

    kept: str


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The twelve words of a recovery key; they are kept nowhere."""

    words: str


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A proposal of this node's.  decided: whether its own vote was enough."""

    id: str
    decided: bool


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What became of a wish to forget a node.  ended: it is no member any more; else that is proposed."""

    ended: bool
