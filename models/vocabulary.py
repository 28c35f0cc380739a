"""What a GGUF says about its tokens, checked.

Vocabularies are of two kinds.  Byte-level BPE (`gpt2`) writes bytes as letters, lists its merges in the order in which
they apply, and names the way it cuts text into words (`tokenizer.ggml.pre`); a name not in the table is refused: nearly
right ids give nearly sane answers.  SentencePiece (`llama`) writes a space as U+2581, gives each token a score, and has
a token for each byte besides.  Source: llama.cpp, llama-vocab.cpp.
"""

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from models.errors import CorruptModelError, UnsupportedModelError
from models.gguf import GgufFile, MetadataValue

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_SINGLE_DIGITS = r"\p{N}"
_NOT_SMALL, _NOT_CAPITAL = r"((?=[\p{L}])([^a-z]))", r"((?=[\p{L}])([^A-Z]))"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_NOT_SMALL}*{_NOT_CAPITAL}+|[^\r\n\p{{L}}\p{{N}}]?{_NOT_SMALL}+{_NOT_CAPITAL}*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PATTERNS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "gpt-2": (_GPT2,),
        "smollm": (_SINGLE_DIGITS, _GPT2),
        "starcoder": (_SINGLE_DIGITS, _GPT2),
        "refact": (_SINGLE_DIGITS, _GPT2),
        "llama-bpe": (_LLAMA3,),
        "llama3": (_LLAMA3,),
        "llama-v3": (_LLAMA3,),
        "smaug-bpe": (_LLAMA3,),
        "dbrx": (_LLAMA3,),
        "tekken": (_TEKKEN,),
        "qwen2": (_QWEN2,),
        "stablelm2": (_QWEN2,),
        "megrez": (_QWEN2,),
        "deepseek-r1-qwen": (_QWEN2,),
    }
)
WHOLE_WORDS_FIRST: Final = frozenset(
    {"llama-bpe", "llama3", "llama-v3", "tekken"}
)  # a word in the vocabulary needs no merges
BYTE_LEVEL, SENTENCE_PIECE = "gpt2", "llama"  # tokenizer.ggml.model
SPACE: Final = "\u2581"  # as SentencePiece writes it
# Names under which vocabularies keep tokens that end an answer, whatever their metadata say.
END_NAMES: Final = frozenset(
    {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "</s>"}
)
UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6  # of tokenizer.ggml.token_type
_BYTE_NAME: Final = re.compile(r"<0x([0-9A-F]{2})>", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The tokens of a model.

    merges: pairs of tokens that become one, the first to apply first (byte-level BPE); scores: of each token, the
    highest to be made first, and byte_of: what each byte token stands for (SentencePiece); pre_tokenizer: of byte-level
    BPE, else None; space_first: whether a text begins with a space that nobody wrote.
    """

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    scores: Sequence[float]
    control: frozenset[int]
    user_defined: frozenset[int]
    byte_of: Mapping[int, int]
    pre_tokenizer: str | None
    bos_id: int | None
    eos_id: int | None
    end_ids: frozenset[int]
    add_bos: bool
    space_first: bool

    @property
    def is_byte_level(self) -> bool:
        """Whether tokens are bytes written as letters."""
        return self.pre_tokenizer is not None

    @classmethod
    def from_gguf(cls, gguf: GgufFile) -> Self:
        """Parse the tokenizer's metadata; CorruptModelError, UnsupportedModelError."""
        metadata = gguf.metadata
        pre_tokenizer = _pre_tokenizer(metadata)
        tokens = _strings(metadata, "tokenizer.ggml.tokens")
        known = {token: token for token in tokens}
        if len(known) != len(tokens):
            raise CorruptModelError("the vocabulary holds a token twice")
        types = _types(metadata, len(tokens))
        control, user_defined = _of_type(types, CONTROL), _of_type(types, USER_DEFINED)
        byte_of: dict[int, int] = {}
        merges: tuple[tuple[str, str], ...] = ()
        scores: Sequence[float] = ()
        if pre_tokenizer is None:
            control |= _of_type(types, UNKNOWN)  # it has no text either
            byte_of = _bytes(tokens, _of_type(types, BYTE))
            scores = _scores(metadata, len(tokens))
        else:
            merges = _merges(_strings(metadata, "tokenizer.ggml.merges"), known)
        bos, eos = (_token_id(metadata, f"tokenizer.ggml.{name}_token_id", len(tokens)) for name in ("bos", "eos"))
        also_end = (_token_id(metadata, f"tokenizer.ggml.{name}_token_id", len(tokens)) for name in ("eot", "eom"))
        named_end = (index for index in control if tokens[index] in END_NAMES)
        begins = pre_tokenizer is None or pre_tokenizer in WHOLE_WORDS_FIRST
        return cls(
            tokens=tokens,
            merges=merges,
            scores=scores,
            control=control,
            user_defined=user_defined,
            byte_of=MappingProxyType(byte_of),
            pre_tokenizer=pre_tokenizer,
            bos_id=bos,
            eos_id=eos,
            end_ids=frozenset(index for index in (eos, *also_end, *named_end) if index is not None),
            add_bos=metadata.get("tokenizer.ggml.add_bos_token", begins) is True,
            space_first=pre_tokenizer is None and metadata.get("tokenizer.ggml.add_space_prefix", True) is True,
        )


def _pre_tokenizer(metadata: Mapping[str, MetadataValue]) -> str | None:
    family, pre_tokenizer = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if not isinstance(family, str) or family not in (BYTE_LEVEL, SENTENCE_PIECE):
        raise UnsupportedModelError(
            f"tokenizer {str(family)[:80]!r} is not supported; supported: {BYTE_LEVEL} (byte-level BPE),"
            f" {SENTENCE_PIECE} (SentencePiece)"
        )
    if family == SENTENCE_PIECE:
        return None
    if not isinstance(pre_tokenizer, str) or pre_tokenizer not in PATTERNS:
        raise UnsupportedModelError(
            f"pre-tokenizer {str(pre_tokenizer)[:80]!r} is not supported; supported: {', '.join(sorted(PATTERNS))}"
        )
    return pre_tokenizer


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


def _scores(metadata: Mapping[str, MetadataValue], size: int) -> Sequence[float]:
    scores = metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, np.ndarray) or len(scores) != size or scores.dtype.kind != "f":
        raise CorruptModelError("tokenizer.ggml.scores does not fit the vocabulary")
    return array("f", np.nan_to_num(scores.astype(np.float32)).tobytes())


