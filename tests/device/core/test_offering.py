"""What a board does for others while it is warm or its battery runs down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.offering import EVERYTHING, Condition, Limits, Offering, offered


@pytest.mark.parametrize(
    ("celsius", "percent", "share"),
    [
        (None, None, 1),
        (20, 100, 1),
        (70, None, 1),
        (75, None, 0.5),
        (80, None, 0),
        (95, None, 0),
        (None, 50, 1),
        (None, 35, 0.5),
        (None, 20, 0),
        (75, 20, 0),
        (79, 40, 0.1),
    ],
)
def test_the_worse_of_the_two_decides(celsius: float | None, percent: float | None, share: float) -> None:
    """Evenly from the first limit to the second."""
    assert offered(Condition(celsius=celsius, percent=percent), Limits()).share == share


def test_it_says_why() -> None:
    """In words for the owner; nothing where nothing is held back."""
    assert offered(Condition(celsius=75.4, percent=90), Limits()) == Offering(
        share=0.46, reason="the board is at 75 °C"
    )
    assert offered(Condition(percent=26), Limits()) == Offering(share=0.2, reason="its battery is at 26 %")
    assert offered(Condition(celsius=69), Limits()) is EVERYTHING


def test_it_rests_for_the_share_that_is_not_offered() -> None:
    """A quarter of the time: three times as long as it worked; who offers nothing does not work."""
    assert Offering(share=0.25, reason="warm").rest_s(2.0) == 6.0
    assert EVERYTHING.rest_s(2.0) == 0.0
    with pytest.raises(ValueError, match="nothing is done"):
        Offering(share=0.0, reason="hot").rest_s(1.0)


@given(st.one_of(st.none(), st.floats(-40, 150)), st.one_of(st.none(), st.floats(0, 100)))
def test_it_is_a_share_whatever_the_sensors_say(celsius: float | None, percent: float | None) -> None:
    """From nothing to everything, with a reason unless it is everything."""
    found = offered(Condition(celsius=celsius, percent=percent), Limits())
    assert 0 <= found.share <= 1
    assert bool(found.reason) == (found.share < 1)
