"""What this board has left for another model, on its disks and in its memory."""

import shutil
from pathlib import Path

from device.core.fitting import Room
from device.telemetry import memory
from models.free_memory import free_bytes


def room_left(store: Path, cache: Path, *, engine_pid: int | None) -> Room:
    """Look where models and their converted forms lie.

    engine_pid: the process that has a model loaded, which it lets go of for another.  Where nothing has been written
    yet, the nearest directory above counts.
    """
    at = (_existing(store), _existing(cache))
    store_bytes, cache_bytes = (shutil.disk_usage(path).free for path in at)
    free = free_bytes()
    return Room(
        store_bytes=store_bytes,
        cache_bytes=cache_bytes,
        shared=at[0].stat().st_dev == at[1].stat().st_dev,
        memory_bytes=0 if free is None else free + memory(engine_pid=engine_pid).engine_anonymous_bytes,
    )


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.absolute().parents) if one.is_dir())
