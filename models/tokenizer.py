"""Text to token ids and back, from a GGUF's own vocabulary.

Ids are those of llama.cpp.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Self

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as WordPieces

from models.core.sentence_piece import pieces
from models.gguf import GgufFile
from models.vocabulary import PATTERNS, SPACE, WHOLE_WORDS_FIRST, Vocabulary

# Signs of the Phaistos disc, which no other text is written in.  They are printable: a template that prints a list or
# an object as Python writes it leaves them as they are.
QUOTE_OPEN, QUOTE_CLOSE = "\U000101d0", "\U000101d1"


class Tokenizer:
    """A GGUF's vocabulary at work."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._words: _ByteLevel | _SentencePieces = (
            _ByteLevel(vocabulary) if vocabulary.is_byte_level else _SentencePieces(vocabulary)
        )
        self._vocabulary = replace(vocabulary, merges=())  # the library has its own: these would be ten megabytes more
        self._bytes_of: dict[int, bytes] = {}
        self.eos_ids = vocabulary.end_ids
        self.bos_token = "" if vocabulary.bos_id is None else vocabulary.tokens[vocabulary.bos_id]
        self.eos_token = "" if vocabulary.eos_id is None else vocabulary.tokens[vocabulary.eos_id]

    @classmethod
    def from_gguf(cls, gguf: GgufFile) -> Self:
        """Build the tokenizer a model was trained with; CorruptModelError, UnsupportedModelError."""
        return cls(Vocabulary.from_gguf(gguf))

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self._vocabulary.tokens)

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Cut text into ids; with `special`, names of control tokens outside `quote` become those tokens."""
        ids: list[int] = []
        quoted = False
        for stretch in re.split(f"([{QUOTE_OPEN}{QUOTE_CLOSE}])", text):
            if stretch in (QUOTE_OPEN, QUOTE_CLOSE):
                quoted = stretch == QUOTE_OPEN  # not counted: a template may cut one of a pair off
                continue
            if stretch:
                ids += self._words.encode(stretch, special=special and not quoted, begins=not ids)
        return ids

    def encode_prompt(self, prompt: str) -> list[int]:
        """Encode a rendered chat template, begun with the token that the model wants first."""
        return self._begun(self.encode(prompt, special=True))

    def encode_text(self, text: str) -> list[int]:
        """Encode a text to complete, begun with the token that the model wants first; it holds no control tokens."""
        return self._begun(self.encode(_without_marks(text), special=False))

    def _begun(self, ids: list[int]) -> list[int]:
        bos = self._vocabulary.bos_id
        if self._vocabulary.add_bos and bos is not None and ids[:1] != [bos]:
            return [bos, *ids]
        return ids

    def quote(self, text: str) -> str:
        """Mark names of control tokens in a person's words, so that `encode` reads them as words."""
        plain = _without_marks(text)
        return self._control_names.sub(rf"{QUOTE_OPEN}\g<0>{QUOTE_CLOSE}", plain) if self._vocabulary.control else plain

    def decode(self, ids: Iterable[int]) -> str:
        """Give the text of ids; control tokens have none, broken UTF-8 becomes U+FFFD."""
        return b"".join(map(self._bytes, ids)).decode(errors="replace")

    def spelling(self, token: int) -> bytes:
        """Bytes of a token as a person sees it: a control token's are its name."""
        return self._bytes(token) or self._vocabulary.tokens[token].encode()

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids of the control tokens."""
        return self._vocabulary.control

    def stream(self) -> "TokenStream":
        """Begin decoding one id at a time."""
        return TokenStream(self)

    @cached_property
    def _control_names(self) -> re.Pattern[str]:
        names = sorted((self._vocabulary.tokens[index] for index in self._vocabulary.control), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, filter(None, names))))

    def _bytes(self, token: int) -> bytes:
        """Bytes a token stands for."""
        known = self._bytes_of.get(token)
        if known is None:
            known = self._bytes_of[token] = self._spell(token)
        return known

    def _spell(self, token: int) -> bytes:
        text = self._vocabulary.tokens[token]
        if token in self._vocabulary.control:
            return b""
        if token in self._vocabulary.byte_of:
            return bytes([self._vocabulary.byte_of[token]])
        if token in self._vocabulary.user_defined:
            return text.encode()
        if not self._vocabulary.is_byte_level:
            return text.replace(SPACE, " ").encode()
        if not all(letter in BYTE_OF_LETTER for letter in text):
            return text.encode()
        return bytes(BYTE_OF_LETTER[letter] for letter in text)


class TokenStream:
    """Decodes ids one by one; a character whose bytes come in several tokens is given out when it is whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token: int) -> str:
        """Take the next id; return the text it completes."""
        return self._decoder.decode(self._tokenizer._bytes(token))  # noqa: SLF001  one unit with Tokenizer

    def finish(self) -> str:
        """Return U+FFFD where the ids ended within a character, else nothing."""
        return self._decoder.decode(b"", final=True)


