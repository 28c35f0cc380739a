"""Several answers at a time: each is what it would be alone, whoever comes and goes beside it."""

import random
from collections import defaultdict
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType as Type

from models.batch import Batch
from models.core.graph_info import DATA_FILE
from models.core.request import GenerationFinished, GenerationRequest, Message, SamplingParams, TokensGenerated
from models.engine import Engine
from models.errors import (
    CorruptModelError,
    InvalidRequestError,
    ModelsError,
    OutOfMemoryError,
    PromptTooLongError,
    UnforeseenError,
)
from models.generation import Generator
from models.gguf import GgufFile
from models.graph import convert
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer
from tests.models.alone import Alone
from tests.models.tiny import TEMPLATE, TOKENS, TinyModel, write_tiny

CONTEXT = 1024
SLOTS = 4
ENDLESS = {"tokenizer.ggml.eos_token_id": None, "tokenizer.ggml.token_type": [1, 3, 1, *[1] * (len(TOKENS) - 3)]}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """Build a small float32 model, which rounds alike however it is computed; with the folder of its graph."""
    folder = tmp_path_factory.mktemp("batch")
    model = TinyModel(matrices=Type.F32, embedding=Type.F32, context_tokens=CONTEXT)
    path = write_tiny(folder / "tiny.gguf", model, ENDLESS)
    convert(path, folder / "graph")
    with GgufFile.open(path) as file:
        tokenizer = Tokenizer.from_gguf(file)
    chat = ChatTemplate(TEMPLATE, bos_token="", eos_token="")
    return Alone(Engine(folder / "graph", threads=1, context_tokens=CONTEXT, slots=SLOTS), tokenizer, chat)


@pytest.fixture
def batch(alone: Alone) -> Batch:
    """A batch that keeps beginnings."""
    return Batch(alone.engine, alone.generator, prefix_bytes=10**7)


def ask(text: str, **sampling: object) -> GenerationRequest:
    """Ask something."""
    return GenerationRequest((Message("user", text),), SamplingParams(**sampling))  # type: ignore[arg-type]  # checked inside


Ends = dict[int, GenerationFinished | ModelsError]


def run(batch: Batch, ids: dict[int, list[int]], ends: Ends, *, steps: int = 100_000) -> None:
    """Let the answers go on, and write down what comes of them."""
    while batch.busy and steps:
        for number, event in batch.step():
            if isinstance(event, TokensGenerated):
                ids[number] += event.ids
            else:
                ends[number] = event
        steps -= 1


@pytest.mark.parametrize("seed", range(6))
def test_each_answer_is_what_it_would_be_alone(alone: Alone, batch: Batch, seed: int) -> None:
    """Many that come and go in any order, alike or not, greedy or not, some cancelled; and the slots end empty."""
    chance = random.Random(seed)  # noqa: S311  no secret
    requests = [
        ask(
            "once upon a time " * chance.randint(0, 12) + str(chance.randint(0, 3)),
            max_tokens=chance.randint(1, 60),
            temperature=chance.choice([0.0, 1.0]),
            seed=chance.randint(0, 5),
        )
        for _ in range(24)
    ]
    ids: dict[int, list[int]] = defaultdict(list)
    ends: Ends = {}
    for number, request in enumerate(requests):
        batch.join(number, request, scope=chance.choice("ab"))
        run(batch, ids, ends, steps=chance.randint(0, 30))
        if chance.random() < 0.3:
            for event in batch.cancel(cancelled := chance.randint(0, number)):
                if isinstance(event, GenerationFinished):  # there may be a rest of its text before
                    ends[cancelled] = event
    run(batch, ids, ends)
    assert batch._running == []
    assert ends.keys() == set(range(len(requests)))
    for number, request in enumerate(requests):
        expected = [
            token for event in alone.generate(request) if isinstance(event, TokensGenerated) for token in event.ids
        ]
        end = ends[number]
        assert isinstance(end, GenerationFinished)
        if end.reason == "cancelled":
            assert expected[: len(ids[number])] == ids[number]
        else:
            assert expected == ids[number]
        assert end.completion_tokens == len(ids[number])


def test_a_conversation_goes_on_where_it_was(batch: Batch) -> None:
    """The next question of a conversation reads only what is new, and counts what it did not read."""
    ids: dict[int, list[int]] = defaultdict(list)
    ends: Ends = {}
    first = ask("a long beginning " * 10, max_tokens=30)
    batch.join(1, first)
    run(batch, ids, ends)
    text = batch._generator._tokenizer.decode(ids[1])
    turns = (*first.messages, Message("assistant", text), Message("user", "and then?"))
    batch.join(2, GenerationRequest(turns, SamplingParams(max_tokens=3)))
    run(batch, ids, ends)
    one, two = ends[1], ends[2]
    assert isinstance(one, GenerationFinished)
    assert isinstance(two, GenerationFinished)
    assert one.cached_tokens == 0
    assert one.prompt_tokens - 2 <= two.cached_tokens < two.prompt_tokens