def _bytes(tokens: tuple[str, ...], ids: frozenset[int]) -> dict[int, int]:
    """Read what byte tokens stand for, `<0x00>` to `<0xFF>`."""
    found: dict[int, int] = {}
    for index in ids:
        name = _BYTE_NAME.fullmatch(tokens[index])
        if name is None:
            raise CorruptModelError(f"the byte token {tokens[index][:80]!r} names no byte")
        found[index] = int(name[1], 16)
    if {*found.values()} != {*range(256)}:
        raise UnsupportedModelError("a SentencePiece vocabulary without a token for each byte is not supported")
    return found


def _types(metadata: Mapping[str, MetadataValue], size: int) -> npt.NDArray[np.generic] | None:
    types = metadata.get("tokenizer.ggml.token_type")
    if types is not None and (not isinstance(types, np.ndarray) or len(types) != size):
        raise CorruptModelError("tokenizer.ggml.token_type does not fit the vocabulary")
    return types


def _of_type(types: npt.NDArray[np.generic] | None, kind: int) -> frozenset[int]:
    return frozenset() if types is None else frozenset(map(int, np.flatnonzero(types == kind)))


def _token_id(metadata: Mapping[str, MetadataValue], key: str, size: int) -> int | None:
    value = metadata.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value < size:
        raise CorruptModelError(f"{key} is {str(value)[:80]}, the vocabulary has {size} tokens")
    return value
