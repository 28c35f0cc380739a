"""What a graph thinks of a text, and llama.cpp."""

from pathlib import Path

import numpy as np

from models.engine import Engine
from models.graph import convert
from tests.models.llama_cpp import LlamaCpp, Prediction


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


def furthest_from_llama_cpp(gguf: Path, graph: Path, ids: list[int]) -> float:
    """Convert a small model, and give the most by which the two differ on a token of a text, in nats."""
    convert(gguf, graph)
    ours = predictions(Engine(graph, threads=1, context_tokens=64), ids)
    with LlamaCpp(gguf, context_tokens=128) as llama_cpp:
        theirs = llama_cpp.predictions(ids)
    return max(abs(one.logprob - other.logprob) for one, other in zip(ours, theirs, strict=True))
