"""How the next token is chosen from logits, in llama.cpp's order.

Penalties, then only what a grammar allows, top-k, top-p, min-p, temperature, the draw.  Chance is a function of the
seed and of the token's place in the answer alone: whoever goes on with an answer that another engine began draws what
that engine would have drawn.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Allowed = npt.NDArray[np.bool_]

REPETITION_WINDOW = 64  # latest tokens that the repetition penalty looks at, as in llama.cpp
_MANTISSA_BITS = 53


def uniform_draw(seed: int, place: int) -> float:
    """Draw the number in [0, 1) that chooses token `place` of an answer, counted from 0.

    The first 53 bits of BLAKE2b-64 over seed(8) ‖ place(8), big endian, as a binary fraction.
    """
    digest = hashlib.blake2b(seed.to_bytes(8, "big") + place.to_bytes(8, "big"), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> (64 - _MANTISSA_BITS)) * 2.0**-_MANTISSA_BITS)


def penalized(logits: FloatArray, recent: Sequence[int], *, penalty: float) -> FloatArray:
    """Make tokens of the last REPETITION_WINDOW less likely; returns the same array where there is nothing to do.

    A logit is divided by the penalty where it is positive and multiplied where it is not.
    Source: Keskar et al., CTRL, section 4.1.
    """
    if penalty == 1.0 or not recent:
        return logits
    seen = np.unique(np.asarray(recent[-REPETITION_WINDOW:], np.int64))
    changed = logits.copy()
    values = changed[seen]
    changed[seen] = np.where(values > 0, values / np.float32(penalty), values * np.float32(penalty))
    return changed


def discouraged(logits: FloatArray, answer: Sequence[int], *, presence: float, frequency: float) -> FloatArray:
    """Subtract `presence` from the logit of each token of the answer, and `frequency` for each time that it came.

    Returns the same array where there is nothing to do.  Source: OpenAI's API guide, frequency and presence penalties,
    which count the tokens sampled so far, and none of the prompt.
    """
    if not answer or presence == frequency == 0:
        return logits
    seen, times = np.unique(np.asarray(answer, np.int64), return_counts=True)
    changed = logits.copy()
    changed[seen] -= (presence + frequency * times).astype(np.float32)
    return changed


def choose(
    logits: FloatArray,
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    uniform: float,
    min_p: float = 0.0,
    allowed: Allowed | None = None,
) -> int:
    """Choose a token's id.

    logits: (vocabulary,), finite. temperature 0 takes the largest, the lowest id among equals; top_k 0 means all;
    top_p keeps the most likely tokens until their probabilities reach it; min_p those that have this part of the most
    likely one's. uniform: a random number in [0, 1). allowed: (vocabulary,), what may be chosen at all; some must.
    """
    if temperature == 0.0 or top_k == 1:
        return int(np.argmax(logits if allowed is None else np.where(allowed, logits, -np.inf)))
    ids = np.arange(len(logits)) if allowed is None else np.flatnonzero(allowed)
    ids = _largest(logits, ids, top_k)
    values = logits[ids].astype(np.float64)
    if top_p < 1.0:
        reached = np.cumsum(_softmax(values))
        kept = int(np.searchsorted(reached, top_p)) + 1
        ids, values = ids[:kept], values[:kept]
    if min_p > 0.0:
        kept = int(np.count_nonzero(values >= values[0] + np.log(min_p)))
        ids, values = ids[:kept], values[:kept]
    cumulative = np.cumsum(_softmax(values / temperature))
    # The sum may end a rounding error below 1.
    chosen = min(int(np.searchsorted(cumulative, uniform, side="right")), len(ids) - 1)
    return int(ids[chosen])


def log_probabilities(logits: FloatArray, token: int, *, alternatives: int) -> list[tuple[int, float]]:
    """Give a token's id and its log-probability, then those of the likeliest tokens, the likeliest first.

    logits: as the model gave them, before penalties, grammar and temperature, which is what OpenAI's API and llama.cpp
    report.
    """
    wide = logits.astype(np.float64)
    total = np.log(np.exp(wide - wide.max()).sum()) + wide.max()
    top = _largest(logits, np.arange(len(logits)), alternatives) if alternatives else np.arange(0)
    return [(int(index), float(wide[index] - total)) for index in (token, *top)]


def _largest(logits: FloatArray, ids: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The `count` of these ids with the largest logits (0 = all), largest first, the lowest id first among equals."""
    if 0 < count < len(ids):
        values = logits[ids]
        ids = ids[values >= np.partition(values, len(ids) - count)[len(ids) - count]]
    return ids[np.argsort(-logits[ids], kind="stable")][: count or None]


def _softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities of sorted logits: (n,), the largest first."""
    weights = np.exp(values - values[0])
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities
