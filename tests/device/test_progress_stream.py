"""Long work tells how far it is, and ends when nobody listens."""

import asyncio
from contextlib import aclosing

import pytest

from device.api_of_models import PullProgress
from device.progress_stream import MAX_NEWS, Tell, told


def _figure(done: int) -> PullProgress:
    return PullProgress(stage="verify", done=done, total=1000)


async def test_news_in_order_then_the_result() -> None:
    """Also when all of it was told before anybody listened."""

    async def work(tell: Tell[str]) -> int:
        tell(_figure(1))
        tell("removed")
        await asyncio.sleep(0)
        tell(_figure(2))
        return 7

    assert [item async for item in told(work, name="test")] == [_figure(1), "removed", _figure(2), 7]


async def test_of_figures_that_nobody_reads_the_oldest_are_dropped() -> None:
    """Other news never, however many figures there are."""

    async def work(tell: Tell[str]) -> None:
        for done in range(500):
            tell(_figure(done))
            if done % 100 == 0:
                tell(f"news {done}")

    items = [item async for item in told(work, name="test")]
    assert items[-2] == _figure(499)
    assert [item for item in items if isinstance(item, str)] == [f"news {done}" for done in range(0, 500, 100)]
    assert len(items) <= MAX_NEWS + 6


async def test_news_alone_are_all_kept() -> None:
    """There is no figure among them that could go."""

    async def work(tell: Tell[str]) -> None:
        for number in range(MAX_NEWS + 3):
            tell(str(number))
        tell(_figure(1))

    assert len([item async for item in told(work, name="test")]) == MAX_NEWS + 5


async def test_what_goes_wrong_is_raised_after_the_news() -> None:
    """Whoever listens has heard all that was told."""
    heard: list[object] = []

    async def work(tell: Tell[str]) -> None:
        tell("before")
        raise ValueError("gone wrong")

    async def hear() -> None:
        async for item in told(work, name="test"):
            heard.append(item)  # noqa: PERF401  what came before the error counts

    with pytest.raises(ValueError, match="gone wrong"):
        await hear()
    assert heard == ["before"]


async def test_closing_ends_the_work() -> None:
    """And waits for it to have ended."""
    ended = False

    async def work(tell: Tell[str]) -> None:
        nonlocal ended
        try:
            tell("begun")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    async with aclosing(told(work, name="test")) as items:
        assert await anext(items) == "begun"
    assert ended
