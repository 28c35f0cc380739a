"""Text to token ids and back, from a GGUF's own vocabulary.

Ids are those of llama.cpp. A vocabulary names the way it cuts text into words (`tokenizer.ggml.pre`); the patterns
are llama.cpp's (llama-vocab.cpp), and a name not in the table is refused: nearly right ids give nearly sane answers.
"""

import codecs
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Self

import numpy as np
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as WordPieces

from models.errors import CorruptModelError, UnsupportedModelError
from models.gguf import GgufFile, MetadataValue

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_SINGLE_DIGITS = r"\p{N}"

PATTERNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gpt-2": (_GPT2,),
        "smollm": (_SINGLE_DIGITS, _GPT2),
        "starcoder": (_SINGLE_DIGITS, _GPT2),
        "refact": (_SINGLE_DIGITS, _GPT2),
        "llama-bpe": (_LLAMA3,),
        "llama3": (_LLAMA3,),
        "llama-v3": (_LLAMA3,),
        "qwen2": (_QWEN2,),
        "deepseek-r1-qwen": (_QWEN2,),
    }
)
WHOLE_WORDS_FIRST = frozenset({"llama-bpe", "llama3", "llama-v3"})  # a word in the vocabulary needs no merges
# Names under which vocabularies keep tokens that end an answer, whatever their metadata say.
END_NAMES = frozenset({"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "</s>"})
CONTROL, USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type
# Signs of the Phaistos disc, which no other text is written in.  They are printable: a template that prints a list or
# an object as Python writes it leaves them as they are.
QUOTE_OPEN, QUOTE_CLOSE = "\U000101d0", "\U000101d1"


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What a GGUF says about its tokens, checked."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    control: frozenset[int]
    user_defined: frozenset[int]
    pre_tokenizer: str
    bos_id: int | None
    eos_id: int | None
    end_ids: frozenset[int]
    add_bos: bool

    @classmethod
    def from_gguf(cls, gguf: GgufFile) -> Self:
        """Parse the tokenizer's metadata; CorruptModelError, UnsupportedModelError."""
        metadata = gguf.metadata
        _require_supported(metadata)
        pre_tokenizer = str(metadata["tokenizer.ggml.pre"])
        tokens = _strings(metadata, "tokenizer.ggml.tokens")
        known = {token: token for token in tokens}
        if len(known) != len(tokens):
            raise CorruptModelError("the vocabulary holds a token twice")
        control, user_defined = (_ids_of_type(metadata, len(tokens), kind) for kind in (CONTROL, USER_DEFINED))
        bos, eos = (_token_id(metadata, f"tokenizer.ggml.{name}_token_id", len(tokens)) for name in ("bos", "eos"))
        also_end = (_token_id(metadata, f"tokenizer.ggml.{name}_token_id", len(tokens)) for name in ("eot", "eom"))
        named_end = (index for index in control if tokens[index] in END_NAMES)
        return cls(
            tokens=tokens,
            merges=_merges(_strings(metadata, "tokenizer.ggml.merges"), known),
            control=control,
            user_defined=user_defined,
            pre_tokenizer=pre_tokenizer,
            bos_id=bos,
            eos_id=eos,
            end_ids=frozenset(index for index in (eos, *also_end, *named_end) if index is not None),
            add_bos=metadata.get("tokenizer.ggml.add_bos_token", pre_tokenizer in WHOLE_WORDS_FIRST) is True,
        )


class Tokenizer:
    """Byte-level BPE over a GGUF's vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._bpe = _byte_level_bpe(vocabulary)
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
            # The library calls it so: encode special tokens as if they were text.
            self._bpe.encode_special_tokens = not special or quoted
            ids += self._bpe.encode(stretch, add_special_tokens=False).ids
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
        if token in self._vocabulary.user_defined or not all(letter in BYTE_OF_LETTER for letter in text):
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


def _byte_level_bpe(vocabulary: Vocabulary) -> WordPieces:
    bpe = WordPieces(
        models.BPE(
            vocab={token: index for index, token in enumerate(vocabulary.tokens)},
            merges=list(vocabulary.merges),
            ignore_merges=vocabulary.pre_tokenizer in WHOLE_WORDS_FIRST,
        )
    )
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PATTERNS[vocabulary.pre_tokenizer]]
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([*splits, letters])
    bpe.decoder = decoders.ByteLevel()
    for ids, special in ((vocabulary.control, True), (vocabulary.user_defined, False)):
        added = [AddedToken(vocabulary.tokens[index], special=special, normalized=False) for index in sorted(ids)]
        bpe.add_tokens([token for token in added if token.content])
    return bpe


def _require_supported(metadata: Mapping[str, MetadataValue]) -> None:
    family, pre_tokenizer = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if not isinstance(family, str) or family != "gpt2":
        raise UnsupportedModelError(
            f"tokenizer {str(family)[:80]!r} is not supported; supported: gpt2 (byte-level BPE)"
        )
    if not isinstance(pre_tokenizer, str) or pre_tokenizer not in PATTERNS:
        raise UnsupportedModelError(
            f"pre-tokenizer {str(pre_tokenizer)[:80]!r} is not supported; supported: {', '.join(sorted(PATTERNS))}"
        )


def _strings(metadata: Mapping[str, MetadataValue], key: str) -> tuple[str, ...]:
    value = metadata.get(key)
    if not isinstance(value, tuple) or not value:
        raise CorruptModelError(f"{key} is not a list of strings")
    return value


def _merges(lines: tuple[str, ...], known: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Cut each line into the two tokens that it joins, the very strings of the vocabulary: no copies of them."""
    merges: list[tuple[str, str]] = []
    for line in lines:
        left, _, right = line.partition(" ")
        if left not in known or right not in known or left + right not in known:
            raise CorruptModelError(f"the merge {line[:80]!r} is not of tokens in the vocabulary")
        merges.append((known[left], known[right]))
    return tuple(merges)


def _ids_of_type(metadata: Mapping[str, MetadataValue], size: int, kind: int) -> frozenset[int]:
    types = metadata.get("tokenizer.ggml.token_type")
    if types is None:
        return frozenset()
    if not isinstance(types, np.ndarray) or len(types) != size:
        raise CorruptModelError("tokenizer.ggml.token_type does not fit the vocabulary")
    return frozenset(map(int, np.flatnonzero(types == kind)))


def _token_id(metadata: Mapping[str, MetadataValue], key: str, size: int) -> int | None:
    value = metadata.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value < size:
        raise CorruptModelError(f"{key} is {str(value)[:80]}, the vocabulary has {size} tokens")
    return value
