"""What a node is equipped with: its models and engine, sized for the board, and the sharing of models."""

import os
from collections.abc import Callable
from typing import Final

from device import sensors
from device.config import AUTOMATIC, HearthConfig
from device.contributions.accounts_file import FILE_NAME as CONTRIBUTIONS_NAME
from device.contributions.accounts_file import AccountsFile
from device.contributions.exchange import Contributions
from device.core.contribution_accounts import Pace
from device.core.offering import Limits, Offering, offered
from device.errands import Errands
from device.library import Library
from device.ports import GiveAndTake
from device.queries import Queries
from device.repairing import Repairer
from device.sharing.relatives import Relatives
from device.sharing.releases import Releases
from device.sharing.sharing import Sharing
from device.sharing.stock import Stock
from mesh.node import MeshNode
from mesh.publishing import verify
from models.arrivals import Arrivals
from models.blob_trees import BlobTrees
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
BYTES_PER_MBIT: Final = 125_000
PREFIX_PART: Final = 16  # of memory
MAX_AUTOMATIC_PREFIX_BYTES: Final = 512 * MEGABYTE


def library_of(config: HearthConfig, errands: Errands) -> Library:
    """Open the store, and an engine that is as large as configured, or as the board bears."""
    store, cache_dir = ModelStore(config.data_dir / "models"), cache_directory(os.environ)
    engine = EngineHost(
        store=store,
        cache_dir=cache_dir,
        threads=config.engine.threads or min(len(os.sched_getaffinity(0)), MAX_AUTOMATIC_THREADS),
        context_tokens=config.engine.context_tokens,
        kv_cache=config.engine.kv_cache,
        slots=config.engine.slots or min(max(1, board_memory_bytes() // SLOT_PER_BYTES), MAX_AUTOMATIC_SLOTS),
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
        shares=config.sharing.enabled,
    )


def contributions_of(config: HearthConfig, mesh: MeshNode, pace: Pace | None) -> Contributions:
    """Go on with what was counted; pace: another than the usual one."""
    return Contributions(
        mesh=mesh, record=mesh.record, file=AccountsFile(config.data_dir / CONTRIBUTIONS_NAME), pace=pace
    )


def sharing_of(
    config: HearthConfig,
    *,
    mesh: MeshNode,
    library: Library,
    queries: Queries,
    errands: Errands,
    counts: GiveAndTake,
) -> Sharing:
    """Join mesh and models for models on their way."""
    trees = BlobTrees(library.store)
    releases = Releases(library.cards, trees, mesh.publisher, verify=verify)
    sharing = Sharing(
        mesh=mesh,
        arrivals=Arrivals(library.store, releases.promise),
        releases=releases,
        relatives=Relatives(trees, lambda: library.stored),
        stock=lambda arriving: Stock(
            store=library.store,
            stored=lambda: library.stored,
            arriving=arriving,
            releases=releases,
            trees=trees,
            errands=errands,
        ),
        models_of=queries.models_of,
        on_arrived=library.arrived,
        room=library.quota.room_for,
        enabled=config.sharing.enabled,
        bytes_per_s=config.sharing.max_mbit * BYTES_PER_MBIT,
        offering=offering_of(config),
        counts=counts,
    )
    repairer = Repairer(library.store, trees, sharing)
    library.puller.neighbours = sharing
    library.scrubber.tree_of, library.scrubber.repair = repairer.tree_of, repairer.repair
    return sharing


def offering_of(config: HearthConfig) -> Callable[[], Offering]:
    """Give what decides how much the board does for others: its sensors, and the configured limits."""
    sharing = config.sharing
    limits = Limits(
        warm_celsius=sharing.warm_celsius,
        hot_celsius=sharing.hot_celsius,
        low_percent=sharing.low_percent,
        empty_percent=sharing.empty_percent,
    )
    return lambda: offered(sensors.read(), limits)


def _prefix_bytes(config: HearthConfig) -> int:
    if config.engine.prefix_mb == AUTOMATIC:
        return min(board_memory_bytes() // PREFIX_PART, MAX_AUTOMATIC_PREFIX_BYTES)
    return config.engine.prefix_mb * MEGABYTE