def test_words_are_told_before_anything_is_kept(batch: Batch) -> None:
    """Keeping copies what a prompt has taken long to compute: whoever asked reads meanwhile."""
    batch.join(1, ask("a long beginning " * 10, max_tokens=3))
    kept = []
    while batch.busy:
        for _, event in batch.step():
            if isinstance(event, TokensGenerated) and event.ids:
                kept.append(batch._prefixes.nbytes)
    assert kept == [0, batch._prefixes.nbytes, batch._prefixes.nbytes]
    assert kept[1] > 0


def test_an_answer_that_is_over_is_neither_cancelled_nor_abandoned(batch: Batch) -> None:
    """Its end has been told; only its slot is not free yet."""
    batch.join(1, ask("a question", max_tokens=1))
    ends: list[object] = []
    while not ends:
        ends += [event for _, event in batch.step() if isinstance(event, GenerationFinished)]
    assert batch.busy
    assert batch.cancel(1) == []
    assert batch.abandon() == []
    assert not batch.busy


def test_more_than_there_are_slots_for_wait(batch: Batch) -> None:
    """In the order they came; all are answered."""
    ids: dict[int, list[int]] = defaultdict(list)
    ends: Ends = {}
    for number in range(3 * SLOTS):
        batch.join(number, ask("Hi", max_tokens=5))
    run(batch, ids, ends, steps=SLOTS)
    assert ids.keys() <= set(range(SLOTS))
    run(batch, ids, ends)
    assert list(ends) == list(range(3 * SLOTS))


def test_a_question_that_cannot_be_asked_harms_nobody(batch: Batch) -> None:
    """Too long for the context, or begun with what the model never said: its own error, in the midst of others."""
    ids: dict[int, list[int]] = defaultdict(list)
    ends: Ends = {}
    batch.join(1, ask("Hi", max_tokens=40))
    run(batch, ids, ends, steps=10)
    batch.join(2, ask("x" * 2 * CONTEXT))
    batch.join(3, GenerationRequest((), SamplingParams(), answered=(10**6,), prompt="x"))
    run(batch, ids, ends)
    assert isinstance(ends[2], PromptTooLongError)
    assert isinstance(ends[3], InvalidRequestError)
    assert len(ids[1]) == 40


class PanicError(BaseException):
    """What a library in Rust raises where it should not come to."""


class Failing(Generator):
    """A library that fails at words that a test chooses."""

    failures: dict[str, BaseException]

    def prompt(self, request: GenerationRequest) -> list[int]:
        """Fail, or not."""
        if (error := self.failures.get(request.messages[0].content)) is not None:
            raise error
        return super().prompt(request)


def test_what_nobody_foresaw_ends_one_answer(alone: Alone) -> None:
    """A panic and the end of the memory befall whom they befall; the others go on."""
    generator = Failing(alone.tokenizer, alone.template, context_tokens=CONTEXT)
    generator.failures = {"panic": PanicError("secret"), "memory": MemoryError()}
    heard: list[BaseException] = []
    batch = Batch(alone.engine, generator, prefix_bytes=10**6, on_unforeseen=heard.append)
    ids: dict[int, list[int]] = defaultdict(list)
    ends: Ends = {}
    for number, words in enumerate(("Hi", "panic", "memory", "Hello")):
        batch.join(number, ask(words, max_tokens=9))
    run(batch, ids, ends)
    assert isinstance(ends[1], UnforeseenError)
    assert isinstance(ends[2], OutOfMemoryError)
    assert [len(ids[number]) for number in (0, 3)] == [9, 9]
    assert [type(error) for error in heard] == [PanicError]
    assert "secret" not in str(ends[1])


def test_a_model_that_computes_no_numbers_ends_all_its_answers(alone: Alone, tmp_path: Path) -> None:
    """Each with an error; the batch is empty then."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(), ENDLESS)
    convert(path, tmp_path / "graph")
    data = tmp_path / "graph" / DATA_FILE
    data.write_bytes(b"\xff" * data.stat().st_size)
    engine = Engine(tmp_path / "graph", threads=1, context_tokens=64, slots=2)
    batch = Batch(engine, Generator(alone.tokenizer, alone.template, context_tokens=64))
    ends: Ends = {}
    for number in range(3):
        batch.join(number, ask("Hi"))
    run(batch, defaultdict(list), ends)
    assert len(ends) == 3
    assert not batch.busy
    assert all(isinstance(end, ModelsError) for end in ends.values())


def test_who_is_abandoned_is_named(batch: Batch) -> None:
    """Running or waiting; nothing is left."""
    for number in range(SLOTS + 2):
        batch.join(number, ask("Hi", max_tokens=50))
    run(batch, defaultdict(list), {}, steps=7)
    assert sorted(batch.abandon()) == list(range(SLOTS + 2))
    assert not batch.busy
    assert list(batch.step()) == []


def test_a_vocabulary_of_another_size_is_refused(alone: Alone, tmp_path: Path) -> None:
    """A tokenizer that can say ids the embedding has not is of another model."""
    tokens = {"tokenizer.ggml.tokens": list(TOKENS[:-1]), "tokenizer.ggml.merges": ["t h"]}
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(), tokens | {"tokenizer.ggml.token_type": None})
    with GgufFile.open(path) as file:
        generator = Generator(Tokenizer.from_gguf(file), None, context_tokens=64)
    with pytest.raises(CorruptModelError, match="263 tokens, the embedding 264 rows"):
        Batch(alone.engine, generator)
