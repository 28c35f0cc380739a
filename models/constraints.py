"""Constrained decoding: which tokens an answer may go on with so that it fits a grammar.

The only module that touches llguidance; it is loaded when a request first asks for it (some 30 MB for a vocabulary of
49,152 tokens).  Docs: docs/adr/0010-constrained-decoding.md.
"""

from typing import Final

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from models.core.sampling import Allowed
from models.errors import InvalidRequestError
from models.tokenizer import Tokenizer

MAX_GRAMMAR_CHARACTERS: Final = 192 * 1024  # the largest schema with all that is added to it; tools have no more
MAX_REASON_CHARACTERS: Final = 300
# What a hostile schema may cost: some 50 ms and 20 MB to compile, some 15 ms for a token.
LIMITS: Final = LLParserLimits(
    max_items_in_row=2000,
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=20_000,
    max_grammar_size=100_000,
    precompute_large_lexemes=False,
    verbose_errors=False,
)
_DEAD_END: Final = ("", "NoExtension", "NoExtensionBias")  # what it says where nothing can follow
_SCHEMA_ERROR: Final = "failed to compile JSON schema: "


class Constraints:
    """Makes matchers for one vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._size = tokenizer.size
        vocabulary = _Vocabulary(tokenizer)
        self._tokenizer = LLTokenizer(TokenizerWrapper(vocabulary), eos_token=vocabulary.eos_token_ids)

    def matcher(self, grammar: str, *, of: str) -> "Matcher":
        """Compile a grammar (models/core/grammars.py).  of: the part of the request that an error is to name.

        Raises InvalidRequestError for a grammar that is refused, takes too long, or that no answer can fit.
        """
        if len(grammar) > MAX_GRAMMAR_CHARACTERS:
            raise InvalidRequestError(f"{of}: too large to be followed")
        lark = LLMatcher.grammar_from_lark(grammar)
        matcher = Matcher(LLMatcher(self._tokenizer, lark, log_level=0, limits=LIMITS), self._size, of)
        matcher.allowed()  # what cannot even begin shows at once
        return matcher


class Matcher:
    """One answer as it grows."""

    def __init__(self, matcher: LLMatcher, size: int, of: str) -> None:
        self._matcher = matcher
        self._size = size
        self._of = of

    @property
    def ended(self) -> bool:
        """Whether the answer is complete and nothing can follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> Allowed:
        """Tell which tokens may come next: (vocabulary,); one that ends answers only where the answer is complete.

        Raises InvalidRequestError where the answer is not complete and nothing can come, or finding out takes too long.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        mask = np.unpackbits(bits, count=self._size, bitorder="little").view(np.bool_)
        if self._matcher.is_error() or not (mask.any() or self._matcher.is_accepting()):
            raise self._error()
        return mask

    def add(self, token: int) -> bool:
        """Take a token of the answer; False if it does not fit.  Raises InvalidRequestError if that takes too long."""
        taken = bool(self._matcher.try_consume_tokens([token]))
        if not taken and self._matcher.is_error():
            raise self._error()
        return taken

    def _error(self) -> InvalidRequestError:
        return InvalidRequestError(f"{self._of}: {_reason(self._matcher.get_error())}")


class _Vocabulary:
    """A tokenizer as llguidance wants it.

    It must have a token that ends answers: a model without one gets one beyond its vocabulary, which is never chosen.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_ids = sorted(tokenizer.eos_ids) or [tokenizer.size]
        self.eos_token_id = self.eos_token_ids[0]
        self.bos_token_id = None
        self.tokens = [*(tokenizer.spelling(token) for token in range(tokenizer.size)), b"<end>"]
        self.special_token_ids = [*sorted(tokenizer.control_ids), tokenizer.size]
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> list[int]:
        """Cut text as the model does: what a grammar forces comes in the tokens that the model knows it by."""
        return self._tokenizer.encode(text.decode(errors="replace"), special=False)


def _reason(error: str) -> str:
    """What the compiler complains of, without the grammar that it quotes."""
    found = error.partition(_SCHEMA_ERROR)[2] or error
    line = found.strip().partition("\n")[0]
    return "no answer can fit it" if line in _DEAD_END else line[:MAX_REASON_CHARACTERS]
