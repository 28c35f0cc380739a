"""What a node's own feed holds of contributions, and when there is room for another.

A feed is bounded for its whole life (mesh/core/ledger.py), and contributions must leave room for everything else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from device.core.contribution_accounts import Pace
from mesh.core import crypto
from mesh.core.contributions import Amount, Contribution
from mesh.core.entries import MAX_DEPS, Entry
from mesh.core.ledger import MAX_FEED_BYTES, MAX_VOTER_FEED_BYTES

PART: Final = 4  # of the feed's room, for contributions
DOUBLINGS: Final = 10  # of the wait, until that is full
ENTRY_BYTES: Final = 331  # of the longest one that follows nothing but its author's last
DEP_BYTES: Final = 34  # for each other entry that it follows


@dataclass(frozen=True, kw_only=True)
class OwnFeed:
    """said: what it holds of contributions, each with the giver's node id; next_bytes: what one more would take."""

    said: tuple[tuple[str, int, Amount], ...]
    said_bytes: int
    all_bytes: int
    next_bytes: int
    most_bytes: int

    @classmethod
    def of(cls, entries: Iterable[Entry], own: bytes, *, votes: bool) -> "OwnFeed":
        """Read what the key `own` has signed.  votes: whether it has a voter's room."""
        tips, said, said_bytes, all_bytes = set[bytes](), list[tuple[str, int, Amount]](), 0, 0
        for entry in entries:  # parents come first
            tips.difference_update(entry.parents)
            tips.add(entry.id)
            if entry.author == own:
                all_bytes += len(entry.raw)
                if isinstance(entry.body, Contribution):
                    said_bytes += len(entry.raw)
                    giver = crypto.node_id(crypto.raw_id(entry.body.giver))
                    said.append((giver, entry.body.period, entry.body.amount))
        return cls(
            said=tuple(said),
            said_bytes=said_bytes,
            all_bytes=all_bytes,
            next_bytes=ENTRY_BYTES + DEP_BYTES * min(len(tips), MAX_DEPS),
            most_bytes=MAX_VOTER_FEED_BYTES if votes else MAX_FEED_BYTES,
        )

    def wait_s(self, pace: Pace) -> float | None:
        """How long after the last contribution another one may be signed; None while there is no room for any."""
        room = self.most_bytes // PART
        if self.said_bytes + self.next_bytes > room or self.all_bytes + self.next_bytes > self.most_bytes:
            return None
        return float(pace.wait_s * 2 ** (DOUBLINGS * self.said_bytes / room))
