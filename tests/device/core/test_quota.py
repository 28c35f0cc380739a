"""What makes room: the least recently used, never what is pinned or in use, and nothing in vain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.quota import NEVER, Occupant, choose_removals, taken_bytes
from models.errors import QuotaExceededError

MB = 1_000_000


def _model(name: str, *, used: float = NEVER, kept: bool = False, **files: int) -> Occupant:
    return Occupant(name=name, files=files or {name: 10 * MB}, used_at_s=used, kept=kept)


def _names(chosen: tuple[Occupant, ...]) -> list[str]:
    return [one.name for one in chosen]


def test_without_a_quota_nothing_goes() -> None:
    """However much comes."""
    assert choose_removals([_model("a")], coming={"x": 10**15}, quota_bytes=0) == ()


def test_what_fits_costs_nobody() -> None:
    """To the last byte; a file that is here already takes no more room."""
    here = [_model("a", used=1), _model("b", used=2)]
    assert choose_removals(here, coming={"x": 10 * MB}, quota_bytes=30 * MB) == ()
    assert choose_removals(here, coming={"a": 10 * MB}, quota_bytes=20 * MB) == ()


def test_the_least_recently_used_goes_first() -> None:
    """What has never answered before what has; by name where there is no other difference."""
    here = [_model("a", used=9), _model("b", used=3), _model("d"), _model("c")]
    assert _names(choose_removals(here, coming={"x": 10 * MB}, quota_bytes=40 * MB)) == ["c"]
    assert _names(choose_removals(here, coming={"x": 10 * MB}, quota_bytes=20 * MB)) == ["c", "d", "b"]


def test_what_is_kept_stays() -> None:
    """And where that is too much, nothing is removed, and it is said."""
    here = [_model("a", kept=True), _model("b", used=3)]
    assert _names(choose_removals(here, coming={"x": 10 * MB}, quota_bytes=20 * MB)) == ["b"]
    with pytest.raises(QuotaExceededError, match=r"20 MB would be taken .* the quota is 15 MB") as raised:
        choose_removals(here, coming={"x": 10 * MB}, quota_bytes=15 * MB)
    assert "hearth models unpin" in raised.value.hint


def test_the_model_that_comes_does_not_go_for_itself() -> None:
    """Pulled again with other content it is replaced, not removed."""
    here = [_model("a", used=1), _model("b", used=2)]
    assert _names(choose_removals(here, coming={"x": 10 * MB}, quota_bytes=20 * MB, of_name="a")) == ["b"]


def test_what_frees_nothing_stays() -> None:
    """A second name for files that another model needs."""
    here = [_model("old", used=1, shared=10 * MB), _model("kept", kept=True, shared=10 * MB), _model("b", used=2)]
    assert taken_bytes(here) == 20 * MB
    assert _names(choose_removals(here, coming={"x": 10 * MB}, quota_bytes=20 * MB)) == ["b"]


@given(
    models=st.lists(st.tuples(st.sets(st.integers(0, 5), min_size=1), st.integers(-1, 5), st.booleans()), max_size=6),
    coming=st.integers(1, 6),
    quota=st.integers(1, 12),
)
def test_afterwards_it_fits(models: list[tuple[set[int], int, bool]], coming: int, quota: int) -> None:
    """Or nothing is chosen at all; and nothing that is kept ever."""
    here = [
        Occupant(name=str(number), files={str(file): 1 for file in files}, used_at_s=used, kept=kept)
        for number, (files, used, kept) in enumerate(models)
    ]
    arriving = Occupant(name="new", files={"new": coming})
    kept = [one for one in here if one.kept]
    try:
        going = choose_removals(here, coming=arriving.files, quota_bytes=quota)
    except QuotaExceededError:
        assert taken_bytes([*kept, arriving]) > quota
        return
    stays = [one for one in here if one not in going]
    assert not any(one.kept for one in going)
    assert taken_bytes([*stays, arriving]) <= quota
