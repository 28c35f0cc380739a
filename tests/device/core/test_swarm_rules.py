"""Whatever happens in whatever order, the rules of asking hold."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from device.core.source_pace import MAX_WINDOW
from device.core.swarm import MAX_IN_FLIGHT_BYTES, Chunk, Decision, Part, Swarm, TreePage, WantedBlob
from models.core.hash_tree import CHUNK_BYTES, PAGE_HASHES

BLOBS = (
    WantedBlob("aa" * 32, (PAGE_HASHES + 30) * CHUNK_BYTES - 5),
    WantedBlob("bb" * 32, 3 * CHUNK_BYTES),
    WantedBlob("cc" * 32, 0),
)
SOURCES = [f"source {number}" for number in range(9)]


class Chaos:
    """Events at random, and what they must not lead to."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)  # noqa: S311  a scenario, not a secret
        self.swarm = Swarm(BLOBS, below=self.draw.randrange)
        self.now = 0.0
        self.asked: list[tuple[str, Part]] = []
        self.banned: set[str] = set()

    def step(self) -> None:
        """Let something happen, and the swarm decide."""
        self.now += self.draw.choice([0.0, 0.001, 0.1, 3.0, 40.0])
        source = self.draw.choice(SOURCES)
        match self.draw.randrange(9):
            case 0:
                self.swarm.source_has(source, self._holding(), now=self.now)
            case 1:
                self.swarm.gone(source, now=self.now)
            case 2:
                self.swarm.adopted([self._chunk()])
            case 3:
                self.swarm.in_vain(source, 100, now=self.now)
            case _ if self.asked:
                self._answer(*self.asked[self.draw.randrange(len(self.asked))])
            case _:
                self._answer(source, self._chunk())
        self._check(self.swarm.decide(now=self.now))

    def _answer(self, source: str, part: Part) -> None:
        wanted = self.swarm.is_wanted(source, part)
        match self.draw.randrange(20):
            case 0:
                self.swarm.corrupt(source, part, now=self.now)
                self.banned |= self._banned_now()
            case 1:
                self.swarm.refused(source, part, now=self.now)
            case 2:
                self.swarm.failed(source, part, now=self.now)
            case _ if wanted:
                assert self.swarm.arrived(source, part, now=self.now)
                assert not self.swarm.is_wanted(source, part)

    def _check(self, decision: Decision) -> None:
        swarm = self.swarm
        for request in decision.requests:
            assert swarm.is_wanted(request.source, request.part)
            assert request.source not in self.banned
            if isinstance(request.part, TreePage):
                assert request.part.level == 1 or "bb" in request.part.blob or self._top_is_here()
            self.asked.append((request.source, request.part))
        assert len({(one.source, one.part) for one in decision.requests}) == len(decision.requests)
        assert decision.wake_at is None or decision.wake_at > self.now
        progress = swarm.progress(now=self.now)
        assert all(one.in_flight <= MAX_WINDOW for one in progress.sources)
        assert self._banned_now() == self.banned
        assert swarm.sources.isdisjoint({one.source for one in progress.sources if one.state in ("gone", "banned")})
        sizes = [swarm._parts.size(number) for one in swarm._sources.values() for number in one.asks]
        assert swarm._in_flight_bytes == sum(sizes) <= MAX_IN_FLIGHT_BYTES
        on_time = {n for one in swarm._sources.values() for n, ask in one.asks.items() if not ask.late}
        assert swarm._covered == sum(1 << number for number in on_time)

    def _banned_now(self) -> set[str]:
        return {one.source for one in self.swarm.progress(now=self.now).sources if one.state == "banned"}

    def _top_is_here(self) -> bool:
        number = self.swarm._parts.number(TreePage("aa" * 32, 1, 0))
        assert number is not None
        return not self.swarm._parts.missing >> number & 1

    def _holding(self) -> dict[str, bytes | None]:
        held = self.draw.sample(["aa" * 32, "bb" * 32, "cc" * 32, "dd" * 32], self.draw.randrange(5))
        return {blob: self.draw.choice([None, b"", self.draw.randbytes(140)]) for blob in held}

    def _chunk(self) -> Chunk:
        blob = self.draw.choice(["aa" * 32, "bb" * 32, "dd" * 32])
        return Chunk(blob, self.draw.randrange(-1, PAGE_HASHES + 31))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_the_rules_hold(seed: int) -> None:
    """Through hundreds of events: nothing is asked of who does not hold it, twice, too much, or before its page."""
    chaos = Chaos(seed)
    for _ in range(300):
        chaos.step()


def test_a_long_chaos_keeps_the_rules() -> None:
    """Through thousands, until everything is there."""
    chaos = Chaos(5)
    for _ in range(6000):
        chaos.step()
    assert chaos.swarm.progress(now=chaos.now).bytes_verified > 0
