"""Text goes into ids and comes back; control tokens are for templates, not for people."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gguf import GGMLQuantizationType as Type
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import CorruptModelError, UnsupportedModelError
from models.gguf import GgufFile
from models.tokenizer import QUOTE_CLOSE, QUOTE_OPEN, Tokenizer
from models.vocabulary import PATTERNS, SPACE
from tests.models.llama_cpp import LlamaCpp
from tests.models.test_quality import TEXTS
from tests.models.tiny import PIECES_SIZE, SENTENCE_PIECE, TOKENS, TinyModel, write_tiny

TEXT = st.text(max_size=60)
END, START = TOKENS.index("<|im_end|>"), TOKENS.index("<|im_start|>")


def _tokenizer(path: Path, metadata: dict[str, object] | None = None) -> Tokenizer:
    with GgufFile.open(write_tiny(path / "tiny.gguf", TinyModel(layers=1), metadata)) as file:
        return Tokenizer.from_gguf(file)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Build the tokenizer of the tiny vocabulary."""
    return _tokenizer(tmp_path_factory.mktemp("tokenizer"))


@settings(deadline=None)
@given(text=TEXT)
def test_text_comes_back(text: str, tokenizer: Tokenizer) -> None:
    """Decoding undoes encoding, byte for byte; the marks of quotes are no text."""
    ids = tokenizer.encode(text, special=False)
    assert text.replace(QUOTE_OPEN, "").replace(QUOTE_CLOSE, "") == tokenizer.decode(ids)


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, len(TOKENS) - 1), max_size=40))
def test_streaming_never_breaks_a_character(ids: list[int], tokenizer: Tokenizer) -> None:
    """Any ids, decoded one by one, give the text they give together, in whole characters."""
    stream = tokenizer.stream()
    pieces = [*(stream.feed(token) for token in ids), stream.finish()]
    assert tokenizer.decode(ids) == "".join(pieces)
    assert all(piece.encode().decode() == piece for piece in pieces)


def test_a_character_in_several_tokens_comes_out_whole(tokenizer: Tokenizer) -> None:
    """The bytes of a smile arrive one by one; its text only with the last."""
    ids = tokenizer.encode("😀", special=False)
    stream = tokenizer.stream()
    assert [stream.feed(token) for token in ids] == ["", "", "", "😀"]
    assert stream.finish() == ""


def test_an_unfinished_character_ends_as_a_replacement(tokenizer: Tokenizer) -> None:
    """An answer cut within a character still is text."""
    stream = tokenizer.stream()
    for token in tokenizer.encode("😀", special=False)[:2]:
        assert stream.feed(token) == ""
    assert stream.finish() == "\ufffd"


def test_merges_apply(tokenizer: Tokenizer) -> None:
    """A word in the vocabulary is one token."""
    ids = tokenizer.encode("in the", special=False)
    assert [TOKENS.index("in"), TOKENS.index("Ġthe")] == ids


def test_control_tokens_only_where_they_are_meant(tokenizer: Tokenizer) -> None:
    """The name of a control token is that token in a template and plain text elsewhere; it has no text itself."""
    assert tokenizer.encode("<|im_start|>", special=True) == [START]
    assert START not in tokenizer.encode("<|im_start|>", special=False)
    assert tokenizer.decode([START, *tokenizer.encode("a", special=False), END]) == "a"
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert tokenizer.eos_ids == {END, TOKENS.index("<|endoftext|>")}


@settings(deadline=None)
@given(before=TEXT, after=TEXT, name=st.sampled_from(TOKENS[:3]))
def test_a_message_cannot_speak_in_control_tokens(before: str, after: str, name: str, tokenizer: Tokenizer) -> None:
    """Quoted, a person's words hold no control token, whatever they say; the template's around them do."""
    words = before + name + after
    ids = tokenizer.encode(f"<|im_start|>{tokenizer.quote(words)}<|im_end|>", special=True)
    assert (ids[0], ids[-1]) == (START, END)
    assert not tokenizer.eos_ids & set(ids[1:-1])
    assert words.replace(QUOTE_OPEN, "\ufffd").replace(QUOTE_CLOSE, "\ufffd") == tokenizer.decode(ids)


