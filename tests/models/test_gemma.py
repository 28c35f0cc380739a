"""The second real model, of another family, vocabulary and mix of quantisations, is what llama.cpp says it is."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.engine import Engine
from models.gguf import GgufFile
from models.graph import convert
from models.tokenizer import Tokenizer
from tests.models.llama_cpp import LlamaCpp
from tests.models.perplexity import perplexity, predictions
from tests.models.test_quality import TEXTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WINDOW = 640  # longer than what layers with a window see
MAX_PERPLEXITY_DIFFERENCE = 0.01
MIN_TOP1_AGREEMENT = 0.95
MIN_TOKENS = 3000


@pytest.fixture(scope="module")
def llama_cpp(gemma_gguf: Path) -> Iterator[LlamaCpp]:
    """Run llama.cpp on the same file."""
    with LlamaCpp(gemma_gguf, context_tokens=1024) as server:
        yield server


@pytest.fixture(scope="module")
def tokenizer(gemma_gguf: Path) -> Tokenizer:
    """Build its tokenizer."""
    with GgufFile.open(gemma_gguf) as gguf:
        return Tokenizer.from_gguf(gguf)


def test_ids_are_llama_cpps(llama_cpp: LlamaCpp, tokenizer: Tokenizer) -> None:
    """Every script is cut into the same tokens, and comes back whole."""
    count = 0
    for text in TEXTS.values():
        for special in (False, True):
            ids = tokenizer.encode(text, special=special)
            assert llama_cpp.tokenize(text, special=special) == ids
            count += len(ids)
        assert text == tokenizer.decode(tokenizer.encode(text, special=False))
    assert count >= MIN_TOKENS


def test_logits_are_llama_cpps(gemma_gguf: Path, llama_cpp: LlamaCpp, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """The same perplexity and the same favourites, beyond the windows of its layers too."""
    ids = tokenizer.encode_text(TEXTS["prose"])[:WINDOW]
    convert(gemma_gguf, tmp_path / "graph")
    found = predictions(Engine(tmp_path / "graph", threads=2, context_tokens=WINDOW), ids)
    expected = llama_cpp.predictions(ids)
    agreement = np.mean([one.favourite == other.favourite for one, other in zip(expected, found, strict=True)])
    assert len(ids) == WINDOW
    assert pytest.approx(perplexity(expected), rel=MAX_PERPLEXITY_DIFFERENCE) == perplexity(found)
    assert agreement >= MIN_TOP1_AGREEMENT
