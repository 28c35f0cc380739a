"""What a graph thinks of a text."""

import numpy as np

from models.engine import Engine
from tests.models.llama_cpp import Prediction


def predictions(engine: Engine, ids: list[int]) -> list[Prediction]:
    """Tell what the graph thinks of each token after the first."""
    found: list[Prediction] = []
    for logits, token in zip(engine.logits_for(ids[:-1]), ids[1:], strict=True):
        wide = logits.astype(np.float64)
        total = np.log(np.exp(wide - wide.max()).sum()) + wide.max()
        found.append(Prediction(favourite=int(wide.argmax()), logprob=float(wide[token] - total)))
    return found


def perplexity(found: list[Prediction]) -> float:
    """Of a text, by how likely each of its tokens was."""
    return float(np.exp(-np.mean([prediction.logprob for prediction in found])))
