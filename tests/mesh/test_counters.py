"""What is dropped is counted, under a fixed set of names."""

import pytest

from mesh.counters import Counted, Counters
from mesh.errors import CryptoError, MalformedError, PeerMisbehavedError, ReplayedError


def test_every_name_is_there_from_the_start() -> None:
    """A reader need not guess what could be counted."""
    assert Counters().snapshot() == {str(name): 0 for name in Counted}


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ReplayedError("seen"), Counted.DROPPED_REPLAYED),
        (MalformedError("no frame"), Counted.DROPPED_MALFORMED),
        (CryptoError("no seal"), Counted.DROPPED_FORGED),
        (PeerMisbehavedError("something"), Counted.DROPPED_MALFORMED),
    ],
)
def test_what_is_dropped_counts_under_its_reason(error: PeerMisbehavedError, name: Counted) -> None:
    """A replay is told from a forgery and from noise."""
    counters = Counters()
    counters.dropped(error)
    assert counters.snapshot()[name] == 1
    assert sum(counters.snapshot().values()) == 1


def test_a_snapshot_stays_as_it_was() -> None:
    """Counting goes on without it."""
    counters = Counters()
    before = counters.snapshot()
    counters.count(Counted.MESSAGES_SENT, 3)
    assert (before["messages_sent"], counters.snapshot()["messages_sent"]) == (0, 3)
