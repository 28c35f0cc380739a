"""What is asked of whom, event by event."""

import random

import pytest

from device.core.source_pace import FIRST_LATE_S, FIRST_WINDOW, MAX_WINDOW, MIN_LATE_S, STALLED_AFTER
from device.core.swarm import (
    MAX_IN_FLIGHT_BYTES,
    Chunk,
    Decision,
    Holding,
    Part,
    Request,
    Swarm,
    TreePage,
    WantedBlob,
)
from device.core.swarm_source import (
    FIRST_BUSY_S,
    FIRST_REST_S,
    MAX_BUSY_S,
    MAX_REFUSALS,
    MAX_REST_S,
    SLOW_REST_S,
    TRANSITIONS,
    Saw,
    Source,
    State,
)
from mesh.core.token_bucket import TokenBucket
from models.core.hash_tree import CHUNK_BYTES, PageId

BLOB, OTHER = "ab" * 32, "cd" * 32
ALL: Holding = {BLOB: None}
PAGE = TreePage(BLOB, 0, 0)
LATENCY_S = 0.1


def wanted(chunks: int = 40) -> Swarm:
    """Begin a transfer whose tree is known."""
    blob = WantedBlob(BLOB, chunks * CHUNK_BYTES, b"", (PageId(0, 0),))
    return Swarm([blob], below=random.Random(1).randrange)  # noqa: S311  an order, not a secret


def asked_of(source: str, decision: Decision) -> list[Part]:
    """List what is asked of a source."""
    return [request.part for request in decision.requests if request.source == source]


def serve(swarm: Swarm, source: str, count: int, *, now: float) -> float:
    """Let a source answer so many requests, each `LATENCY_S` after it was asked; return the time then."""
    waiting = asked_of(source, swarm.decide(now=now))
    for _ in range(count):
        now += LATENCY_S
        assert swarm.arrived(source, waiting.pop(0), now=now)
        waiting += asked_of(source, swarm.decide(now=now))
    return now


