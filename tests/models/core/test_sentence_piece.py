"""Pieces are those that joining by hand gives, one pair after another."""

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from models.core.sentence_piece import pieces

TEXT = st.text("ab_", max_size=24)
TOKENS = st.dictionaries(st.text("ab_", min_size=1, max_size=5), st.integers(-3, 3), max_size=20)


def by_hand(text: str, scores: Mapping[str, int]) -> list[str]:
    """Join the best pair, the leftmost of equals, as long as there is one."""
    found = [*text]
    while True:
        pairs = [(-scores[a + b], at) for at, (a, b) in enumerate(pairwise(found)) if a + b in scores]
        if not pairs:
            return found
        _, at = min(pairs)
        found[at : at + 2] = [found[at] + found[at + 1]]


@settings(max_examples=500, deadline=None)
@given(TEXT, TOKENS)
def test_pieces_are_joined_best_first(text: str, scores: dict[str, int]) -> None:
    """Whatever the tokens and their scores, and nothing of the text is lost."""
    ids = {token: index for index, token in enumerate(scores)}
    found = [*pieces(text, ids, [*map(float, scores.values())])]
    assert found == by_hand(text, scores)
    assert "".join(found) == text
