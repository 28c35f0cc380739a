"""How often something may happen."""


class TokenBucket:
    """Lets something happen `per_second`, and `burst` at once (ten seconds' worth where none is given)."""

    def __init__(self, per_second: float, burst: float | None = None) -> None:
        self._per_second = per_second
        self._most = max(1.0, 10 * per_second) if burst is None else burst
        self._left = self._most
        self._at: float | None = None

    def take(self, amount: float = 1.0, *, now: float) -> bool:
        """Use some, if there is as much left; `now` in monotonic seconds."""
        since = now if self._at is None else self._at
        self._left = min(self._most, self._left + (now - since) * self._per_second)
        self._at = now
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def give_back(self, amount: float) -> None:
        """Return what turned out to be worth it."""
        self._left = min(self._most, self._left + amount)
