"""How often something may happen, on the monotonic clock."""

import time

from mesh.core.token_bucket import TokenBucket


class Allowance:
    """A token bucket that looks at the clock itself."""

    def __init__(self, per_second: float, burst: float | None = None) -> None:
        self._bucket = TokenBucket(per_second, burst)

    def take(self, amount: float = 1.0) -> bool:
        """Use some, if there is as much left."""
        return self._bucket.take(amount, now=time.monotonic())

    def give_back(self, amount: float) -> None:
        """Return what turned out to be worth it."""
        self._bucket.give_back(amount)
