"""What a node knows of its own reach, for whoever explains it to people: frozen values, no behaviour."""

from dataclasses import dataclass

from mesh.interfaces import Interface


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """How mDNS does.  announced: long enough ago to have heard it ourselves; failure: why it does not run at all.

    own: our announcement came back to us; others: some other machine was heard, a hearth or not.
    """

    failure: str = ""
    announced: bool = False
    own: bool = False
    others: bool = False


@dataclass(frozen=True, kw_only=True)
class Knock:
    """What came of knocking at a port.  error: why nobody answered; empty when somebody listens."""

    address: str
    port: int
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How a member that is no neighbour now can be reached.  trouble: what its link says.

    announced: its record is on the network now; doors, brokers: what came of knocking there.
    """

    node_id: str
    name: str
    trouble: str = ""
    announced: bool = False
    doors: tuple[Knock, ...] = ()
    brokers: tuple[Knock, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StaticPeer:
    """What came of knocking at a peer of `[discovery] peers`."""

    peer: str
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class MeshFacts:
    """Everything that bears on whom this node reaches.

    wanted: `[discovery] interfaces`; strangers: ids in reach that are no members; others: how many other members there
    are; reached: how many of them are reached, away: the rest; blocked: names and ids of blocked nodes; duplicate:
    another machine uses this node's id; board_changed: what is not as it was when the identity was made; equivocators:
    names and ids of members, this one included, of whose key the ledger holds two entries for one place; forked: two
    decisions were signed for one place; disputed: names and ids of voters who sign another record of the last decision.
    """

    node_id: str
    wanted: tuple[str, ...]
    interfaces: tuple[Interface, ...]
    hearing: Hearing
    community: str | None
    strangers: tuple[str, ...]
    reached: int
    away: tuple[Reach, ...]
    blocked: tuple[tuple[str, str], ...]
    static_peers: tuple[StaticPeer, ...]
    broker: str
    broker_port: int
    broker_error: str
    door_port: int
    door_error: str
    duplicate: bool = False
    board_changed: tuple[str, ...] = ()
    equivocators: tuple[tuple[str, str], ...] = ()
    forked: bool = False
    disputed: tuple[tuple[str, str], ...] = ()

    @property
    def others(self) -> int:
        """How many other members there are, blocked ones not counted."""
        return self.reached + len(self.away)
