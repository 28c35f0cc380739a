"""Which part of a model is asked of which neighbour next, while it comes from several at once.

The caller tells what happened, and then does what `decide` says.  It checks every part before it says `arrived`;
nothing that a source says is believed beyond that.

    part      a chunk of a blob, or a page of its hash tree (models/core/hash_tree.py); pages come first, from the top
    source    a neighbour that holds some of it, by its node id
    holding   per blob: None for all of it, or a bitmap of chunks, bit i % 8 of byte i // 8 for chunk i; whoever holds
              a chunk can give the pages that it is checked by

Times are monotonic seconds.  `below(n)` draws a number from 0 to n - 1: the order is drawn, so that those who fetch the
same model at the same time get different parts of it and can give them to each other.  While there is but one source,
and nobody is known to fetch it too, the order is that of the file, which can be hashed as a whole while it comes.
"""

import math
import statistics
from collections.abc import Callable, Collection, Sequence
from typing import Final

from device.core.rarity import Rarity
from device.core.source_pace import Meter
from device.core.swarm_decision import Decision, Progress, Request, SourceProgress
from device.core.swarm_source import MAX_REFUSALS, Ask, Saw, Source, State
from device.core.wanted_parts import Chunk, Holding, Part, TreePage, WantedBlob, WantedParts, draw
from mesh.core.token_bucket import TokenBucket

__all__ = [
    "Chunk",
    "Decision",
    "Holding",
    "Part",
    "Progress",
    "Request",
    "SourceProgress",
    "Swarm",
    "TreePage",
    "WantedBlob",
]

MAX_IN_FLIGHT_BYTES: Final = 8 * 1024 * 1024
MAX_ASKERS: Final = 2  # of one part, at the end of a transfer
SLOW: Final = 0.1  # of the others' median rate: whoever is slower is dropped
JUDGE_S: Final = 1.0
LIMITED_S: Final = 0.1
END_GAME_S: Final = 0.1
OVERDUE: Final = 1.5  # times an answer's usual latency: then another may be faster, though it is not late yet


