"""What an engine computes next, of several answers at a time.

Answers that are being written advance together, one token each in a round.  What has more to compute, a prompt above
all, goes alone and in chunks: while answers are being written there is a round after each chunk, and the chunk is
small enough for them to keep flowing; several prompts take turns.
"""

from dataclasses import dataclass
from typing import Final

MOST_TOKENS: Final = 512  # of a chunk: bounds the activations' memory
FEWEST_TOKENS: Final = 16  # below that a chunk costs hardly less
ALONE_S: Final = 1.0  # how long a chunk may take: the grain of cancelling, and of joining
BESIDE_S: Final = 0.15  # while answers are being written: a pause in them that one can read over
NEWEST_WEIGHT: Final = 0.3  # of the last chunk in the mean


@dataclass(frozen=True)
class Chunk:
    """The next `tokens` of one sequence, computed alone."""

    sequence: int
    tokens: int


@dataclass(frozen=True)
class Round:
    """One token each of several sequences, computed together."""

    sequences: tuple[int, ...]


class Scheduler:
    """Decides what is computed next; sequences are known by number."""

    def __init__(self) -> None:
        self._pending: dict[int, int] = {}  # tokens to compute; the order is that of the turns
        self._rate: float | None = None  # tokens a second in chunks, as measured
        self._round_is_due = False

    def put(self, sequence: int, tokens: int) -> None:
        """Add tokens that a sequence has to have computed before it can go on."""
        self._pending[sequence] = self._pending.get(sequence, 0) + tokens

    def drop(self, sequence: int) -> None:
        """Forget a sequence."""
        self._pending.pop(sequence, None)

    def next(self) -> Chunk | Round | None:
        """Choose, and count it as done; None where nothing is to be computed."""
        written = tuple(sequence for sequence, tokens in self._pending.items() if tokens == 1)
        read = next((sequence for sequence, tokens in self._pending.items() if tokens > 1), None)
        if written and (self._round_is_due or read is None):
            self._round_is_due = False
            for sequence in written:
                del self._pending[sequence]
            return Round(written)
        if read is None:
            return None
        self._round_is_due = True
        tokens = self._pending.pop(read)
        size = self._chunk(tokens, within_s=BESIDE_S if written else ALONE_S)
        if size < tokens:
            self._pending[read] = tokens - size  # behind the others
        return Chunk(read, size)

    def took(self, chunk: Chunk, seconds: float) -> None:
        """Learn how fast this engine reads."""
        if chunk.tokens >= FEWEST_TOKENS and seconds > 0:
            rate = chunk.tokens / seconds
            self._rate = rate if self._rate is None else self._rate + NEWEST_WEIGHT * (rate - self._rate)

    def _chunk(self, tokens: int, *, within_s: float) -> int:
        """How many of these tokens to compute at once; never all but one: a single one is rounded in another way."""
        size = MOST_TOKENS if self._rate is None else round(self._rate * within_s)
        size = min(max(size, FEWEST_TOKENS), MOST_TOKENS)
        if size >= tokens:
            return tokens
        return size - 1 if tokens - size == 1 else size
