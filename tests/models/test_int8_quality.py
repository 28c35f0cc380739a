"""On the real model the int8 form is nearly as good as the exact one, and a prompt read by it costs next to nothing.

Judged on our own prose by a float32 computation of the same weights.  Where the int8 form saturates, and no board
profile uses it, its figures are printed and nothing is asked of them.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.core.board_profile import BoardProfile
from models.engine import Engine
from models.gguf import GgufFile
from models.graph import convert
from models.prefill import OPEN_TOKENS
from models.tokenizer import Tokenizer
from tests.models.int8_error import SATURATES
from tests.models.reference import reference_logits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROSE = Path(__file__).parent / "text" / "prose.txt"
WINDOW = 512
READ = WINDOW // 2  # tokens of a window that are the prompt
MIN_PREDICTIONS = 2000
LEAST_AGREEMENT = 0.9
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """Tokens, and the float32 logits after each but the last."""

    ids: list[int]
    logits: Logits


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well a form predicts, and how often its first choice is the float32 computation's."""

    perplexity: float
    agreement: float


@pytest.fixture(scope="module")
def windows(smollm2_gguf: Path) -> list[Window]:
    """Cut the prose, and compute what is to be found."""
    with GgufFile.open(smollm2_gguf) as gguf:
        ids = Tokenizer.from_gguf(gguf).encode_text(PROSE.read_text(encoding="utf-8"))
    cut = [ids[start : start + WINDOW] for start in range(0, len(ids), WINDOW)]
    return [Window(part, reference_logits(smollm2_gguf, part[:-1])) for part in cut if len(part) > READ + OPEN_TOKENS]


def _quality(name: str, windows: list[Window], logits_of: Callable[[Window], Logits]) -> Quality:
    """Judge the last logits that are given for each window."""
    logprobs, agreed = [], []
    for window in windows:
        logits = logits_of(window).astype(np.float64)
        targets = window.ids[-len(logits) :]
        totals = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
        logprobs.extend(logits[np.arange(len(logits)), targets] - totals)
        agreed.extend(logits.argmax(1) == window.logits[-len(logits) :].argmax(1))
    found = Quality(perplexity=float(np.exp(-np.mean(logprobs))), agreement=float(np.mean(agreed)))
    sys.stdout.write(f"{name}, {len(agreed)} predictions: perplexity {found.perplexity:.3f}, ")
    sys.stdout.write(f"first choice of float32 {found.agreement:.2%}\n")
    return found


def _engine(gguf: Path, folder: Path, forms: str) -> Engine:
    convert(gguf, folder / forms, profile=BoardProfile.parse(forms))
    return Engine(folder / forms, threads=2, context_tokens=WINDOW)


def test_answers_to_prompts_read_by_the_int8_form(smollm2_gguf: Path, windows: list[Window], tmp_path: Path) -> None:
    """After a prompt through the one form or the other, the exact form predicts the rest equally well."""

    def quality(engine: Engine, name: str) -> Quality:
        def logits_of(window: Window) -> Logits:
            engine.append(0, 0, window.ids[:READ])
            return engine.logits_for(window.ids[READ:-1], start=READ)

        return _quality(name, windows, logits_of)

    exact = quality(_engine(smollm2_gguf, tmp_path, "exact/exact"), "prompts and answers in the exact form")
    int8 = quality(_engine(smollm2_gguf, tmp_path, "exact/int8"), "prompts in the int8 form")
    assert exact.agreement > LEAST_AGREEMENT
    if not SATURATES:
        assert pytest.approx(exact.perplexity, rel=0.005) == int8.perplexity
        assert int8.agreement > exact.agreement - 0.03


def test_the_int8_form_alone(smollm2_gguf: Path, windows: list[Window], tmp_path: Path) -> None:
    """Boards without dot products use nothing else: every token's logits are judged."""

    def quality(engine: Engine, name: str) -> Quality:
        return _quality(name, windows, lambda window: engine.logits_for(window.ids[:-1]))

    float32 = _quality("float32", windows, lambda window: window.logits)
    exact = quality(_engine(smollm2_gguf, tmp_path, "exact/exact"), "the exact form")
    int8 = quality(_engine(smollm2_gguf, tmp_path, "int8/int8"), "the int8 form")
    assert sum(len(window.logits) for window in windows) >= MIN_PREDICTIONS
    assert exact.agreement > LEAST_AGREEMENT
    if not SATURATES:
        assert pytest.approx(float32.perplexity, rel=0.015) == int8.perplexity
        assert pytest.approx(exact.perplexity, rel=0.01) == int8.perplexity
        assert int8.agreement > exact.agreement - 0.03
