"""Guesses of a small model's answers: kept where they come true, given up where they might change something."""

from pathlib import Path

import pytest
from gguf import GGMLQuantizationType as Type

from models.batch import Batch
from models.core.company import BLOCK, Company
from models.core.request import GenerationFinished, GenerationRequest, Message, SamplingParams, TokensGenerated
from models.generation import Generator
from models.gguf import GgufFile
from models.graph import convert
from models.key_value_calibration import calibrate
from models.key_value_scales import KeyValueScales
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer
from tests.models.counting import CountingEngine
from tests.models.tiny import TEMPLATE, TOKENS, TinyModel, write_tiny

CONTEXT = 512
ENDLESS = {"tokenizer.ggml.eos_token_id": None, "tokenizer.ggml.token_type": [1, 3, 1, *[1] * (len(TOKENS) - 3)]}
QUESTION = "the thing in a bin, the thing in a bin, the thing in"


class Answering:
    """A model that answers with guesses or without."""

    def __init__(self, folder: Path, model: TinyModel, *, int8: bool) -> None:
        path = write_tiny(folder / "tiny.gguf", model, ENDLESS)
        convert(path, folder / "graph")
        if int8:
            calibrate(path, folder / "graph", threads=1, progress=lambda _: None)
        with GgufFile.open(path) as file:
            self.tokenizer = Tokenizer.from_gguf(file)
        scales = KeyValueScales.load(folder / "graph") if int8 else None
        self.engine = CountingEngine(folder / "graph", threads=1, context_tokens=CONTEXT, slots=2, scales=scales)
        self.chat = ChatTemplate(TEMPLATE, bos_token="", eos_token="")

    def batch(self, *, guesses: bool) -> Batch:
        """Nothing answered yet."""
        self.engine.runs = 0
        return Batch(self.engine, Generator(self.tokenizer, self.chat, context_tokens=CONTEXT, guesses=guesses))

    def ids(self, *requests: GenerationRequest, guesses: bool) -> dict[int, list[int]]:
        """Answer these side by side; the tokens of each."""
        batch, ids = self.batch(guesses=guesses), {number: list[int]() for number in range(len(requests))}
        for number, request in enumerate(requests):
            batch.join(number, request)
        while batch.busy:
            for number, event in batch.step():
                assert isinstance(event, TokensGenerated | GenerationFinished)
                if isinstance(event, TokensGenerated):
                    ids[number] += event.ids
        return ids


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Answering:
    """A model whose tokens have the same logits in any company, on every processor: float32, its cache in int8."""
    model = TinyModel(matrices=Type.F32, embedding=Type.F32, context_tokens=CONTEXT)
    return Answering(tmp_path_factory.mktemp("exact"), model, int8=True)


def ask(**sampling: object) -> GenerationRequest:
    """Ask what makes a model repeat itself."""
    return GenerationRequest((Message("user", QUESTION),), SamplingParams(**sampling))  # type: ignore[arg-type]  # checked inside


@pytest.mark.parametrize("temperature", [0.0, 0.4, 1.0])
def test_an_answer_is_the_same_with_guesses(exact: Answering, temperature: float) -> None:
    """To the last place of the context, token for token; one that repeats itself takes fewer runs."""
    request = ask(max_tokens=10_000, temperature=temperature, seed=3)
    plain = exact.ids(request, guesses=False)
    runs = exact.engine.runs
    assert plain == exact.ids(request, guesses=True)
    if temperature == 0.0:
        assert exact.engine.runs < 0.8 * runs


def test_guesses_that_fill_no_block_save_runs_too(exact: Answering) -> None:
    """As on ARM: at most three at a time, of whatever the answer repeats."""
    request = ask(max_tokens=200)
    plain = exact.ids(request, guesses=False)[0]
    runs = exact.engine.runs
    batch, ids = exact.batch(guesses=True), list[int]()
    batch._company = Company(BLOCK)
    batch.join(0, request)
    while batch.busy:
        for _, event in batch.step():
            ids += event.ids if isinstance(event, TokensGenerated) else ()
        assert all(sequence.rows <= BLOCK for sequence in batch._running)
    assert plain == ids
    assert exact.engine.runs < 0.8 * runs


def test_penalties_and_stops_see_what_they_would_have_seen(exact: Answering) -> None:
    """A guess is judged by what would have been chosen in its place."""
    request = ask(max_tokens=200, repetition_penalty=1.3, frequency_penalty=0.4)
    assert exact.ids(request, guesses=False) == exact.ids(request, guesses=True)


def test_nothing_is_guessed_beside_others(exact: Answering) -> None:
    """They share the engine's runs already; what was guessed before somebody came is not lost."""
    requests = [ask(max_tokens=150), ask(max_tokens=40, temperature=0.5, seed=1), ask(max_tokens=90)]
    assert exact.ids(*requests, guesses=False) == exact.ids(*requests, guesses=True)
    batch = exact.batch(guesses=True)
    batch.join(0, ask(max_tokens=150))
    list(batch.step())
    while batch._running[0].rows == 1:
        list(batch.step())
    batch.join(1, ask(max_tokens=40))
    list(batch.step())
    list(batch.step())
    assert all(sequence.rows == 1 for sequence in batch._running)


def test_nothing_is_guessed_where_company_changes_the_logits(tmp_path: Path) -> None:
    """As on a float32 cache: it is seen at the first guess, and the answer is what it would have been."""
    model = TinyModel(matrices=Type.F32, embedding=Type.F32, context_tokens=CONTEXT)
    inexact = Answering(tmp_path, model, int8=False)
    plain = inexact.ids(ask(max_tokens=100), guesses=False)
    batch = inexact.batch(guesses=True)
    batch.join(0, ask(max_tokens=100))
    ids: list[int] = []
    while batch.busy:
        for _, event in batch.step():
            ids += event.ids if isinstance(event, TokensGenerated) else ()
    assert plain[0] == ids
    assert batch._company not in (None, Company(1))
