"""What the owner wants kept of the models here, and when each last answered: in one small file.

Last uses are counted on the node's own age, so that a wrong clock orders nothing.  A pin is on the disk before anybody
hears that it is set.  A use is written within the hour, and at the end: whoever asks all day wears the card no more,
and a power cut costs at most the order of the models used in that hour.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from device.core.quota import NEVER
from device.data_directory import write_atomically
from device.errors import DataDirectoryError, DeviceError
from device.parsing import MalformedReplyError, parse

FILE_NAME: Final = "retention.json"
VERSION: Final = 1
WRITE_AFTER_S: Final = 3600.0
MAX_FILE_BYTES: Final = 1024 * 1024
MAX_PINS: Final = 1024
MAX_USES: Final = 1024  # remembered, the latest of them: of models that are gone too, should they come back

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Use:
    digest: str
    at_s: float


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The file.  age_s: how long the node had been running, all its lives together."""

    version: int
    age_s: float = 0.0
    pinned: tuple[str, ...] = ()
    uses: tuple[_Use, ...] = ()


class Retention:
    """Pins by name, last uses by digest.  Errors of the disk: DataDirectoryError."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.monotonic, write_after_s: float = WRITE_AFTER_S
    ) -> None:
        """Read the file; where there is none nothing is pinned.  Raises DataDirectoryError for one that is none."""
        self._path = path
        self._clock = clock
        self._write_after_s = write_after_s
        kept = _read(path)
        self._pinned = set(kept.pinned)
        self._used_at = {one.digest: one.at_s for one in kept.uses}
        self._age_at_start_s = max(kept.age_s, *self._used_at.values(), 0.0) if self._used_at else kept.age_s
        self._started_at = clock()
        self._changed = False
        self._timer: asyncio.TimerHandle | None = None
        self._writing = asyncio.Lock()
        self._late: asyncio.Task[None] | None = None

    def age(self) -> float:
        """For how many seconds this node has been running, all its lives together, as far as that was written."""
        return self._age_at_start_s + self._clock() - self._started_at

    def is_pinned(self, name: str) -> bool:
        """Whether the owner wants a model kept whatever the quota says."""
        return name in self._pinned

    def used_at(self, digest: str) -> float:
        """When a model last answered, by `age`; NEVER before it has."""
        return self._used_at.get(digest, NEVER)

    def used_ago_s(self, digest: str) -> int | None:
        """How long that is ago, counting the time this node ran; None before it has answered."""
        return max(0, int(self.age() - self._used_at[digest])) if digest in self._used_at else None

    async def pin(self, name: str, *, pinned: bool) -> None:
        """Pin or unpin, at once and for good.  Raises DataDirectoryError; nothing has changed then."""
        if pinned and len(self._pinned) >= MAX_PINS:
            raise DataDirectoryError(f"{MAX_PINS} models are pinned already")
        before = set(self._pinned)
        (self._pinned.add if pinned else self._pinned.discard)(name)
        if self._pinned == before:
            return
        try:
            await self._write()
        except BaseException:
            self._pinned = before
            raise

    def used(self, digest: str) -> None:
        """Say that a model has begun to answer; written within the hour."""
        self._used_at[digest] = self.age()
        if len(self._used_at) > MAX_USES:
            del self._used_at[min(self._used_at, key=self._used_at.__getitem__)]
        self._changed = True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._write_after_s, self._write_late)

    async def forget(self, name: str) -> None:
        """Take the pin off a model that has been removed."""
        if name in self._pinned:
            self._pinned.discard(name)
            await self._write_or_log()

    async def aclose(self) -> None:
        """Write what is not written yet."""
        if self._timer is not None:
            self._timer.cancel()
        if self._late is not None:
            await self._late
        if self._changed:
            await self._write_or_log()

    def _write_late(self) -> None:
        self._timer = None
        self._late = asyncio.create_task(self._write_or_log(), name="writing down which models are used")

    async def _write_or_log(self) -> None:
        try:
            await self._write()
        except DeviceError as error:
            self._changed = True  # there may be room later
            log.error("%s; %s", error, error.hint)  # noqa: TRY400  a message for people; the cause is in it

    async def _write(self) -> None:
        async with self._writing:
            self._changed = False
            kept = _Kept(
                version=VERSION,
                age_s=self.age(),
                pinned=tuple(sorted(self._pinned)),
                uses=tuple(_Use(digest=digest, at_s=at_s) for digest, at_s in self._used_at.items()),
            )
            await asyncio.to_thread(write_atomically, self._path, json.dumps(asdict(kept), indent=1).encode())


def _read(path: Path) -> _Kept:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return _Kept(version=VERSION)
    except OSError as error:
        raise DataDirectoryError(f"{path} cannot be read: {error.strerror}") from error
    try:
        kept = parse(_Kept, json.loads(text), path.name)
    except (MalformedReplyError, ValueError, RecursionError) as error:
        raise _unreadable(path, f"it is no record of pins: {error}") from error
    if kept.version != VERSION:
        raise _unreadable(path, f"it was written by another version ({kept.version})")
    return kept


def _unreadable(path: Path, reason: str) -> DataDirectoryError:
    error = DataDirectoryError(f"{path} cannot be used: {reason}")
    error.hint = f"move it away ({path} to {path}.old): nothing is pinned then, until you pin it again"
    return error
