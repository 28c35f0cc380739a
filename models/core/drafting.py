"""Guesses of an answer's next tokens from what it has in common with the text before: prompt-lookup drafting.

Where the last tokens stood once before, what followed them there may follow again.  A guess costs nothing to make, and
computing several tokens at once less than one after the other; how many of the guesses come true decides how many are
made, and whether any are.  Source: A. Saxena, "Prompt Lookup Decoding" (2023).
"""

from collections.abc import Sequence
from typing import Final

MATCHED: Final = 3  # tokens that have to stand there once more
FEWEST: Final = 3
MOST: Final = 15  # with the token before them they make one run of 16
TOKEN_COST: Final = 0.21  # of one more token in a run, in runs of one token: 1.65 for 4, 2.5 for 8, 4.1 for 16
NEWEST_WEIGHT: Final = 0.3  # of the last guess in the mean
TRY_AGAIN_AFTER: Final = 32  # tokens, once guessing has not paid


class Drafter:
    """Guesses for one sequence; `known` are its tokens so far."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, ...], int] = {}  # where what follows these tokens stands, the last time they came
        self._indexed = 0
        self._share = 1.0  # of guessed tokens that came true, in the mean
        self._length = FEWEST
        self._rest_until = 0

    def draft(self, known: Sequence[int]) -> tuple[int, ...]:
        """Guess what follows; nothing where there is no clue, or guesses have not paid lately."""
        self._index(known)
        follows = self._seen.get(tuple(known[-MATCHED:]))
        if follows is None or len(known) < self._rest_until:
            return ()
        return tuple(known[follows : follows + self._length])

    def learn(self, known: Sequence[int], guessed: int, true: int) -> None:
        """Hear how many of so many guessed tokens came true, the first ones."""
        self._share += NEWEST_WEIGHT * (true / guessed - self._share)
        self._length = min(2 * self._length, MOST) if true == guessed else max(FEWEST, true + 1)
        if 1 + self._share * self._length < 1 + TOKEN_COST * self._length:
            self._rest_until = len(known) + TRY_AGAIN_AFTER
            self._share, self._length = 2 * TOKEN_COST, FEWEST

    def _index(self, known: Sequence[int]) -> None:
        """Take in what has come; the last tokens are left out, or they would be found as their own precedent."""
        for end in range(max(self._indexed, MATCHED), len(known)):
            self._seen[tuple(known[end - MATCHED : end])] = end
        self._indexed = len(known)
