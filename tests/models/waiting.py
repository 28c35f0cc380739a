"""Waiting for what tells nobody when it happens."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Return as soon as the condition holds; TimeoutError if it does not in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  processes and queues offer no event to wait for
            await asyncio.sleep(0.005)
