"""The text that conversions measure a model on: our own words of many kinds, none of which judges quality."""

from pathlib import Path
from typing import Final

from models.tokenizer import Tokenizer

MAX_CALIBRATION_TOKENS: Final = 4096  # a vocabulary of bytes would make 9,000 of the text
_FILE: Final = Path(__file__).with_name("calibration.txt")


def calibration_ids(tokenizer: Tokenizer, *, most: int = MAX_CALIBRATION_TOKENS) -> list[int]:
    """Cut the text into the ids of a model: `most` at most, begun with the token that the model wants first.

    No other control token can come from it: the names of control tokens would be read as words.
    """
    return tokenizer.encode_text(_FILE.read_text(encoding="utf-8"))[:most]
