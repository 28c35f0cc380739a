"""What the record says now, worked out once for each state of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from device.api_of_record import Contributions, OnRecord
from device.core.contributions import Contributor, fold_contributions, shown
from device.core.governance import PublishedModel, fold_models
from device.core.record_text import Scribe
from device.ports import Record
from mesh.core.standing import Standing
from mesh.record import RecordView


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one state of the record says.  present: the keys that members use now."""

    standing: Standing
    models: Mapping[bytes, PublishedModel]
    contributors: tuple[Contributor, ...]
    present: frozenset[bytes]

    @property
    def scribe(self) -> Scribe:
        """What writes its entries down."""
        return Scribe(self.standing, self.models)

    def of(self, model: PublishedModel) -> OnRecord:
        """What it says of a model."""
        return self.scribe.on_record(model, self.present)

    @property
    def contributions(self) -> Contributions:
        """What it says of who gave what."""
        return shown(self.contributors, self.standing, self.present)


class Readings:
    """Reads the record in a thread, one at a time, and anew only when it has changed."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._lock = asyncio.Lock()
        self._last: tuple[tuple[bytes, int], Reading] | None = None  # which record, and how many entries it had

    async def now(self) -> Reading:
        """Read the record as it is.  Raises NoCommunityError."""
        return await self.of(self._record.view())

    async def of(self, view: RecordView) -> Reading:
        """Read the record as it was when it was looked at."""
        edition = (view.membership.community, len(view.entries))
        async with self._lock:
            if self._last is None or self._last[0] != edition:
                self._last = (edition, await asyncio.to_thread(read, view))
            return self._last[1]


def read(view: RecordView) -> Reading:
    """Work out what a record says; this takes its time with a long one."""
    standing = Standing(view.entries, view.membership)
    present = frozenset(member.public for member in view.membership.members.values())
    return Reading(
        standing=standing,
        models=fold_models(view.entries, standing),
        contributors=fold_contributions(view.entries, standing),
        present=present,
    )
