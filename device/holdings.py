"""The library of a node as it is configured: what the board has decides where nobody said."""

import os
from typing import Final

from device.config import AUTOMATIC, HearthConfig
from device.errands import Errands
from device.library import Library
from models.catalogue import Catalogue
from models.fetch import cache_directory
from models.host import EngineHost
from models.store import ModelStore
from models.worker_process import board_memory_bytes

MAX_AUTOMATIC_THREADS: Final = 8  # small models gain nothing from more
MAX_AUTOMATIC_SLOTS: Final = 8  # beyond that a small board's cores have no room left between memory's turns
SLOT_PER_BYTES: Final = 900_000_000  # of memory: boards sold as 1 GB have a little less
MEGABYTE: Final = 1_000_000
GIGABYTE: Final = 1000 * MEGABYTE
PREFIX_PART: Final = 16  # of memory
MAX_AUTOMATIC_PREFIX_BYTES: Final = 512 * MEGABYTE


def open_library(config: HearthConfig, errands: Errands) -> Library:
    """Put store, catalogue and engine together.  Raises DataDirectoryError."""
    store, cache_dir = ModelStore(config.data_dir / "models"), cache_directory(os.environ)
    engine = EngineHost(
        store=store,
        cache_dir=cache_dir,
        threads=_threads(config),
        context_tokens=config.engine.context_tokens,
        kv_cache=config.engine.kv_cache,
        slots=_slots(config),
        prefix_bytes=_prefix_bytes(config),
        idle_s=60 * config.engine.idle_minutes,
    )
    return Library(
        store=store,
        catalogue=Catalogue.load(),
        engine=engine,
        cache_dir=cache_dir,
        errands=errands,
        quota_bytes=config.models.quota_gb * GIGABYTE,
    )


def _threads(config: HearthConfig) -> int:
    return config.engine.threads or min(len(os.sched_getaffinity(0)), MAX_AUTOMATIC_THREADS)


def _slots(config: HearthConfig) -> int:
    return config.engine.slots or min(max(1, board_memory_bytes() // SLOT_PER_BYTES), MAX_AUTOMATIC_SLOTS)


def _prefix_bytes(config: HearthConfig) -> int:
    if config.engine.prefix_mb == AUTOMATIC:
        return min(board_memory_bytes() // PREFIX_PART, MAX_AUTOMATIC_PREFIX_BYTES)
    return config.engine.prefix_mb * MEGABYTE
