"""Laws of an answer that another engine began: both parts together are the answer that one engine gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from models.core.request import GenerationFinished, GenerationRequest, Message, SamplingParams, TokensGenerated
from models.engine import Engine
from models.errors import InvalidRequestError, PromptTooLongError
from models.generation import PIECE_CHARACTERS, _AnswerText
from models.gguf import GgufFile
from models.graph import convert
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer
from tests.models.alone import Alone
from tests.models.tiny import TEMPLATE, TOKENS, TinyModel, write_tiny

CONTEXT = 96
ENDLESS: dict[str, object] = {
    "tokenizer.ggml.token_type": [1, 3, 1, *[1] * (len(TOKENS) - 3)],
    "tokenizer.ggml.eos_token_id": None,
}
Part = tuple[list[int], str, GenerationFinished]


def _generator(path: Path, *, context_tokens: int = CONTEXT, threads: int = 1) -> Alone:
    graph = path.with_suffix(".graph")
    if not graph.exists():
        convert(path, graph)
    with GgufFile.open(path) as file:
        tokenizer = Tokenizer.from_gguf(file)
    chat = ChatTemplate(TEMPLATE, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token)
    return Alone(Engine(graph, threads=threads, context_tokens=context_tokens), tokenizer, chat)


@pytest.fixture(scope="module")
def gguf_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of float32 weights: several tokens computed at once come out as one by one."""
    model = TinyModel(matrices=Type.F32, embedding=Type.F32)
    return write_tiny(tmp_path_factory.mktemp("continuation") / "tiny.gguf", model, ENDLESS)


@pytest.fixture(scope="module")
def generator(gguf_path: Path) -> Alone:
    """The model, ready; none of its tokens ends an answer."""
    return _generator(gguf_path)


def _request(**sampling: object) -> GenerationRequest:
    return GenerationRequest((Message("user", "Hi"),), SamplingParams(**sampling))  # type: ignore[arg-type]  # checked inside


def _part(generator: Alone, request: GenerationRequest) -> Part:
    *pieces, finished = generator.generate(request)
    assert isinstance(finished, GenerationFinished)
    tokens = [piece for piece in pieces if isinstance(piece, TokensGenerated)]
    return [token for piece in tokens for token in piece.ids], "".join(piece.text for piece in tokens), finished


def _begun(generator: Alone, request: GenerationRequest, tokens: int) -> tuple[list[int], str]:
    """What an asker has after so many tokens."""
    ids: list[int] = []
    text = ""
    for event in generator.generate(request):
        if isinstance(event, TokensGenerated) and len(ids) + len(event.ids) <= tokens and event.ids:
            ids += event.ids
            text += event.text
    return ids, text


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"temperature": 1.0, "seed": 7},
        {"temperature": 1.5, "seed": 3, "repetition_penalty": 1.8, "top_k": 40, "top_p": 0.9},
        {"repetition_penalty": 5.0},
    ],
)
def test_an_answer_cut_anywhere_goes_on_as_if_it_were_not(generator: Alone, sampling: dict[str, object]) -> None:
    """Ids, text, counts and reason are those of the answer that one engine gives, wherever the first part ended."""
    request = _request(max_tokens=24, **sampling)
    ids, text, whole = _part(generator, request)
    for cut in range(len(ids) + 1):
        first, said = _begun(generator, request, cut)
        second, rest, finished = _part(generator, replace(request, answered=tuple(first), characters=len(said)))
        assert (ids, text) == (first + second, said + rest)
        assert (whole.reason, 24, whole.prompt_tokens) == (
            finished.reason,
            finished.completion_tokens,
            finished.prompt_tokens,
        )


def test_a_stop_string_that_began_in_the_first_part_is_found(generator: Alone) -> None:
    """No part of it shows, wherever the cut is: before it, within it, after it."""
    plain = _request(max_tokens=24, temperature=1.0, seed=3)
    stop = _part(generator, plain)[1][5:9]
    request = replace(plain, sampling=replace(plain.sampling, stop=(stop,)))
    ids, text, _ = _part(generator, request)
    for cut in range(len(ids) + 1):
        first, said = _begun(generator, request, cut)
        second, rest, finished = _part(generator, replace(request, answered=tuple(first), characters=len(said)))
        assert (ids, text) == (first + second, said + rest)
        assert (finished.reason, finished.completion_tokens) == ("stop", len(ids))


def test_a_character_cut_between_the_parts_comes_out_whole(generator: Alone) -> None:
    """Its first bytes wait for the rest; what the asker has is not said again."""
    tokenizer = generator.tokenizer
    ids = tokenizer.encode("a€", special=False)
    text = _AnswerText(tokenizer, (), 1)
    for token in ids[:-1]:
        text.feed(token)
    assert text.take() == ""
    text.feed(ids[-1])
    assert text.take() == "€"


