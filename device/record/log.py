"""The record's entries, told to whoever asks, and on as they come."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from device.api_of_record import LogEnd, LogLine
from device.core.record_text import Scribe, Wanted
from device.errors import BusyError
from device.ports import Record
from device.record.reading import Readings
from mesh.core.entries import Entry
from mesh.core.tree_order import in_order
from mesh.errors import NoCommunityError
from mesh.record import RecordView

MAX_FOLLOWERS: Final = 16
AT_ONCE: Final = 256  # lines that are written before the loop does something else


class RecordLog:
    """Tells the record."""

    def __init__(self, record: Record, readings: Readings, *, on_change: Callable[[Callable[[], None]], None]) -> None:
        """on_change: takes what is to be called whenever the record may have grown."""
        self._record = record
        self._readings = readings
        self._followers = set[asyncio.Event]()
        self._stopped = False
        on_change(self._stir)

    def stop(self) -> None:
        """Tell nobody any more, so that the node can end."""
        self._stopped = True
        self._stir()

    async def lines(
        self, wanted: Wanted, *, last: int | None = None, follow: bool = False
    ) -> AsyncGenerator[LogLine | LogEnd, None]:
        """Yield the entries that are asked for, the newest last; at the end a LogEnd.

        last: no more than so many of those that are here; follow: go on with those that come, until the node ends.
        Raises NoCommunityError, also when this node has left the community meanwhile; BusyError while too many follow.
        """
        with self._following(wanted=follow) as news:
            told, view = 0, self._record.view()
            community = view.membership.community
            while True:
                scribe = (await self._readings.of(view)).scribe
                found = await asyncio.to_thread(_found, scribe, view, told, wanted, last)
                told, last = len(view.entries), None
                for count, (number, entry) in enumerate(found, 1):
                    yield scribe.line(number, entry)
                    if count % AT_ONCE == 0:
                        await asyncio.sleep(0)
                del found
                if not follow or self._stopped:
                    yield LogEnd(entries=told)
                    return
                await news.wait()
                news.clear()
                view = self._record.view()
                if view.membership.community != community:
                    raise NoCommunityError("this node has left the community whose record this was")

    @contextmanager
    def _following(self, *, wanted: bool) -> Iterator[asyncio.Event]:
        """Give what is set whenever the record may have grown."""
        if wanted and len(self._followers) >= MAX_FOLLOWERS:
            raise BusyError(f"{MAX_FOLLOWERS} follow the record already")
        news = asyncio.Event()
        if wanted:
            self._followers.add(news)
        try:
            yield news
        finally:
            self._followers.discard(news)

    def _stir(self) -> None:
        for news in self._followers:
            news.set()


def _found(
    scribe: Scribe, view: RecordView, told: int, wanted: Wanted, last: int | None
) -> Sequence[tuple[int, Entry]]:
    """Number all entries, and pick those that are asked for among those that came after the first `told`."""
    new = {entry.id for entry in view.entries[told:]}
    if not new:
        return ()
    numbered = enumerate(in_order(view.entries, view.membership.decided))
    return deque(scribe.wanted((one for one in numbered if one[1].id in new), wanted), last)
