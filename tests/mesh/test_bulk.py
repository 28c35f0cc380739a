"""Bulk messages: sent once on a lane of their own, never numbered, and no more of them at once than is good."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from mesh.core.envelope import BULK_KINDS, MAX_BODY_BYTES, Envelope, StreamPlace
from mesh.core.frames import Lane
from mesh.errors import LinkDownError, MessageTooLargeError, QueueFullError
from mesh.links import TUNING
from mesh.node import Received
from tests.mesh.nodes import PING, Kind, Running, paired, running
from tests.mesh.test_hostile_member import counts, link, still_talks, two
from tests.mesh.test_routing import around, reaches

WANT, GIVE = BULK_KINDS[0], BULK_KINDS[1]
CHUNK = 256 * 1024


async def posted(one: Running, two: Running, kind: int, body: bytes, *, re: bytes | None = None) -> bytes:
    """Post as soon as there is a way for it."""
    async with asyncio.timeout(20):
        while True:
            try:
                return one.node.post(two.node.node_id, kind, body, re=re)
            except (LinkDownError, QueueFullError):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
async def test_a_request_and_its_answer_belong_together(tmp_path: Path, kind: Kind) -> None:
    """The answer names the request, whatever else is under way; big ones arrive whole."""
    body = os.urandom(CHUNK)
    async with running(tmp_path, "Anna", kind) as anna, running(tmp_path, "Ben", kind) as ben:
        await paired(anna, ben)
        asked = anna.node.post(ben.node.node_id, WANT, b"which")
        await ben.until(lambda: bool(ben.received))
        assert ben.received == [Received(anna.node.node_id, WANT, asked, None, b"which")]
        given = ben.node.post(anna.node.node_id, GIVE, body, re=asked)
        await anna.until(lambda: bool(anna.received))
        assert anna.received == [Received(ben.node.node_id, GIVE, given, asked, body)]
        assert anna.node.counters()["messages_retried"] == ben.node.counters()["messages_retried"] == 0


async def test_over_a_relay_too(tmp_path: Path) -> None:
    """The first finds no session end to end, and begins one."""
    async with around(tmp_path, "BAC") as (_ben, anna, carl):
        await reaches(anna, carl, 2)
        asked = await posted(anna, carl, WANT, b"which")
        await carl.until(lambda: bool(carl.received))
        await posted(carl, anna, GIVE, bytes(CHUNK), re=asked)
        await anna.until(lambda: bool(anna.received))
        assert (anna.received[0].re, len(anna.received[0].body)) == (asked, CHUNK)


async def test_numbered_and_bulk_messages_do_not_pass_for_each_other(tmp_path: Path) -> None:
    """A numbered kind without its number could be repeated, a bulk kind on ctl be in everybody's way."""
    async with two(tmp_path) as (anna, ben):
        before = len(anna.received)
        place = StreamPlace(bytes(8), 0, 0)
        for lane, kind, where in (
            (Lane.CTL, PING, None),
            (Lane.BULK, PING, None),
            (Lane.CTL, WANT, None),
            (Lane.BULK, WANT, place),
        ):
            link(ben, anna).send_envelope(lane, Envelope(kind, os.urandom(16), None, 0, b"", where))
        await counts(anna, "dropped_malformed", 4)
        await still_talks(ben, anna)
        assert [one.kind for one in anna.received[before:]] == [PING]


async def test_what_is_posted_arrives_once(tmp_path: Path) -> None:
    """Its frame a second time is a replay like any other."""
    async with two(tmp_path) as (anna, ben):
        connection = link(ben, anna)._lanes[Lane.BULK]
        publish = connection._client.publish

        def twice(topic: str, payload: bytes) -> None:
            publish(topic, payload)
            publish(topic, payload)

        connection._client.publish = twice  # type: ignore[method-assign]
        ben.node.post(anna.node.node_id, WANT, b"which")
        await counts(anna, "dropped_replayed")
        assert [one.body for one in anna.received if one.kind == WANT] == [b"which"]


async def test_no_more_waits_than_the_lane_holds(tmp_path: Path) -> None:
    """Whoever posts faster than the neighbour's broker takes it is told so, and ctl goes on meanwhile."""
    async with two(tmp_path) as (anna, ben):
        broker = anna.node._broker.pid
        assert broker is not None
        os.kill(broker, signal.SIGSTOP)
        posted = 0
        try:
            while posted < 100:
                ben.node.post(anna.node.node_id, GIVE, bytes(CHUNK))
                posted += 1
        except QueueFullError:
            pass
        finally:
            os.kill(broker, signal.SIGCONT)
        most = TUNING[Lane.BULK].max_bytes // CHUNK
        assert most - 1 <= posted <= most + 20  # what the kernel's buffers take comes on top
        await still_talks(ben, anna)
        await anna.until(lambda: sum(one.kind == GIVE for one in anna.received) == posted)


async def test_what_cannot_be_posted_is_said_at_once(tmp_path: Path) -> None:
    """Kinds that are none, too much at once, nobody there."""
    async with two(tmp_path) as (anna, ben):
        with pytest.raises(ValueError, match="none of the bulk kinds"):
            ben.node.post(anna.node.node_id, PING, b"")
        with pytest.raises(ValueError, match="to be posted"):
            await ben.node.send(anna.node.node_id, WANT, b"")
        with pytest.raises(MessageTooLargeError):
            ben.node.post(anna.node.node_id, WANT, bytes(MAX_BODY_BYTES + 1))
        with pytest.raises(LinkDownError):
            ben.node.post(ben.node.node_id, WANT, b"")