class Asked:
    """Everything that a swarm has asked, by source, the oldest first."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm
        self.of: dict[str, list[Part]] = {}
        self.given: list[Part] = []
        self.now = 0.0

    def decide(self) -> Decision:
        """Let the swarm choose."""
        decision = self.swarm.decide(now=self.now)
        for request in decision.requests:
            self.of.setdefault(request.source, []).append(request.part)
        return decision

    def give(self, source: str, count: int = 1) -> None:
        """Let a source answer, each time a moment later."""
        for _ in range(count):
            self.decide()
            self.now += LATENCY_S
            self.given.append(self.of[source].pop(0))
            self.swarm.arrived(source, self.given[-1], now=self.now)


def state_of(swarm: Swarm, source: str, *, now: float = 0.0) -> str:
    """Say how a source is seen."""
    [found] = [one.state for one in swarm.progress(now=now).sources if one.source == source]
    return found


def order_of(swarm: Swarm, source: str, chunks: int) -> list[int]:
    """Let a source give so many chunks; return which, in the order in which it was asked for them."""
    asked = Asked(swarm)
    asked.give(source, chunks)
    asked.decide()
    order = [chunk.index for chunk in asked.given if isinstance(chunk, Chunk)]
    assert len(order) == chunks
    return order


def test_pages_come_first_then_chunks_in_the_order_of_the_file() -> None:
    """Nothing is asked for that could not be checked when it comes; what comes can be hashed as a whole."""
    swarm = Swarm([WantedBlob(BLOB, 30 * CHUNK_BYTES)], below=random.Random(3).randrange)  # noqa: S311
    assert swarm.decide(now=0.0) == Decision()
    swarm.source_has("ada", ALL, now=0.0)
    assert swarm.decide(now=0.0).requests == (Request("ada", PAGE),)
    assert swarm.is_wanted("ada", PAGE)
    assert swarm.arrived("ada", PAGE, now=0.1)
    asked, order = Asked(swarm), list[int]()
    asked.now = 0.1
    while not swarm.is_done:
        asked.decide()
        order.append(asked.of["ada"][0].index)
        asked.give("ada")
    assert order == list(range(30))
    assert asked.decide() == Decision()


@pytest.mark.parametrize("other", [ALL, {BLOB: b""}, None])
def test_the_order_is_drawn_where_somebody_else_holds_it_or_wants_it_too(other: Holding | None) -> None:
    """So that those who fetch at the same time have something to give each other."""
    swarm = wanted()
    swarm.source_has("ada", ALL, now=0.0)
    if other is None:
        swarm.wants_too("ben", now=0.0)
    else:
        swarm.source_has("ben", other, now=0.0)
    order = order_of(swarm, "ada", 15)
    assert order != sorted(order)


def test_the_order_is_that_of_the_file_again_once_the_others_have_left() -> None:
    """Nothing is drawn for those who cannot be reached."""
    swarm = wanted()
    swarm.source_has("ada", ALL, now=0.0)
    swarm.wants_too("ben", now=0.0)
    swarm.gone("ben", now=0.0)
    assert order_of(swarm, "ada", 40) == list(range(40))


def test_whoever_wants_it_too_still_holds_what_it_said() -> None:
    """And one that is banned stays so."""
    swarm = wanted()
    swarm.source_has("ada", ALL, now=0.0)
    swarm.wants_too("ada", now=0.0)
    assert swarm.sources == {"ada"}
    [first, *_] = asked_of("ada", swarm.decide(now=0.0))
    swarm.corrupt("ada", first, now=0.0)
    swarm.wants_too("ada", now=0.0)
    assert (state_of(swarm, "ada"), swarm.sources) == ("banned", frozenset())


def test_chunks_can_wait_for_the_trees() -> None:
    """Until it is clear which of them are on this node already."""
    below = random.Random(3).randrange  # noqa: S311
    swarm = Swarm([WantedBlob(BLOB, 30 * CHUNK_BYTES)], below=below, chunks_later=True)
    swarm.source_has("ada", ALL, now=0.0)
    assert (swarm.decide(now=0.0).requests, swarm.knows_trees) == ((Request("ada", PAGE),), False)
    swarm.arrived("ada", PAGE, now=0.1)
    assert (swarm.decide(now=0.1), swarm.knows_trees) == (Decision(), True)
    swarm.adopted([Chunk(BLOB, index) for index in range(29)])
    swarm.ask_for_chunks()
    assert asked_of("ada", swarm.decide(now=0.2)) == [Chunk(BLOB, 29)]


def test_a_source_is_asked_only_for_what_it_holds() -> None:
    """And not for more at a time than its window."""
    swarm = wanted()
    swarm.source_has("ada", {BLOB: b"\x08", OTHER: None}, now=0.0)
    swarm.source_has("ben", ALL, now=0.0)
    decision = swarm.decide(now=0.0)
    assert asked_of("ada", decision) == [Chunk(BLOB, 3)]
    assert len(asked_of("ben", decision)) == FIRST_WINDOW
    swarm.source_has("ada", {BLOB: b"\x28", OTHER: None}, now=0.0)
    assert asked_of("ada", swarm.decide(now=0.0)) in ([Chunk(BLOB, 5)], [])
    assert swarm.sources == {"ada", "ben"}


def test_what_few_hold_is_asked_for_first() -> None:
    """So that it spreads before its holder leaves."""
    swarm = wanted(8)
    swarm.source_has("ada", ALL, now=0.0)
    for name in ("ben", "cleo"):
        swarm.source_has(name, {BLOB: b"\xfa"}, now=0.0)
    assert {part.index for part in asked_of("ada", swarm.decide(now=0.0))} == {0, 2}


def test_all_that_is_on_its_way_is_bounded() -> None:
    """However many sources there are."""
    swarm = wanted(100)
    for number in range(40):
        swarm.source_has(f"source {number}", ALL, now=0.0)
    assert len(swarm.decide(now=0.0).requests) == MAX_IN_FLIGHT_BYTES // CHUNK_BYTES


def test_a_full_source_is_asked_again_once_half_of_its_window_is_free() -> None:
    """So that several chunks go into one request."""
    swarm = wanted(100)
    swarm.source_has("ada", ALL, now=0.0)
    waiting, now = asked_of("ada", swarm.decide(now=0.0)), 0.0
    while len(waiting) < MAX_WINDOW:
        now += 0.01  # so quick that the window grows
        swarm.arrived("ada", waiting.pop(0), now=now)
        waiting += asked_of("ada", swarm.decide(now=now))
    for _ in range(MAX_WINDOW // 2 - 1):
        swarm.arrived("ada", waiting.pop(0), now=now)
        assert asked_of("ada", swarm.decide(now=now)) == []
    swarm.arrived("ada", waiting.pop(0), now=now)
    assert len(asked_of("ada", swarm.decide(now=now))) == MAX_WINDOW // 2


def test_a_late_answer_is_asked_for_elsewhere_and_welcome_all_the_same() -> None:
    """Whoever is late is asked for less; the first of both answers counts, the other comes in vain."""
    swarm = wanted(2)
    swarm.source_has("ada", ALL, now=0.0)
    [first, second] = asked_of("ada", swarm.decide(now=0.0))
    swarm.source_has("ben", ALL, now=FIRST_LATE_S - 4)
    decision = swarm.decide(now=FIRST_LATE_S - 4)
    assert decision.requests == ()
    assert decision.wake_at == FIRST_LATE_S - 4 + 0.1
    decision = swarm.decide(now=FIRST_LATE_S)
    assert set(asked_of("ben", decision)) == {first, second}
    assert swarm.arrived("ada", first, now=FIRST_LATE_S + 1)
    assert not swarm.is_wanted("ben", first)
    assert swarm.arrived("ben", second, now=FIRST_LATE_S + 1)
    assert not swarm.is_wanted("ada", second)
    assert not swarm.arrived("ada", second, now=FIRST_LATE_S + 2)
    swarm.in_vain("ben", CHUNK_BYTES, now=FIRST_LATE_S + 2)
    swarm.in_vain("nobody", 5, now=FIRST_LATE_S + 2)
    progress = swarm.progress(now=FIRST_LATE_S + 2)
    assert (progress.bytes_verified, progress.bytes_wasted) == (2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 5)


def test_a_dead_source_is_dropped_and_tried_again_later() -> None:
    """With one request, and after longer each time; what comes from it meanwhile is taken, and it is back at once."""
    swarm = wanted()
    swarm.source_has("ada", ALL, now=0.0)
    now, dropped_at = 0.0, 0.0
    rests: list[float] = []
    asked: list[Part] = asked_of("ada", swarm.decide(now=now))
    while len(rests) < 9:
        decision = swarm.decide(now=now)
        if decision.dropped:
            assert (decision.dropped, state_of(swarm, "ada")) == (("ada",), "resting")
            dropped_at = now
        elif decision.requests:
            again = asked_of("ada", decision)
            assert len(again) == 1
            assert again[0] in asked
            rests.append(now - dropped_at)
        assert decision.wake_at is not None
        assert decision.wake_at > now
        now = decision.wake_at
    assert rests == [min(FIRST_REST_S * 2**turn, MAX_REST_S) for turn in range(9)]
    while state_of(swarm, "ada") == "active":
        now += STALLED_AFTER * FIRST_LATE_S
        swarm.decide(now=now)
    assert all(swarm.is_wanted("ada", part) for part in asked)
    assert swarm.arrived("ada", asked[0], now=now)
    assert state_of(swarm, "ada") == "active"
    assert swarm.decide(now=now).requests != ()


def test_whoever_sends_forged_bytes_is_banned() -> None:
    """For this transfer: whatever it says afterwards, and what it was asked for is asked of others."""
    swarm = wanted(2)
    swarm.source_has("eve", ALL, now=0.0)
    [first, second] = asked_of("eve", swarm.decide(now=0.0))
    swarm.source_has("ben", ALL, now=0.0)
    swarm.corrupt("eve", first, now=0.1)
    decision = swarm.decide(now=0.1)
    assert decision.dropped == ("eve",)
    assert set(asked_of("ben", decision)) == {first, second}
    assert not swarm.is_wanted("eve", second)
    swarm.source_has("eve", ALL, now=0.2)
    swarm.gone("eve", now=0.2)
    swarm.corrupt("eve", second, now=0.2)
    swarm.corrupt("nobody", second, now=0.2)
    swarm.source_has("eve", {BLOB: b"\x01"}, now=0.2)
    assert state_of(swarm, "eve") == "banned"
    assert swarm.sources == {"ben"}
    assert swarm.decide(now=0.2).dropped == ()


def test_a_source_that_does_not_have_what_it_said_is_believed_less() -> None:
    """Each refusal takes one part off; after several in a row it rests."""
    swarm = wanted()
    swarm.source_has("eve", ALL, now=0.0)
    refused: set[Part] = set()
    asked = asked_of("eve", swarm.decide(now=0.0))
    while len(refused) < MAX_REFUSALS:
        part = asked.pop()
        assert part not in refused
        swarm.refused("eve", part, now=0.0)
        swarm.refused("eve", part, now=0.0)
        refused.add(part)
        decision = swarm.decide(now=0.0)
        asked += asked_of("eve", decision)
    assert decision.dropped == ("eve",)
    assert state_of(swarm, "eve") == "resting"
    swarm.source_has("eve", ALL, now=1.0)
    assert state_of(swarm, "eve") == "resting"
    assert asked_of("eve", swarm.decide(now=FIRST_REST_S)) != []


def test_a_busy_source_is_left_alone_for_a_moment() -> None:
    """Longer each time it is busy, until it gives something."""
    swarm = wanted()
    swarm.source_has("ada", ALL, now=0.0)
    now, pauses = 0.0, []
    for _ in range(6):
        decision = swarm.decide(now=now)
        for part in asked_of("ada", decision):
            swarm.failed("ada", part, now=now)
        wake_at = swarm.decide(now=now).wake_at
        assert wake_at is not None
        pauses.append(wake_at - now)
        now = wake_at
    assert pauses[0] >= FIRST_BUSY_S
    assert pauses[-1] == MAX_BUSY_S
    now = serve(swarm, "ada", 1, now=now)
    for part in asked_of("ada", swarm.decide(now=now)):
        swarm.refused("ada", part, now=now, busy=True)
    assert asked_of("ada", swarm.decide(now=now + FIRST_BUSY_S / 2)) == []
    assert state_of(swarm, "ada") == "active"


def test_whoever_changes_its_mind_is_asked_for_the_rest() -> None:
    """What it no longer has is asked of others at once."""
    swarm = wanted(8)
    swarm.source_has("ada", ALL, now=0.0)
    asked = asked_of("ada", swarm.decide(now=0.0))
    swarm.source_has("ada", {BLOB: b""}, now=0.1)
    swarm.source_has("ben", ALL, now=0.1)
    assert swarm.sources == {"ben"}
    assert not any(swarm.is_wanted("ada", part) for part in asked)
    decision = swarm.decide(now=0.1)
    assert len(asked_of("ben", decision)) == FIRST_WINDOW
    assert asked_of("ada", decision) == []


def test_a_source_that_left_is_forgotten_until_it_is_back() -> None:
    """Unless it was to rest: leaving and coming is no way around that."""
    swarm = wanted(2)
    swarm.source_has("ada", ALL, now=0.0)
    swarm.gone("nobody", now=0.0)
    asked = asked_of("ada", swarm.decide(now=0.0))
    swarm.gone("ada", now=0.1)
    swarm.gone("ada", now=0.1)
    assert swarm.sources == frozenset()
    assert state_of(swarm, "ada") == "gone"
    assert swarm.decide(now=0.1) == Decision()
    swarm.source_has("ada", ALL, now=0.2)
    assert set(asked_of("ada", swarm.decide(now=0.2))) == set(asked)
    swarm.decide(now=30.0)
    assert state_of(swarm, "ada") == "resting"
    swarm.gone("ada", now=30.1)
    swarm.source_has("ada", ALL, now=30.2)
    assert state_of(swarm, "ada") == "resting"


def test_at_the_end_an_idle_source_is_asked_too() -> None:
    """When it will probably be first; never more than two for a part."""
    swarm = wanted(24)
    swarm.source_has("fast", ALL, now=0.0)
    asked = Asked(swarm)
    asked.give("fast", 19)
    swarm.source_has("slow", ALL, now=asked.now)
    asked.decide()
    assert len(asked.of["slow"]) == FIRST_WINDOW
    while not set(asked.of["fast"]) & set(asked.of["slow"]):
        asked.give("fast")
        asked.decide()
    swarm.source_has("third", ALL, now=asked.now)
    decision = asked.decide()
    assert set(asked.of["fast"]) & set(asked.of["slow"]) != set()
    assert asked_of("third", decision) == []
    assert decision.wake_at is not None
    assert decision.wake_at == pytest.approx(asked.now + 0.1)


def test_an_overdue_part_is_asked_of_another_at_the_end() -> None:
    """Though it is not late yet: nothing else is left to do."""
    swarm = wanted(40)
    asked = Asked(swarm)
    for name in ("ada", "ben"):
        swarm.source_has(name, ALL, now=0.0)
    for _ in range(15):
        asked.give("ada")
        asked.give("ben")
    while set(asked.of["ada"]) - set(asked.of["ben"]) and not swarm.is_done and asked.of["ben"]:
        asked.give("ben")
        if not set(asked.of["ben"]) - set(asked.of["ada"]):
            break
    left = asked.of["ada"]
    assert left != []
    asked.now += MIN_LATE_S / 2
    asked.decide()
    assert set(left) <= set(asked.of["ben"])
    assert state_of(swarm, "ada") == "active"


def test_a_slow_source_is_dropped_where_others_hold_the_same() -> None:
    """What it was asked for is asked of them; where it alone holds something it is kept."""
    cases: list[tuple[bool, Holding]] = [(True, {BLOB: b"\xff" * 6}), (False, ALL)]
    for kept, holding in cases:
        swarm = wanted(100)
        swarm.source_has("slow", ALL, now=0.0)
        swarm.source_has("fast", holding, now=0.0)
        slow: list[Part] = []
        fast: list[Part] = []
        dropped: list[str] = []
        for turn in range(200):
            now = turn / 20
            decision = swarm.decide(now=now)
            dropped += decision.dropped
            slow += asked_of("slow", decision)
            fast += asked_of("fast", decision)
            if fast and turn < 60:
                swarm.arrived("fast", fast.pop(0), now=now + 0.01)
            if slow and turn % 20 == 19:
                swarm.arrived("slow", slow.pop(0), now=now + 0.01)
        assert state_of(swarm, "slow") == ("active" if kept else "slow")
        assert ("slow" in dropped) != kept
    assert asked_of("slow", swarm.decide(now=now + SLOW_REST_S)) != []


def test_a_limit_holds_requests_back() -> None:
    """And says when to come again."""
    bucket = TokenBucket(CHUNK_BYTES, CHUNK_BYTES)
    swarm = Swarm([WantedBlob(BLOB, 9 * CHUNK_BYTES, b"", (PageId(0, 0),))], below=lambda _: 0, limit=bucket)
    swarm.source_has("ada", ALL, now=0.0)
    decision = swarm.decide(now=0.0)
    assert len(decision.requests) == 1
    assert decision.wake_at == pytest.approx(0.1)
    assert swarm.decide(now=0.5).requests == ()
    assert len(swarm.decide(now=1.0).requests) == 1


def test_chunks_from_this_node_are_not_fetched() -> None:
    """What was asked for is wanted no more; what is no chunk of it is ignored."""
    swarm = wanted(3)
    swarm.source_has("ada", ALL, now=0.0)
    asked = asked_of("ada", swarm.decide(now=0.0))
    chunks = [Chunk(BLOB, index) for index in range(3)]
    swarm.adopted([*chunks, chunks[0], Chunk(OTHER, 0)])
    assert swarm.is_done
    assert not any(swarm.is_wanted("ada", part) for part in asked)
    assert swarm.decide(now=0.1).requests == ()


def test_what_is_no_part_or_no_source_changes_nothing() -> None:
    """Whatever the wire brings."""
    swarm = wanted(3)
    swarm.source_has("ada", ALL, now=0.0)
    swarm.decide(now=0.0)
    for source, part in [("ada", Chunk(OTHER, 0)), ("nobody", Chunk(BLOB, 0))]:
        assert not swarm.is_wanted(source, part)
        assert not swarm.arrived(source, part, now=0.1)
        swarm.refused(source, part, now=0.1)
        swarm.corrupt(source, part, now=0.1)
    assert state_of(swarm, "ada") == "active"
    assert swarm.progress(now=0.1).bytes_wasted == 0


def test_progress_says_how_far_it_is() -> None:
    """Bytes, rate, the time that is left, and what each source gives."""
    swarm = wanted(40)
    assert swarm.progress(now=0.0).eta_s is None
    swarm.source_has("ada", ALL, now=0.0)
    now = serve(swarm, "ada", 20, now=0.0)
    progress = swarm.progress(now=now)
    assert (progress.bytes_total, progress.bytes_verified) == (40 * CHUNK_BYTES, 20 * CHUNK_BYTES)
    assert progress.bytes_per_s == pytest.approx(CHUNK_BYTES / LATENCY_S, rel=0.2)
    assert progress.eta_s == pytest.approx(20 * LATENCY_S, rel=0.2)
    [ada] = progress.sources
    assert (ada.bytes_verified, ada.state, ada.in_flight) == (20 * CHUNK_BYTES, "active", 2)
    assert ada.bytes_per_s == pytest.approx(progress.bytes_per_s)


def test_every_state_is_left_as_the_table_says() -> None:
    """And whoever is banned stays so."""
    for state, saw in TRANSITIONS.items():
        for what in Saw:
            source = Source("ada", state)
            assert source.saw(what) == (saw.get(what, state) is not state)
            assert source.state is saw.get(what, state)
    assert TRANSITIONS[State.BANNED] == {}
    assert Source("ada").wake_at(0.0) is None
