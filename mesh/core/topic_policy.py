"""Who may do what on a node's broker.

One table; mosquitto's access list is written from it and the amqtt child asks it. A neighbour only publishes into
its own inbox topics, one per lane; only the owner of the broker reads.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

NODE_ID = re.compile(r"[a-z2-7]{52}", re.ASCII)
"""Lower-case base32, without padding, of the 32 bytes of a node's raw id."""

INBOX = "in/#"
"""What the owner of a broker subscribes to."""


class Role(StrEnum):
    """What a certificate is for; the ending of its common name."""

    OWNER = "owner"
    CTL = "ctl"
    BULK = "bulk"


class Action(StrEnum):
    """What a client does with a topic; the values are mosquitto's words."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class Right:
    """One thing a client may do; `topic_filter` is an MQTT filter."""

    action: Action
    topic_filter: str


RIGHTS: dict[Role, tuple[Right, ...]] = {
    Role.OWNER: (Right(Action.READ, INBOX),),
    Role.CTL: (Right(Action.WRITE, "in/{common_name}/#"),),
    Role.BULK: (Right(Action.WRITE, "in/{common_name}/#"),),
}

NEIGHBOUR_ROLES = (Role.CTL, Role.BULK)


@dataclass(frozen=True)
class CommonName:
    """The subject of a client's certificate: a node id and what the connection is for."""

    node_id: str
    role: Role

    @classmethod
    @functools.lru_cache(maxsize=1024)
    def parse(cls, text: str) -> "CommonName | None":
        """Read `<node id>.<role>`; None when it is anything else."""
        node_id, _, role = text.partition(".")
        if NODE_ID.fullmatch(node_id) and role in Role.__members__.values():
            return cls(node_id, Role(role))
        return None

    def __str__(self) -> str:
        """Write the name as it stands in the certificate, at most 58 characters."""
        return f"{self.node_id}.{self.role}"

    def rights(self) -> tuple[Right, ...]:
        """List what this client may do."""
        return tuple(Right(right.action, right.topic_filter.format(common_name=self)) for right in RIGHTS[self.role])

    def may(self, action: Action, topic: str) -> bool:
        """Tell whether this client may read or write a topic, or subscribe to a filter (that is reading it)."""
        return any(right.action is action and covers(right.topic_filter, topic) for right in self.rights())


def inbox_topic(sender: CommonName) -> str:
    """Name the topic a neighbour publishes its frames to."""
    return f"in/{sender}/f"


def covers(topic_filter: str, topic: str) -> bool:
    """Tell whether a granted filter takes in a topic, or all that another filter takes in.

    Granted filters are literal, but for a `#` at the end; so a wildcard in `topic` is a level like any other: it is
    covered exactly when the `#` swallows it.
    """
    prefix = topic_filter.removesuffix("/#")
    return topic == prefix or (topic_filter != prefix and topic.startswith(f"{prefix}/"))


def clients(owner_id: str, peer_ids: Iterable[str]) -> tuple[CommonName, ...]:
    """List everyone who may use a broker: its owner, and two lanes for each neighbour, in a fixed order."""
    neighbours = (CommonName(peer_id, role) for peer_id in sorted(peer_ids) for role in NEIGHBOUR_ROLES)
    return (CommonName(owner_id, Role.OWNER), *neighbours)
