"""In which company a token's logits are those that it has alone, to the last bit.

Guesses are computed beside the token before them, so they may be kept where that changes no bit (docs/adr/0017).  Three
kinds of kernels are known: company changes nothing; it changes everything; or, on ARM, attention adds up keys in
blocks, and those of the last block, where it is not full, one by one: a run changes the bits of its tokens where it
fills the block that they are in.  Which kind it is, is found out with the engine itself; but what attention changes on
ARM is so little that it often vanishes where the next product rounds to eight bits, so there blocks are minded even
where the logits are alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

ARM: Final = frozenset({"aarch64", "arm64", "armv7l"})
BLOCK: Final = 4  # keys that onnxruntime's attention on ARM adds up at once
TRIED: Final = 2 * BLOCK  # tokens: each place in a block, with company that fills it and company that does not

Computed = Callable[[int, Sequence[int]], list[bytes]]
"""Gives the logits of each of some tokens, computed at once behind so many others."""


@dataclass(frozen=True)
class Company:
    """block: of keys that a run must not fill; 1 where any company will do, 0 where none does."""

    block: int

    def most(self, held: int) -> int:
        """How many tokens may be computed at once behind `held` others; 1 = no guess."""
        if self.block == 0:
            return 1
        return TRIED * BLOCK if self.block == 1 else self.block - (held + 1) % self.block


def company_of(compute: Computed, held: int, ids: Sequence[int], *, machine: str) -> Company:
    """Find out what company changes, with TRIED tokens behind `held` others; what they are makes no difference.

    machine: as uname says it.
    """
    alone = [compute(held + place, [token])[0] for place, token in enumerate(ids[:TRIED])]
    company = Company(BLOCK if machine in ARM else 1)
    place = 0
    while place < TRIED:
        together = ids[place : min(TRIED, place + company.most(held + place))]
        if compute(held + place, together) != alone[place : place + len(together)]:
            return Company(0)
        place += len(together)
    return company
