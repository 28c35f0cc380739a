"""Whether two machines answer the same, and whether a difference is a near tie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from models.core.request import TokenLogprob

NEAR_TIE: Final = 1.0  # nats between two tokens; kernels that round differently move a logit by some 0.4 (rms)


@dataclass(frozen=True)
class Difference:
    """The first token on which two greedy answers part: what each machine chose, and how likely it held both.

    A choice is the token's bytes, b"" for the end of the answer.  here and there: the log-probabilities that a machine
    gave to the two choices; None for one that was not among the likeliest.
    """

    step: int
    choices: tuple[bytes, bytes]
    here: tuple[float | None, float | None]
    there: tuple[float | None, float | None]

    @property
    def near_tie(self) -> bool:
        """Whether both machines held both choices nearly as likely."""
        return all(
            first is not None and second is not None and abs(first - second) <= NEAR_TIE
            for first, second in self._pairs
        )

    @property
    def _pairs(self) -> tuple[tuple[float | None, float | None], ...]:
        return self.here, self.there

    def __str__(self) -> str:
        ours, theirs = (repr(choice.decode(errors="replace")) for choice in self.choices)
        sides = (
            f"{where} {ours} {_number(first)}, {theirs} {_number(second)}"
            for where, (first, second) in zip(("here", "there"), self._pairs, strict=True)
        )
        return f"token {self.step}: {'; '.join(sides)}"


def first_difference(here: Sequence[TokenLogprob], there: Sequence[TokenLogprob]) -> Difference | None:
    """Find where two greedy answers part; None where one is the other.  What follows is no longer comparable."""
    for step in range(max(len(here), len(there))):
        ours, theirs = (steps[step] if step < len(steps) else None for steps in (here, there))
        choices = (b"" if ours is None else ours.token, b"" if theirs is None else theirs.token)
        if choices[0] != choices[1]:
            return Difference(step, choices, _likelihoods(ours, choices), _likelihoods(theirs, choices))
    return None


def widest_gap(here: Sequence[TokenLogprob], there: Sequence[TokenLogprob]) -> float:
    """How far apart the two hold a token's log-probability, at most: of those that both list, up to where they part."""
    gap = 0.0
    for ours, theirs in zip(here, there, strict=False):
        listed, also = dict(ours.top), dict(theirs.top)
        gap = max([gap, *(abs(listed[token] - also[token]) for token in listed.keys() & also.keys())])
        if ours.token != theirs.token:
            break
    return gap


def _likelihoods(step: TokenLogprob | None, choices: tuple[bytes, bytes]) -> tuple[float | None, float | None]:
    known = {} if step is None else {**dict(step.top), step.token: step.logprob}
    return known.get(choices[0]), known.get(choices[1])


def _number(logprob: float | None) -> str:
    return "unlikely" if logprob is None else f"{logprob:.3f}"
