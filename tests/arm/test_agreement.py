"""Laws of comparing two machines' answers."""

import pytest

from models.core.request import TokenLogprob
from tests.arm.agreement import NEAR_TIE, Difference, first_difference, widest_gap

PARIS = TokenLogprob(b" Paris", -0.1, ((b" Paris", -0.1), (b" Lyon", -0.9)))
LYON = TokenLogprob(b" Lyon", -0.4, ((b" Lyon", -0.4), (b" Paris", -0.5)))
NICE = TokenLogprob(b" Nice", -0.3, ((b" Nice", -0.3),))


def test_the_same_answer_has_no_difference() -> None:
    """Not even where the numbers beside the tokens differ a little."""
    warmer = TokenLogprob(b" Paris", -0.2, ((b" Paris", -0.2), (b" Nice", -0.5)))
    assert first_difference((PARIS, NICE), (warmer, NICE)) is None
    assert widest_gap((PARIS, NICE), (warmer, NICE)) == pytest.approx(0.1)


def test_a_near_tie_is_one_on_both_machines() -> None:
    """Both choices are told, with what each machine thought of them; what comes later is not looked at."""
    difference = first_difference((NICE, PARIS, NICE), (NICE, LYON, PARIS))
    assert difference == Difference(1, (b" Paris", b" Lyon"), (-0.1, -0.9), (-0.5, -0.4))
    assert difference.near_tie
    assert str(difference) == "token 1: here ' Paris' -0.100, ' Lyon' -0.900; there ' Paris' -0.500, ' Lyon' -0.400"


def test_the_gap_is_looked_for_up_to_where_answers_part() -> None:
    """There both machines still had the same text before them; afterwards they have not."""
    colder = TokenLogprob(b" Nice", -3.0, ((b" Nice", -3.0),))
    assert widest_gap((NICE, PARIS, NICE), (NICE, LYON, colder)) == pytest.approx(0.5)
    assert widest_gap((NICE,), ()) == 0


def test_a_sure_choice_is_no_near_tie() -> None:
    """One machine that is sure is enough, and so is a token that the other does not even consider."""
    sure = TokenLogprob(b" Paris", -0.1, ((b" Paris", -0.1), (b" Lyon", -0.2 - NEAR_TIE)))
    for here, there in ((sure, LYON), (LYON, sure), (PARIS, NICE)):
        difference = first_difference((here,), (there,))
        assert difference is not None
        assert not difference.near_tie
    assert "' Nice' unlikely" in str(first_difference((PARIS,), (NICE,)))


def test_an_answer_that_ends_early_is_another() -> None:
    """The end is a choice too."""
    difference = first_difference((PARIS, LYON), (PARIS,))
    assert difference == Difference(1, (b" Lyon", b""), (-0.4, None), (None, None))
    assert not difference.near_tie