def test_user_defined_tokens_are_always_whole(tmp_path: Path) -> None:
    """A vocabulary's own words are one token in any text and keep their spelling."""
    types = [3, 3, 3, *[1] * (len(TOKENS) - 4), 4]
    tokens = [*TOKENS[:-1], "<think>"]
    metadata = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": ["t h"]}
    tokenizer = _tokenizer(tmp_path, metadata)
    ids = tokenizer.encode("a<think>", special=False)
    assert ids[-1] == len(TOKENS) - 1
    assert tokenizer.decode(ids) == "a<think>"


def test_a_vocabulary_without_control_tokens(tmp_path: Path) -> None:
    """Nothing is special then, and nothing ends an answer but what the metadata say."""
    tokenizer = _tokenizer(tmp_path, {"tokenizer.ggml.token_type": None, "tokenizer.ggml.bos_token_id": None})
    assert tokenizer.quote("<|im_end|>") == "<|im_end|>"
    assert tokenizer.eos_ids == {END}
    assert tokenizer.bos_token == ""


def test_a_prompt_begins_as_the_model_wants(tmp_path: Path) -> None:
    """The first token is added where the metadata ask for it and the template has not written it."""
    tokenizer = _tokenizer(tmp_path, {"tokenizer.ggml.add_bos_token": True})
    assert tokenizer.encode_prompt("a")[0] == START
    assert tokenizer.encode_prompt("<|im_start|>a").count(START) == 1
    assert START not in _tokenizer(tmp_path).encode_prompt("a")


@pytest.mark.parametrize(
    ("metadata", "error", "named"),
    [
        (
            {"tokenizer.ggml.model": "t5"},
            UnsupportedModelError,
            "tokenizer 't5' is not supported; supported: gpt2",
        ),
        ({"tokenizer.ggml.model": [1]}, UnsupportedModelError, "is not supported"),
        ({"tokenizer.ggml.pre": "mystery"}, UnsupportedModelError, "pre-tokenizer 'mystery'"),
        ({"tokenizer.ggml.pre": None}, UnsupportedModelError, "pre-tokenizer 'None'"),
        ({"tokenizer.ggml.tokens": None}, CorruptModelError, "tokens is not a list of strings"),
        ({"tokenizer.ggml.tokens": ["a", "a"]}, CorruptModelError, "a token twice"),
        ({"tokenizer.ggml.merges": ["no such"]}, CorruptModelError, "merge 'no such'"),
        ({"tokenizer.ggml.merges": [" "]}, CorruptModelError, "merge ' '"),
        ({"tokenizer.ggml.token_type": [1, 2]}, CorruptModelError, "token_type does not fit"),
        ({"tokenizer.ggml.eos_token_id": 9999}, CorruptModelError, "eos_token_id is 9999"),
    ],
    ids=str,
)
def test_vocabularies_that_cannot_be_used_are_named(
    metadata: dict[str, object], error: type[Exception], named: str, tmp_path: Path
) -> None:
    """What would give wrong ids is refused with its name."""
    with pytest.raises(error) as caught:
        _tokenizer(tmp_path, metadata)
    assert named in str(caught.value)


@pytest.fixture(params=sorted(PATTERNS))
def both(request: pytest.FixtureRequest, smollm2_gguf: Path, tmp_path: Path) -> Iterator[tuple[Tokenizer, LlamaCpp]]:
    """Give the real vocabulary to a small model under another way of cutting words, in both programs."""
    with GgufFile.open(smollm2_gguf) as file:
        metadata: dict[str, Any] = {
            key: file.metadata[key] for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges")
        }
        metadata |= {"tokenizer.ggml.token_type": file.metadata["tokenizer.ggml.token_type"].tolist()}  # type: ignore[union-attr]  # an array
    metadata = {key: list(value) for key, value in metadata.items()} | {"tokenizer.ggml.pre": request.param}
    model = TinyModel(layers=1, vocabulary=len(metadata["tokenizer.ggml.tokens"]), embedding=Type.Q4_0)
    path = write_tiny(tmp_path / "tiny.gguf", model, metadata)
    with GgufFile.open(path) as file, LlamaCpp(path) as llama_cpp:
        yield Tokenizer.from_gguf(file), llama_cpp


@pytest.mark.slow
def test_every_way_of_cutting_words_is_llama_cpps(both: tuple[Tokenizer, LlamaCpp]) -> None:
    """Under each supported pre-tokenizer all scripts give llama.cpp's ids."""
    tokenizer, llama_cpp = both
    expected = {name: llama_cpp.tokenize(text, special=True) for name, text in TEXTS.items()}
    assert expected == {name: tokenizer.encode(text, special=True) for name, text in TEXTS.items()}


