"""Long work that tells how far it is, as a stream for one listener."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, TypeVar

from device.api_of_models import PullProgress

MAX_NEWS: Final = 64

News = TypeVar("News")
Result = TypeVar("Result")
Tell = Callable[[News | PullProgress], None]


async def told(
    work: Callable[[Tell[News]], Coroutine[Any, Any, Result]], *, name: str
) -> AsyncGenerator[PullProgress | News | Result, None]:
    """Run `work`, yield what it tells, at the end its result; closing the generator cancels it and waits for that.

    Of figures that nobody reads the oldest are dropped; other news are kept, which work has few of.  Raises what `work`
    raises.
    """
    news: deque[News | PullProgress] = deque()
    arrived = asyncio.Event()

    def tell(step: News | PullProgress) -> None:
        if len(news) >= MAX_NEWS and isinstance(step, PullProgress):
            _drop_figure(news)
        news.append(step)
        arrived.set()

    working = asyncio.create_task(work(tell), name=name)
    working.add_done_callback(lambda _: arrived.set())
    try:
        while not (working.done() and not news):
            await arrived.wait()
            arrived.clear()
            while news:
                yield news.popleft()
        yield await working
    finally:
        working.cancel()
        await asyncio.wait((working,))


def _drop_figure(news: deque[Any]) -> None:
    """Drop the oldest figure, worth least."""
    for index, one in enumerate(news):
        if isinstance(one, PullProgress):
            del news[index]
            return
