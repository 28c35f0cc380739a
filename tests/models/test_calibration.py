"""The text that models are measured on is varied, bounded, and no text that judges them."""

from pathlib import Path

import pytest

from models import calibration
from models.calibration import MAX_CALIBRATION_TOKENS, calibration_ids
from models.gguf import GgufFile
from models.tokenizer import Tokenizer
from tests.models.test_quality import PROSE
from tests.models.tiny import TinyModel, write_tiny

TEXT = Path(calibration.__file__).with_name("calibration.txt")
BEGINNING = {"tokenizer.ggml.add_bos_token": True}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    """Build a vocabulary of bytes that wants a token in front of every text."""
    with GgufFile.open(write_tiny(tmp_path / "tiny.gguf", TinyModel(layers=1), BEGINNING)) as gguf:
        return Tokenizer.from_gguf(gguf)


def test_the_number_of_tokens_is_bounded(tokenizer: Tokenizer) -> None:
    """However small the pieces of a vocabulary are, and as low as the caller wants it."""
    assert len(calibration_ids(tokenizer)) == MAX_CALIBRATION_TOKENS
    assert calibration_ids(tokenizer)[:100] == calibration_ids(tokenizer, most=100)


def test_only_the_first_token_is_a_control_token(tokenizer: Tokenizer) -> None:
    """What the model wants in front, and words behind it."""
    first, *others = calibration_ids(tokenizer)
    assert first in tokenizer.control_ids
    assert not tokenizer.control_ids & set(others)


def test_the_texts_that_judge_are_others() -> None:
    """No eight words in a row stand in both."""
    measured, judged = (_runs(path.read_text(encoding="utf-8")) for path in (TEXT, PROSE))
    assert not judged & measured


def _runs(text: str, length: int = 8) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}
