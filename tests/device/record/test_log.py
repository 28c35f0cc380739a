"""The log of a real mesh node: told once, and followed to an end."""

import asyncio
from pathlib import Path

import pytest

from device.api_of_record import LogEnd, LogLine
from device.core.record_text import Wanted
from device.errors import BusyError
from device.record.log import MAX_FOLLOWERS, RecordLog
from device.record.reading import Readings
from mesh.core.entries import PublishModel, RetireModel
from mesh.errors import NoCommunityError
from tests.mesh.nodes import Running, running

EVERYTHING = Wanted()
DIGEST = b"\1" * 32


def log_of(one: Running) -> RecordLog:
    """A node's log."""
    record = one.node.record
    return RecordLog(record, Readings(record), on_change=one.node.on_change)


async def told(log: RecordLog, wanted: Wanted = EVERYTHING, *, last: int | None = None) -> list[str]:
    """The kinds of the entries it tells."""
    items = [item async for item in log.lines(wanted, last=last)]
    assert isinstance(items[-1], LogEnd)
    return [item.kind for item in items if isinstance(item, LogLine)]


async def test_the_last_of_those_that_are_asked_for(tmp_path: Path) -> None:
    """Counted after the rest was left out; more than there are is no mistake; a long record is told whole."""
    async with running(tmp_path, "Anna") as anna:
        await anna.node.open_offer()
        log = log_of(anna)
        for number in range(300):
            anna.node.record.sign(PublishModel(number.to_bytes(32, "big"), DIGEST, "tiny", "MIT"))
        anna.node.record.sign(RetireModel(bytes(32), "it lies"))
        assert await told(log, last=2) == ["model", "retire"]
        assert await told(log, Wanted(kind="model"), last=2) == ["model"] * 2
        assert await told(log, last=0) == []
        assert await told(log, Wanted(kind="admit"), last=5) == []
        assert await told(log) == ["genesis", *["model"] * 300, "retire"]


async def test_who_follows_is_told_until_the_node_ends(tmp_path: Path) -> None:
    """Only what was asked for; what changes without a new entry is no line; the end comes at once."""
    async with running(tmp_path, "Anna") as anna:
        await anna.node.open_offer()
        log = log_of(anna)
        lines = log.lines(Wanted(kind="retire"), last=0, follow=True)
        first = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(0)  # it has begun
        anna.node.record.sign(PublishModel(DIGEST, DIGEST, "tiny", "MIT"))
        anna.node.record.sign(RetireModel(DIGEST, "it lies"))
        async with asyncio.timeout(20):
            line = await first
            assert isinstance(line, LogLine)
            assert (line.number, line.kind) == (2, "retire")
            ending = asyncio.ensure_future(anext(lines))
            await asyncio.sleep(0)
            anna.node.belonging.close_offer()
            log.stop()
            assert await ending == LogEnd(entries=3)
        assert [one async for one in lines] == []


async def test_no_more_follow_than_there_is_room_for(tmp_path: Path) -> None:
    """The next one is refused until one has gone; who only reads is told all the same."""
    async with running(tmp_path, "Anna") as anna:
        await anna.node.open_offer()
        log = log_of(anna)
        following = [log.lines(EVERYTHING, follow=True) for _ in range(MAX_FOLLOWERS)]
        for lines in following:
            await anext(lines)
        with pytest.raises(BusyError):
            await anext(log.lines(EVERYTHING, follow=True))
        assert await told(log) == ["genesis"]
        await following.pop().aclose()
        following.append(log.lines(EVERYTHING, follow=True))
        await anext(following[-1])
        for lines in following:
            await lines.aclose()


async def test_who_leaves_the_community_has_followed_to_the_end(tmp_path: Path) -> None:
    """Its record is no more this node's; nor is there one without a community."""
    async with running(tmp_path, "Anna") as anna:
        log = log_of(anna)
        with pytest.raises(NoCommunityError):
            await told(log)
        for again in (False, True):
            await anna.node.open_offer()
            lines = log.lines(EVERYTHING, follow=True)
            await anext(lines)
            ending = asyncio.ensure_future(anext(lines))
            await asyncio.sleep(0)
            await anna.node.belonging.leave()
            if again:
                await anna.node.open_offer()
            async with asyncio.timeout(20):
                with pytest.raises(NoCommunityError):
                    await ending
