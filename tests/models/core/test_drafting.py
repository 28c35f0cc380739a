"""Laws of guessing: only what stood there before is guessed, and no more than has paid."""

from hypothesis import given
from hypothesis import strategies as st

from models.core.drafting import FEWEST, MATCHED, MOST, TRY_AGAIN_AFTER, Drafter

POEM = list(range(100, 140))


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=20))
def test_a_guess_followed_these_tokens_before(parts: list[list[int]]) -> None:
    """Whatever comes, in whatever pieces: the last place where the same tokens stood, and what followed there."""
    drafter, known = Drafter(), list[int]()
    for part in parts:
        known += part
        draft = drafter.draft(known)
        last = known[-MATCHED:]
        places = [end for end in range(MATCHED, len(known)) if known[end - MATCHED : end] == last]
        assert bool(draft) == bool(places)
        if draft:
            assert tuple(known[places[-1] : places[-1] + len(draft)]) == draft
            assert len(draft) <= FEWEST


def test_guesses_grow_while_they_come_true() -> None:
    """Up to a bound; and shrink to what came true."""
    drafter = Drafter()
    known = [*POEM, *POEM[:5]]
    lengths = []
    for _ in range(4):
        draft = drafter.draft(known)
        lengths.append(len(draft))
        drafter.learn(known, len(draft), len(draft))
    assert lengths == [FEWEST, 2 * FEWEST, 4 * FEWEST, MOST]
    drafter.learn(known, MOST, 6)
    assert len(drafter.draft(known)) == 7


def test_what_does_not_pay_is_left_for_a_while() -> None:
    """Then it is tried again, and may pay."""
    drafter = Drafter()
    known = [*POEM, *POEM[:5]]
    guesses = 0
    while drafter.draft(known):
        drafter.learn(known, FEWEST, 0)
        guesses += 1
    assert 1 <= guesses <= 8
    known += list(range(200, 200 + TRY_AGAIN_AFTER - 4)) + POEM[10:13]
    assert not drafter.draft(known)
    known += POEM[13:14]
    assert drafter.draft(known) == tuple(POEM[14 : 14 + FEWEST])
    drafter.learn(known, FEWEST, FEWEST)
    assert len(drafter.draft(known)) == 2 * FEWEST


def test_nothing_is_guessed_without_a_precedent() -> None:
    """Not in a text too short, nor from what is said for the first time."""
    assert not Drafter().draft([])
    assert not Drafter().draft([1, 2])
    assert not Drafter().draft(POEM)
