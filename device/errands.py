"""Small background jobs of a component that may be asked for at any moment, even while it stops."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


class Errands:
    """Tasks in one group: open while the component runs, waited for when it ends, refused afterwards."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Accept errands until the end of the block, then wait for those that run."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                yield
            finally:
                self._group = None

    def spawn(self, errand: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None] | None:
        """Start an errand; None when it is too late for any."""
        if self._group is None:
            errand.close()
            return None
        return self._group.create_task(errand, name=name)