class Swarm:
    """One transfer's choices."""

    def __init__(
        self,
        blobs: Sequence[WantedBlob],
        *,
        below: Callable[[int], int],
        limit: TokenBucket | None = None,
        chunks_later: bool = False,
    ) -> None:
        """limit: bytes that may be asked for, shared by every transfer of the node; its burst is 256 KiB or more.

        chunks_later: ask only for pages until `ask_for_chunks`: with the trees known, chunks may be found on this node.
        """
        self.limit = limit
        self._chunks_later = chunks_later
        self._below = below
        self._parts = WantedParts(blobs)
        self._rarity = Rarity()
        self._sources: dict[str, Source] = {}
        self._askers: dict[int, set[str]] = {}  # of each part: those whose answer is not late
        self._covered = 0  # the same parts as a bitmap
        self._in_flight_bytes = 0
        self._wasted_bytes = 0
        self._meter = Meter()
        self._judged_at = -math.inf
        self._dropped: list[str] = []

    @property
    def is_done(self) -> bool:
        """Whether every chunk is here."""
        return self._parts.is_done

    @property
    def knows_trees(self) -> bool:
        """Whether every page is here, and every chunk could be checked."""
        return not self._parts.missing & self._parts.page_bits

    def ask_for_chunks(self) -> None:
        """Ask for chunks from now on."""
        self._chunks_later = False

    @property
    def sources(self) -> frozenset[str]:
        """Who can be reached, holds something and is not banned."""
        return frozenset(source.name for source in self._reachable() if source.has)

    def is_wanted(self, source: str, part: Part) -> bool:
        """Whether a part was asked of this source and is not here yet: only then is it worth checking."""
        number, one = self._parts.number(part), self._sources.get(source)
        if number is None or one is None or one.state is State.BANNED:
            return False
        return bool((one.asked | one.expected) & self._parts.missing & 1 << number)

    def source_has(self, source: str, holding: Holding, *, now: float) -> None:
        """Note what a source says it holds, in place of what it said before; one that is banned stays so.

        Bits beyond a blob's chunks and blobs that are not wanted are ignored.
        """
        one = self._sources.setdefault(source, Source(source))
        if one.state is State.BANNED:
            return
        self._hold(one, self._parts.held(holding))
        one.saw(Saw.CAME)
        if one.rest_until <= now:
            one.saw(Saw.RESTED)
        for number in [number for number in one.asks if not one.has >> number & 1]:
            self._release(one, number)  # it has changed its mind

    def wants_too(self, peer: str, *, now: float) -> None:
        """Note that a node fetches the same and may soon give some of it; what it said that it holds stays said."""
        if peer not in self.sources:
            self.source_has(peer, {}, now=now)

    def gone(self, source: str, *, now: float) -> None:
        """Note that a source cannot be reached; it is asked again once `source_has` says so."""
        one = self._sources.get(source)
        if one is not None and one.saw(Saw.LEFT):
            one.heard(now)
            self._let_go(one)
            self._hold(one, 0)

    def arrived(self, source: str, part: Part, *, now: float) -> bool:
        """Note that a part came, was right and is stored; return whether it was still needed."""
        number, one = self._parts.number(part), self._sources.get(source)
        if number is None or one is None:
            return False
        size = self._parts.size(number)
        ask = self._release(one, number)
        if isinstance(part, Chunk) and ask is not None:
            one.pace.answered(size, asked_at=ask.asked_at, now=now)
        one.saw(Saw.ANSWERED)
        if not self._parts.take(number):
            self._wasted_bytes += size
            one.heard(now)
            return False
        one.gave(size, now)
        self._meter.add(size, now=now)
        self._needed_no_more(number)
        return True

    def adopted(self, chunks: Collection[Chunk]) -> None:
        """Note that chunks came from elsewhere on this node."""
        for chunk in chunks:
            number = self._parts.number(chunk)
            if number is not None and self._parts.take(number):
                self._needed_no_more(number)

    def in_vain(self, source: str, size: int, *, now: float) -> None:
        """Note that bytes came that were not wanted, such as what another source gave sooner."""
        self._wasted_bytes += size
        one = self._sources.get(source)
        if one is not None:
            one.heard(now)

    def corrupt(self, source: str, part: Part, *, now: float) -> None:
        """Note that a part failed its hash: whoever sent it is banned for this transfer."""
        number, one = self._parts.number(part), self._sources.get(source)
        if number is None or one is None:
            return
        self._wasted_bytes += self._parts.size(number)
        if one.saw(Saw.FORGED):
            one.heard(now)
            self._let_go(one)
            self._hold(one, 0)
            self._dropped.append(source)

    def refused(self, source: str, part: Part, *, now: float, busy: bool = False) -> None:
        """Note that a source will not give a part: it does not have it, or is `busy` and may be asked later."""
        number, one = self._parts.number(part), self._sources.get(source)
        if number is None or one is None or self._release(one, number) is None:
            return
        if busy:
            if one.quiet_until <= now:  # else it said so of several parts at once
                one.is_busy(now)
            return
        one.heard(now)
        self._hold(one, one.has & ~(1 << number))
        one.refusals += 1
        if one.refusals >= MAX_REFUSALS:
            self._drop(one, now)

    def failed(self, source: str, part: Part, *, now: float) -> None:
        """Note that a request could not be sent."""
        self.refused(source, part, now=now, busy=True)

    def decide(self, *, now: float) -> Decision:
        """Choose what is asked now, and what is let go."""
        self._look_after_sources(now)
        requests: list[Request] = []
        wait_s = None
        if not self.is_done:
            wait_s = self._choose(requests, now)
        times = [at for source in self._sources.values() if (at := source.wake_at(now)) is not None]
        if wait_s is not None:
            times.append(now + wait_s)
        dropped, self._dropped = tuple(self._dropped), []
        wake_at = None if self.is_done else min(times, default=None)
        return Decision(requests=tuple(requests), dropped=dropped, wake_at=wake_at)

    def progress(self, *, now: float) -> Progress:
        """Say how far it is."""
        rate = self._meter.bytes_per_s(now=now)
        left = self._parts.bytes_total - self._parts.bytes_here
        return Progress(
            bytes_total=self._parts.bytes_total,
            bytes_verified=self._parts.bytes_here,
            bytes_wasted=self._wasted_bytes,
            bytes_per_s=rate,
            eta_s=left / rate if rate >= 1 else None,
            sources=tuple(
                SourceProgress(
                    source=one.name,
                    bytes_verified=one.bytes_verified,
                    bytes_per_s=one.meter.bytes_per_s(now=now),
                    in_flight=len(one.asks),
                    state=one.state.value,
                )
                for one in self._sources.values()
            ),
        )

    @property
    def _askable(self) -> int:
        return self._parts.askable & self._parts.page_bits if self._chunks_later else self._parts.askable

    def _reachable(self) -> list[Source]:
        return [one for one in self._sources.values() if one.state is State.ACTIVE or one.rests]

    def _active(self) -> list[Source]:
        return [one for one in self._sources.values() if one.state is State.ACTIVE]

    def _hold(self, source: Source, has: int) -> None:
        self._rarity.remove(source.has & ~has)
        self._rarity.add(has & ~source.has)
        source.has = has

    def _ask(self, source: Source, number: int, now: float) -> Request:
        source.ask(number, now)
        self._askers.setdefault(number, set()).add(source.name)
        self._covered |= 1 << number
        self._in_flight_bytes += self._parts.size(number)
        return Request(source.name, self._parts.part(number))

    def _uncover(self, source: Source, number: int) -> None:
        askers = self._askers.get(number, set())
        askers.discard(source.name)
        if not askers:
            self._askers.pop(number, None)
            self._covered &= ~(1 << number)

    def _release(self, source: Source, number: int) -> Ask | None:
        ask = source.release(number)
        if ask is not None:
            self._in_flight_bytes -= self._parts.size(number)
            self._uncover(source, number)
        return ask

    def _let_go(self, source: Source) -> None:
        for number in list(source.asks):
            self._release(source, number)

    def _needed_no_more(self, number: int) -> None:
        for one in self._sources.values():
            one.expected &= ~(1 << number)
            self._release(one, number)

    def _drop(self, source: Source, now: float, why: Saw = Saw.FAILED) -> None:
        asked = source.asked
        self._let_go(source)
        source.expected |= asked  # it may yet answer
        source.rest(now, why)
        self._dropped.append(source.name)

    def _look_after_sources(self, now: float) -> None:
        for one in self._reachable():
            if one.rests and one.rest_until <= now:
                one.saw(Saw.RESTED)
            overdue = one.overdue(now)
            for number in overdue:
                one.asks[number].late = True
                self._uncover(one, number)
            if overdue:
                one.pace.missed()
            if one.asks and one.stalls_at <= now:
                self._drop(one, now)
        if now >= self._judged_at + JUDGE_S:
            self._judged_at = now
            self._drop_slow(now)

    def _drop_slow(self, now: float) -> None:
        """Drop whoever is much slower than the others, if they hold all that it holds."""
        rates = {one.name: rate for one in self._active() if (rate := one.pace.bytes_per_s) is not None}
        for one in self._active():
            others = [rate for name, rate in rates.items() if name != one.name]
            if one.name in rates and others and rates[one.name] < SLOW * statistics.median(others):
                alone = one.has & self._parts.missing
                for other in self._active():
                    alone &= ~other.has if other is not one else -1
                if not alone:
                    self._drop(one, now, Saw.LAGGED)

    def _choose(self, requests: list[Request], now: float) -> float | None:
        """Choose requests; return the seconds after which to choose again, if that is before any event."""
        ready = [one for one in self._active() if one.can_be_asked(now)]
        idle = False
        while ready:
            for one in list(ready):
                can = one.can_be_asked(now)
                number = self._next_of(one, now) if can else None
                if number is None:
                    ready.remove(one)
                    idle = idle or can
                    continue
                size = self._parts.size(number)
                if self._in_flight_bytes + size > MAX_IN_FLIGHT_BYTES:
                    return None
                if self.limit is not None and not self.limit.take(size, now=now):
                    return LIMITED_S
                requests.append(self._ask(one, number, now))
        is_race = idle and self._covered and len(self._active()) > 1 and self._is_end_game()
        return END_GAME_S if is_race else None

    def _next_of(self, source: Source, now: float) -> int | None:
        free = self._askable & source.has & ~self._covered & ~source.asked
        if not free:
            return self._second_source_of(source, now) if self._is_end_game() else None
        again = free & source.expected
        pages = free & self._parts.page_bits
        among = again or pages or self._rarity.rarest(free)
        is_alone = len(self._reachable()) == 1
        return draw(among, 0 if is_alone else self._below(among.bit_length()))

    def _is_end_game(self) -> bool:
        """Whether all that can be asked for is on its way, be it late."""
        free = self._askable & ~self._covered
        active = self._active()
        for one in active if free else ():
            free &= ~one.late
        return not any(free & one.has for one in active)

    def _second_source_of(self, source: Source, now: float) -> int | None:
        """Choose what this source will probably give before the one that it was asked of: the last to come."""
        best, latest = None, now + 2 * source.pace.latency_s
        for other in self._active():
            for number, ask in other.asks.items():
                is_candidate = source.has & ~source.asked & self._covered & 1 << number
                if not is_candidate or len(self._askers[number]) >= MAX_ASKERS:
                    continue
                due = ask.asked_at + other.pace.latency_s
                if now > ask.asked_at + OVERDUE * other.pace.latency_s:
                    due = math.inf
                if due > latest:
                    best, latest = number, due
        return best
