"""Twelve words stand for one key, and a slip of the pen is found."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.paper import ENTROPY_BYTES, WORD_COUNT, seed_of_paper, write_paper
from mesh.errors import WrongPaperError
from mesh.offers import wordlist

WORDS = wordlist()


@given(st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES))
def test_what_is_written_down_is_read_again(entropy: bytes) -> None:
    """In capitals, with hyphens, with line breaks; the seed is a hash of what was drawn."""
    words = write_paper(entropy, WORDS)
    seed = hashlib.blake2b(b"hearthmesh/recovery/1\0", key=entropy, digest_size=32).digest()
    assert len(words.split()) == WORD_COUNT
    assert {seed_of_paper(text, WORDS) for text in (words, words.upper(), words.replace(" ", "-\n"))} == {seed}


@pytest.mark.parametrize(
    ("entropy", "words"),
    [
        (bytes(16), "abandon " * 11 + "about"),
        (b"\x7f" * 16, "legal winner thank year wave sausage worth useful legal winner thank yellow"),
        (b"\xff" * 16, "zoo " * 11 + "wrong"),
    ],
)
def test_the_words_are_those_of_bip_39(entropy: bytes, words: str) -> None:
    """Its published vectors of 128 bits."""
    assert write_paper(entropy, WORDS) == words.strip()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 words"),
        ("abandon " * 11, "11 words"),
        ("abandon " * 12, "another"),
        ("abandon " * 10 + "about abandon", "another"),
        ("hearth " * 12, "'hearth' is not a word"),
        ("x" * 5000, "is not a word"),
    ],
)
def test_what_is_on_no_paper_is_refused(text: str, said: str) -> None:
    """By what is wrong with it."""
    with pytest.raises(WrongPaperError, match=said):
        seed_of_paper(text, WORDS)