def _without_marks(text: str) -> str:
    return re.sub(f"[{QUOTE_OPEN}{QUOTE_CLOSE}]", "\ufffd", text)


def _byte_letters() -> dict[str, int]:
    """Map the letters that byte-level vocabularies write for bytes to the bytes.  Source: GPT-2's bytes_to_unicode."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


BYTE_OF_LETTER: Mapping[str, int] = MappingProxyType(_byte_letters())


class _ByteLevel:
    """The library's byte-level BPE."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._bpe = WordPieces(
            models.BPE(
                vocab={token: index for index, token in enumerate(vocabulary.tokens)},
                merges=list(vocabulary.merges),
                ignore_merges=vocabulary.pre_tokenizer in WHOLE_WORDS_FIRST,
            )
        )
        patterns = PATTERNS[vocabulary.pre_tokenizer] if vocabulary.pre_tokenizer is not None else ()
        splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
        letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        self._bpe.pre_tokenizer = pre_tokenizers.Sequence([*splits, letters])
        self._bpe.decoder = decoders.ByteLevel()
        _add_names(self._bpe, vocabulary)

    def encode(self, text: str, *, special: bool, begins: bool) -> list[int]:  # noqa: ARG002  it matters to the other kind
        """Cut text into ids; with `special`, names of control tokens are those tokens."""
        # The library calls it so: encode special tokens as if they were text.
        self._bpe.encode_special_tokens = not special
        ids: list[int] = self._bpe.encode(text, add_special_tokens=False).ids
        return ids


class _SentencePieces:
    """SentencePiece over a vocabulary's scores: as merges they would be half a million pairs, and 150 MB.

    The library finds names in the text, which are all that its own vocabulary holds.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._names = WordPieces(models.WordLevel(vocab={"": 0}, unk_token=""))
        _add_names(self._names, vocabulary)
        names = vocabulary.control | vocabulary.user_defined
        self._tokens = {vocabulary.tokens[index]: index for index in names}
        not_text = names | vocabulary.byte_of.keys()
        self._ids = {token: index for index, token in enumerate(vocabulary.tokens) if index not in not_text}
        self._scores = vocabulary.scores
        self._bytes = {byte: index for index, byte in vocabulary.byte_of.items()}
        self._space_first = vocabulary.space_first

    def encode(self, text: str, *, special: bool, begins: bool) -> list[int]:
        """As the other kind; begins: whether no text stands before this."""
        self._names.encode_special_tokens = not special
        found = self._names.encode(text, add_special_tokens=False)
        ids: list[int] = []
        for kind, (start, stop) in zip(found.ids, found.offsets, strict=True):
            stretch = text[start:stop]
            if kind:
                ids.append(self._tokens[stretch])
            else:
                ids += self._cut(stretch, begins=begins)
            begins = kind != 0
        return ids

    def _cut(self, text: str, *, begins: bool) -> Iterator[int]:
        written = text.replace(" ", SPACE)
        if begins and self._space_first:
            written = SPACE + written
        for piece in pieces(written, self._ids, self._scores):
            token = self._ids.get(piece)
            if token is not None:
                yield token
            else:
                yield from (self._bytes[byte] for byte in piece.encode())


def _add_names(library: WordPieces, vocabulary: Vocabulary) -> None:
    """Have the names of control tokens, and a vocabulary's own words, taken whole."""
    for ids, special in ((vocabulary.control, True), (vocabulary.user_defined, False)):
        added = [AddedToken(vocabulary.tokens[index], special=special, normalized=False) for index in sorted(ids)]
        library.add_tokens([token for token in added if token.content])
