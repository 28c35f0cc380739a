"""What a node counts of its mesh since it started: so many dropped, and why; so many sent.

The names are a fixed set, so that nothing from outside can make the table grow.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mesh.errors import CryptoError, PeerMisbehavedError, ReplayedError


class Counted(enum.StrEnum):
    """Everything that is counted; `dropped_...` are frames and messages nobody acted upon, by the reason."""

    DROPPED_MALFORMED = "dropped_malformed"  # not a frame, or not the message it claims to be
    DROPPED_FORGED = "dropped_forged"  # a seal or signature that does not hold
    DROPPED_REPLAYED = "dropped_replayed"  # seen before, or too old to tell
    DROPPED_RATE_LIMITED = "dropped_rate_limited"  # more than its sender may ask for
    DROPPED_UNKNOWN_SENDER = "dropped_unknown_sender"  # on a topic of no neighbour
    DROPPED_UNKNOWN_SESSION = "dropped_unknown_session"  # one end has restarted; a handshake follows
    DROPPED_CATCHING_UP = "dropped_catching_up"  # of the device, from a peer that shares no epoch key yet
    HUNG_UP_AT_DOOR = "hung_up_at_door"  # conversations with strangers that broke the protocol or its bounds
    MESSAGES_SENT = "messages_sent"
    MESSAGES_RECEIVED = "messages_received"
    MESSAGES_RETRIED = "messages_retried"  # not acknowledged in time, and sent again
    FRAMES_FORWARDED = "frames_forwarded"  # of others, on their way through this node
    DROPPED_UNROUTABLE = "dropped_unroutable"  # of others, with no way on or too many hops behind them


class Counters:
    """A number for each name; they only grow."""

    def __init__(self) -> None:
        self._numbers = dict.fromkeys(Counted, 0)

    def count(self, name: Counted, by: int = 1) -> None:
        """Add to a number."""
        self._numbers[name] += by

    def dropped(self, error: PeerMisbehavedError) -> None:
        """Count something dropped by the error it was dropped for."""
        self.count(next(name for kind, name in _REASONS.items() if isinstance(error, kind)))

    def snapshot(self) -> Mapping[str, int]:
        """Return every number as it is now, also those that are still 0."""
        return {str(name): number for name, number in self._numbers.items()}


_REASONS: Final[Mapping[type[PeerMisbehavedError], Counted]] = MappingProxyType(
    {
        ReplayedError: Counted.DROPPED_REPLAYED,
        CryptoError: Counted.DROPPED_FORGED,
        PeerMisbehavedError: Counted.DROPPED_MALFORMED,  # the rest
    }
)
