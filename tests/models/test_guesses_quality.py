"""Guesses change how fast an answer comes, and nothing else: not one token, greedy or drawn, of the real model."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.batch import Batch
from models.core.company import TRIED, Company
from models.core.request import GenerationFinished, GenerationRequest, Message, SamplingParams, TokensGenerated
from models.generation import Generator
from models.gguf import GgufFile
from models.graph import convert
from models.key_value_calibration import calibrate
from models.key_value_scales import KeyValueScales
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer
from tests.models.counting import CountingEngine

PROMPTS = 200
TOKENS = 32
RUNS_SAVED = 0.1  # at least, over prompts of which half have little to copy
Model = tuple[CountingEngine, Tokenizer, ChatTemplate]
PROSE = Path(__file__).parent / "text" / "prose.txt"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The real model, with its cache in int8 as the product has it."""
    graph = tmp_path_factory.mktemp("guessing") / "graph"
    convert(smollm2_gguf, graph)
    calibrate(smollm2_gguf, graph, threads=2, progress=lambda _: None)
    with GgufFile.open(smollm2_gguf) as file:
        tokenizer = Tokenizer.from_gguf(file)
        source = str(file.metadata["tokenizer.chat_template"])
    chat = ChatTemplate(source, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token)
    scales = KeyValueScales.load(graph)
    assert scales is not None
    return CountingEngine(graph, threads=2, context_tokens=1024, scales=scales), tokenizer, chat


def questions() -> Iterator[str]:
    """Yield questions of many kinds: to copy, to quote, to go on, to tell something new."""
    chance = random.Random(5)  # noqa: S311  no secret
    sentences = [line.strip() for line in PROSE.read_text().replace("\n", " ").split(". ") if len(line) > 40]
    for number in range(PROMPTS):
        one, two = chance.sample(sentences, 2)
        yield (
            f"Repeat word for word: {one}.",
            f"{one}. {two}. Quote the first sentence of this text.",
            f"Write a list: {one[:30]}, {two[:30]}, {one[:30]},",
            f"Tell me something about {one.split()[0]} and {two.split()[-1]}.",
        )[number % 4]


def answering(model: Model, *, guesses: bool) -> Batch:
    """What answers one question after the other."""
    engine, tokenizer, chat = model
    return Batch(engine, Generator(tokenizer, chat, context_tokens=engine.context_tokens, guesses=guesses))


def answer(batch: Batch, request: GenerationRequest) -> list[int]:
    """The ids of an answer."""
    ids = list[int]()
    batch.join(0, request)
    while batch.busy:
        for _, event in batch.step():
            assert isinstance(event, TokensGenerated | GenerationFinished)
            if isinstance(event, TokensGenerated):
                ids += event.ids
    return ids


@pytest.mark.parametrize(("temperature", "prompts"), [(0.0, PROMPTS), (0.8, PROMPTS // 4)])
def test_answers_are_the_same_with_and_without(model: Model, temperature: float, prompts: int) -> None:
    """Token for token; greedily, where a model repeats more, with fewer runs of the engine.

    Not on a processor whose kernels round one row in another way than several: there nothing is guessed.
    """
    engine, runs = model[0], {True: 0, False: 0}
    batches = {guesses: answering(model, guesses=guesses) for guesses in runs}
    for number, question in enumerate(itertools.islice(questions(), prompts)):
        sampling = SamplingParams(max_tokens=TOKENS, temperature=temperature, seed=number)
        request = GenerationRequest((Message("user", question),), sampling)
        found = []
        for guesses in (False, True):
            engine.runs = 0
            found.append(answer(batches[guesses], request))
            runs[guesses] += engine.runs
        assert found[0] == found[1], question
    if temperature == 0.0:
        most = 1 - RUNS_SAVED if batches[True]._company != Company(0) else 1 + TRIED / prompts
        assert runs[True] < most * runs[False]
