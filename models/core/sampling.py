"""How the next token is chosen from logits: repetition penalty, top-k, top-p, temperature, in llama.cpp's order.

Chance is a function of the seed and of the token's place in the answer alone: whoever goes on with an answer that
another engine began draws what that engine would have drawn.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

REPETITION_WINDOW = 64  # latest tokens that the penalty looks at, as in llama.cpp
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


def choose(logits: FloatArray, *, temperature: float, top_k: int, top_p: float, uniform: float) -> int:
    """Choose a token's id.

    logits: (vocabulary,), finite. temperature 0 takes the largest, the lowest id among equals; top_k 0 means all;
    top_p keeps the most likely tokens until their probabilities reach it. uniform: a random number in [0, 1).
    """
    if temperature == 0.0 or top_k == 1:
        return int(np.argmax(logits))
    ids = _largest(logits, top_k)
    values = logits[ids].astype(np.float64)
    if top_p < 1.0:
        reached = np.cumsum(_softmax(values))
        kept = int(np.searchsorted(reached, top_p)) + 1
        ids, values = ids[:kept], values[:kept]
    cumulative = np.cumsum(_softmax(values / temperature))
    # The sum may end a rounding error below 1.
    chosen = min(int(np.searchsorted(cumulative, uniform, side="right")), len(ids) - 1)
    return int(ids[chosen])


def _largest(logits: FloatArray, count: int) -> npt.NDArray[np.int64]:
    """Ids of the `count` largest logits (0 = all), the largest first, the lowest id first among equals."""
    ids = np.arange(len(logits))
    if 0 < count < len(logits):
        least = np.partition(logits, len(logits) - count)[len(logits) - count]
        ids = np.flatnonzero(logits >= least)
    return ids[np.argsort(-logits[ids], kind="stable")][: count or None]


def _softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities of sorted logits: (n,), the largest first."""
    weights = np.exp(values - values[0])
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities
