"""What a model needs and what there is, from figures alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.memory_need import CONTEXT_STEP, Group, MemoryNeed, Room, available_bytes, parse_group
from models.errors import NotEnoughMemoryError

MB = 1_000_000
NEED = MemoryNeed(weights_bytes=100 * MB, fixed_bytes=50 * MB, token_bytes=50_000, most_tokens=8192)


def test_the_default_model_is_reckoned_as_measured() -> None:
    """SmolLM2-135M: 124 MB of packed weights, 46 kB a token (twice 192 floats for each of 30 layers)."""
    need = MemoryNeed.of(
        weights_bytes=124 * MB,
        layers=30,
        kv_width=192,
        kv_bytes=4,
        width=576,
        feed_forward=1536,
        vocabulary=49_152,
        chunk_tokens=512,
        most_tokens=8192,
    )
    assert need.token_bytes == 46_080
    assert 200 * MB < need.bytes_for(0) < 250 * MB
    assert need.bytes_for(2048) == need.bytes_for(0) + 2048 * 46_080


def test_what_fits_is_not_refused() -> None:
    """To the last byte; a context beyond the model's own costs no more than that."""
    NEED.require(context_tokens=2048, free_bytes=NEED.bytes_for(2048))
    NEED.require(context_tokens=100_000, free_bytes=NEED.bytes_for(8192))


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    """Both figures are named, and the context to ask for."""
    with pytest.raises(NotEnoughMemoryError) as caught:
        NEED.require(context_tokens=2048, free_bytes=200 * MB)
    assert (
        str(caught.value) == "the model with a context of 2048 tokens needs 252 MB, 200 MB are free; "
        "a context of 992 would fit"
    )
    assert "a smaller [engine] context_tokens" in caught.value.hint
    with pytest.raises(NotEnoughMemoryError, match="no context would fit") as caught:
        NEED.require(context_tokens=16, free_bytes=150 * MB)
    assert "context" not in caught.value.hint  # no smaller one helps


@given(st.integers(0, 10**12))
def test_the_context_named_fits_and_the_next_does_not(free: int) -> None:
    """Whoever sets it is not refused again."""
    tokens = NEED.context_that_fits(free)
    assert tokens == 0 or NEED.bytes_for(tokens) <= free
    assert NEED.bytes_for(tokens + CONTEXT_STEP) > free


@pytest.mark.parametrize(("context", "sequences"), [(2048, 9), (1024, 18), (100_000, 2)])
def test_how_many_sequences_fit(context: int, sequences: int) -> None:
    """Each has the whole context; none is longer than the model's own."""
    assert sequences == NEED.sequences_that_fit(context, 1_100 * MB)
    assert NEED.sequences_that_fit(context, 100 * MB) == 0


BOARD = 512 * MB


def _room(context: int, slots: int, free: int | None, *, board: int = BOARD) -> Room:
    return NEED.room(context_tokens=context, slots=slots, prefix_bytes=10 * MB, board_bytes=board, free_bytes=free)


@pytest.mark.parametrize(
    ("slots", "free", "context", "granted"),
    [
        (1, None, 2560, 1),  # a quarter of the board
        (1, 500 * MB, 2560, 1),
        (4, None, 640, 4),  # shared
        (8, None, 512, 8),  # but never less than that
        (1, 260 * MB, 2000, 1),  # what is free, and not kept for other uses
        (4, 260 * MB, 512, 3),  # rather fewer at a time
        (4, 180 * MB, 512, 1),  # what is kept for other uses gives way
        (4, 152 * MB, 32, 1),
        (4, 150_900_000, 16, 1),
    ],
)
def test_a_context_that_nobody_chose_is_what_fits(slots: int, free: int | None, context: int, granted: int) -> None:
    """A part of the board's memory, of what is free, and not beyond what the model knows."""
    assert Room(context_tokens=context, slots=granted) == _room(0, slots, free)
    assert _room(0, slots, free, board=2**50).context_tokens <= NEED.most_tokens


@pytest.mark.parametrize(
    ("free", "context"),
    [
        (10_000, 8192),  # enough for everything
        (551, 4020),  # a longer context would leave the graph for prompts no room
        (452, 6032),  # it would leave too little itself: prompts are read without it
        (453, 2060),
    ],
)
def test_the_graph_for_prompts_is_left_room(free: int, context: int) -> None:
    """Where nobody chose a context, and where that does not make it short; what was chosen goes before."""
    need = replace(NEED, prompt_graph_bytes=200 * MB)
    board = 2**50
    got = need.room(context_tokens=0, slots=1, prefix_bytes=0, board_bytes=board, free_bytes=free * MB)
    assert Room(context_tokens=context, slots=1) == got
    chosen = need.room(context_tokens=4096, slots=1, prefix_bytes=0, board_bytes=board, free_bytes=free * MB)
    assert Room(context_tokens=4096, slots=1) == chosen


@given(st.integers(0, 10**9), st.integers(1, 64))
def test_only_what_no_context_fits_is_refused_unasked(free: int, slots: int) -> None:
    """Whoever chose nothing is refused exactly where the smallest choice is; what is given fits."""
    if NEED.context_that_fits(free):
        room = _room(0, slots, free)
        assert NEED.bytes_for(room.context_tokens) <= free
        assert NEED.bytes_for(room.slots * room.context_tokens) <= free or room.slots == 1
        assert room == _room(room.context_tokens, slots, free)
    else:
        with pytest.raises(NotEnoughMemoryError, match="no context would fit"):
            _room(0, slots, free)


def test_a_context_that_was_chosen_is_given_or_refused() -> None:
    """With the slots that there is memory for; whatever part of the board it takes."""
    assert Room(context_tokens=2048, slots=3) == _room(2048, 4, 500 * MB)
    assert Room(context_tokens=8192, slots=4) == _room(100_000, 4, None)
    with pytest.raises(NotEnoughMemoryError):
        _room(2048, 4, 200 * MB)


V1 = "cache 5\nactive_file 1\ninactive_file 2\ntotal_cache 99\ntotal_active_file 3000\ntotal_inactive_file 4000\n"
V2 = "anon 7\nactive_file 100\ninactive_file 200\nworkingset_refault_file 5\n"


def test_groups_of_both_versions() -> None:
    """Files in the cache give way, also those of the groups below; `max` is no limit."""
    assert parse_group("100000\n", "60000\n", V1) == Group(limit_bytes=100_000, used_bytes=60_000, cached_bytes=7000)
    assert parse_group("100000\n", "60000\n", V2) == Group(limit_bytes=100_000, used_bytes=60_000, cached_bytes=300)
    assert parse_group("1\n", "1\n", "") == Group(limit_bytes=1, used_bytes=1, cached_bytes=0)
    assert parse_group("max\n", "60000\n", V2) is None
    assert parse_group("", "", "") is None


@pytest.mark.parametrize(("used", "cached", "free"), [(60, 7, 47), (60, 70, 100), (200, 10, 0)])
def test_what_a_group_leaves(used: int, cached: int, free: int) -> None:
    """Never more than its limit, never less than nothing."""
    assert free == Group(limit_bytes=100, used_bytes=used, cached_bytes=cached).free_bytes


def test_the_tightest_bound_counts() -> None:
    """Of the board and of all groups; a system that says nothing bounds nothing."""
    meminfo = "MemTotal:  9 kB\nMemAvailable:   100 kB\n"
    group = Group(limit_bytes=50_000, used_bytes=0, cached_bytes=0)
    assert available_bytes(meminfo, []) == 102_400
    assert available_bytes(meminfo, [group]) == 50_000
    assert available_bytes("", [group]) == 50_000
    assert available_bytes("", []) is None