def test_text_the_asker_lacks_is_given_out(generator: Alone) -> None:
    """Whoever has ids but not all of their text gets the rest first, in pieces that a message can hold."""
    answered = tuple(generator.tokenizer.encode("ab the end", special=False))
    request = replace(_request(max_tokens=len(answered)), answered=answered, characters=1)
    assert _part(generator, request)[:2] == ([], "b the end")
    text = _AnswerText(generator.tokenizer, (), 0)
    for _ in range(PIECE_CHARACTERS + 1):
        text.feed(answered[0])
    assert [len(text.take()) for _ in range(3)] == [PIECE_CHARACTERS, 1, 0]


def test_a_whole_answer_needs_no_computing(generator: Alone) -> None:
    """Where only the last word was lost, the end comes without a token, and no text comes twice."""
    request = _request(max_tokens=6, temperature=1.0, seed=3, stop=("never",))
    ids, text, whole = _part(generator, request)
    generator.engine.cache.restore(0, 0, untouched := np.zeros_like(generator.engine.cache.saved(0, 0, 8)))
    again = _part(generator, replace(request, answered=tuple(ids), characters=len(text)))
    assert again[:2] == ([], "")
    assert (again[2].reason, again[2].completion_tokens) == (whole.reason, 6)
    assert generator.engine.cache.saved(0, 0, 8).tobytes() == untouched.tobytes()


def test_the_context_holds_both_parts(gguf_path: Path, generator: Alone) -> None:
    """An answer that filled a context ends there; what another node's larger context held is too long here."""
    ids, text, whole = _part(generator, _request(max_tokens=1000))
    begun = replace(_request(max_tokens=1000), answered=tuple(ids), characters=len(text))
    assert _part(generator, begun)[2].reason == "length"
    assert len(ids) + whole.prompt_tokens == CONTEXT + 1
    with pytest.raises(PromptTooLongError, match=f"{CONTEXT + 1} tokens, the context holds {CONTEXT - 1}"):
        next(_generator(gguf_path, context_tokens=CONTEXT - 1).generate(begun))


def test_cancelling_a_continuation(generator: Alone) -> None:
    """Its first part counts; no token comes."""
    request = replace(_request(max_tokens=9), answered=(5, 6), characters=0)
    *_, finished = generator.generate(request, cancelled=lambda: True)
    assert isinstance(finished, GenerationFinished)
    assert (finished.reason, finished.completion_tokens) == ("cancelled", 2)


@pytest.mark.parametrize(
    ("answered", "characters", "words"),
    [
        ((len(TOKENS),), 0, "answered"),
        ((2**31,), 0, "answered"),
        ((), 1, "characters"),
        ((5,), 2, "characters"),
    ],
)
def test_a_beginning_this_model_cannot_have_given_is_refused(
    generator: Alone, answered: tuple[int, ...], characters: int, words: str
) -> None:
    """Ids outside the vocabulary never reach the engine, nor does more text than the ids have."""
    request = replace(_request(max_tokens=9), answered=answered, characters=characters)
    with pytest.raises(InvalidRequestError, match=f"^{words}: "):
        next(generator.generate(request))
    assert _part(generator, _request(max_tokens=3))[2].completion_tokens == 3


def test_a_token_that_ends_answers_is_no_part_of_one(tmp_path: Path) -> None:
    """An answer does not go on behind its end."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(), {**ENDLESS, "tokenizer.ggml.eos_token_id": 2})
    request = replace(_request(max_tokens=9), answered=(5, 2), characters=0)
    with pytest.raises(InvalidRequestError, match=r"^answered: "):
        next(_generator(path).generate(request))


@pytest.mark.slow
def test_the_real_model_goes_on_with_sense(smollm2_gguf: Path, tmp_path: Path) -> None:
    """Cut within its answer, the capital of France is Paris all the same, and the end is where it was.

    Rounding differs between tokens computed at once and one by one; a near tie may flip, so the words may differ.
    """
    path = tmp_path / "model.gguf"
    path.symlink_to(smollm2_gguf)
    generator = _generator(path, context_tokens=512, threads=2)
    request = GenerationRequest((Message("user", "What is the capital of France?"),), SamplingParams())
    ids, text, whole = _part(generator, request)
    assert "Paris" in text
    for cut in (1, 3, len(ids) - 1):
        first, said = _begun(generator, request, cut)
        second, rest, finished = _part(generator, replace(request, answered=tuple(first), characters=len(said)))
        assert "Paris" in said + rest
        assert text.startswith(said)
        assert finished.completion_tokens == len(first) + len(second)
        assert finished.reason == whole.reason