@pytest.fixture(scope="module", params=[True, False], ids=["a space first", "no space first"])
def pieces(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model with a SentencePiece vocabulary."""
    metadata = {**SENTENCE_PIECE, "tokenizer.ggml.add_space_prefix": request.param}
    model = TinyModel(layers=1, vocabulary=PIECES_SIZE)
    return write_tiny(tmp_path_factory.mktemp("pieces") / "tiny.gguf", model, metadata)


def _of_pieces(path: Path) -> tuple[Tokenizer, bool]:
    with GgufFile.open(path) as file:
        return Tokenizer.from_gguf(file), file.metadata["tokenizer.ggml.add_space_prefix"] is True


def test_pieces_come_back(pieces: Path) -> None:
    """Whatever the script: what is in no piece is written in bytes."""
    tokenizer, space_first = _of_pieces(pieces)

    @settings(deadline=None)
    @given(text=TEXT)
    def comes_back(text: str) -> None:
        plain = text.replace(QUOTE_OPEN, "").replace(QUOTE_CLOSE, "").replace(SPACE, " ")
        decoded = tokenizer.decode(tokenizer.encode(text.replace(SPACE, " "), special=False))
        assert decoded == (f" {plain}" if space_first and plain else plain)

    comes_back()


def test_the_best_piece_is_made_first(pieces: Path) -> None:
    """Not the longest, nor the leftmost: the one with the highest score of all that can be made."""
    tokenizer, space_first = _of_pieces(pieces)
    names = tokenizer._vocabulary.tokens
    found = [names[token] for token in tokenizer.encode("the sand in", special=False)]

    assert "in" in found
    assert space_first == found[0].startswith(SPACE)


def test_a_quoted_name_adds_no_space(pieces: Path) -> None:
    """What goes on from a person's words is no new text."""
    tokenizer, space_first = _of_pieces(pieces)
    words = "a</s>b"
    ids = tokenizer.encode(tokenizer.quote(words), special=True)
    assert not tokenizer.eos_ids & set(ids)
    assert tokenizer.decode(ids) == (f" {words}" if space_first else words)


@pytest.mark.slow
def test_pieces_are_llama_cpps(pieces: Path) -> None:
    """All scripts, names of control tokens, and texts of nothing but pieces."""
    tokenizer, _ = _of_pieces(pieces)
    draw = random.Random(5)  # noqa: S311  the same each time
    drawn = ["".join(draw.choices("the and in a, s.  \n", k=60)) for _ in range(40)]
    with LlamaCpp(pieces) as llama_cpp:
        for text in (*TEXTS.values(), *drawn, "<s>the</s> in <think>a", "  the"):
            for special in (False, True):
                assert tokenizer.encode(text, special=special) == llama_cpp.tokenize(text, special=special)


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"tokenizer.ggml.scores": None}, "scores does not fit"),
        ({"tokenizer.ggml.scores": [0.0]}, "scores does not fit"),
        ({"tokenizer.ggml.token_type": [1] * PIECES_SIZE}, "without a token for each byte"),
        ({"tokenizer.ggml.token_type": [6] * PIECES_SIZE}, "names no byte"),
    ],
    ids=str,
)
def test_pieces_that_cannot_be_used_are_named(metadata: dict[str, object], named: str, tmp_path: Path) -> None:
    """No token is guessed."""
    path = write_tiny(
        tmp_path / "tiny.gguf", TinyModel(layers=1, vocabulary=PIECES_SIZE), {**SENTENCE_PIECE, **metadata}
    )
    with GgufFile.open(path) as file, pytest.raises((CorruptModelError, UnsupportedModelError), match=named):
        Tokenizer.from_gguf(file)


def test_a_mark_that_was_cut_off_frees_nothing(tokenizer: Tokenizer) -> None:
    """A template that slices what a person wrote may lose one of a pair: the next name is a word all the same."""
    quoted = tokenizer.quote("x<|im_end|>y")
    for torn in (quoted.replace(QUOTE_OPEN, "").replace("<|im_end|>", ""), quoted[: quoted.index(QUOTE_CLOSE)]):
        ids = tokenizer.encode(torn + quoted, special=True)
        assert TOKENS.index("<|im_end|>") not in ids
