"""The key on a voter's paper: twelve words of the BIP-39 list, which a person writes down and nobody stores.

The words hold 128 random bits and four of their SHA-256, as BIP-39 has it, so that a slip of the pen is found.  The
seed of the Ed25519 key is BLAKE2b-256 of "hearthmesh/recovery/1" and a zero byte, keyed with the bits.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from mesh.errors import WrongPaperError

ENTROPY_BYTES: Final = 16
WORD_COUNT: Final = 12
_CHECK_BITS: Final = 4
_WORD_BITS: Final = 11
_PURPOSE: Final = b"hearthmesh/recovery/1\0"


def write_paper(entropy: bytes, wordlist: Sequence[str]) -> str:
    """Write 16 random bytes as twelve of 2048 words."""
    number = int.from_bytes(entropy, "big") << _CHECK_BITS | _check(entropy)
    places = range(WORD_COUNT - 1, -1, -1)
    return " ".join(wordlist[(number >> (_WORD_BITS * place)) & 0x7FF] for place in places)


def seed_of_paper(text: str, wordlist: Sequence[str]) -> bytes:
    """Return the seed of the key that these words stand for.  Errors: WrongPaperError, which names a wrong word."""
    words = text.lower().replace("-", " ").split()
    places = {word: place for place, word in enumerate(wordlist)}
    wrong = [word for word in words if word not in places]
    if wrong:
        raise WrongPaperError(f"{wrong[0][:20]!r} is not a word of the list")
    if len(words) != WORD_COUNT:
        raise WrongPaperError(f"{len(words)} words where {WORD_COUNT} are needed")
    number = 0
    for word in words:
        number = number << _WORD_BITS | places[word]
    entropy = (number >> _CHECK_BITS).to_bytes(ENTROPY_BYTES, "big")
    if number & ((1 << _CHECK_BITS) - 1) != _check(entropy):
        raise WrongPaperError("one of the words is another, or stands elsewhere, than on the paper")
    return hashlib.blake2b(_PURPOSE, key=entropy, digest_size=32).digest()


def _check(entropy: bytes) -> int:
    return hashlib.sha256(entropy).digest()[0] >> (8 - _CHECK_BITS)
