"""How fast this machine reads memory: what bounds a step of decoding, which reads every weight once."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

BYTES = 512 * 1024 * 1024  # far beyond every cache
SWEEPS = 8


class Bandwidth:
    """Memory to be read by so many threads at once, each its own part."""

    def __init__(self, threads: int) -> None:
        self._parts = np.split(np.ones(BYTES // 8, np.uint64), threads)
        self._threads = threads

    def measure(self) -> float:
        """Read all of it SWEEPS times; bytes a second of the fastest, as what is slower was held up."""
        with ThreadPoolExecutor(self._threads) as pool:
            return BYTES / min(self._sweep(pool) for _ in range(SWEEPS))

    def _sweep(self, pool: ThreadPoolExecutor) -> float:
        started = time.perf_counter()
        list(pool.map(np.bitwise_or.reduce, self._parts))
        return time.perf_counter() - started
