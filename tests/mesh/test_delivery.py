"""Delivery with its clock: what is carried over which path is up to the test."""

from mesh.core.envelope import Envelope
from mesh.core.frames import Lane
from mesh.counters import Counters
from mesh.delivery import Delivery

PEER, PING = "p" * 52, 100


async def test_what_is_sent_again_over_a_new_path_is_counted() -> None:
    """It is a second copy, though the new path is not doubted for it."""
    carried: list[tuple[Envelope, bool]] = []

    def carry(_peer: str, _lane: Lane, envelope: Envelope, retried: bool) -> None:  # noqa: FBT001  Delivery's callback
        carried.append((envelope, retried))

    counters = Counters()
    delivery = Delivery(carry=carry, hand_over=lambda _peer, _envelope: None, counters=counters)
    sent = delivery.send(PEER, PING, b"ping", re=None, lane=Lane.CTL, ttl_s=30)
    assert counters.snapshot()["messages_retried"] == 0
    delivery.path_changed(PEER)
    assert [(envelope.message_id, retried) for envelope, retried in carried] == [(sent, False)] * 2
    assert counters.snapshot()["messages_retried"] == 1
