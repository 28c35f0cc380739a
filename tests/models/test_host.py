"""The daemon's engine with a real worker process and a small random model."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from models.core.request import (
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokensGenerated,
)
from models.errors import (
    CorruptModelError,
    NoTemplateError,
    PromptTooLongError,
    QueueFullError,
    UnsupportedModelError,
    WorkerDiedError,
)
from models.fetch import pull
from models.files import CHUNK_BYTES
from models.host import MAX_WAITING, EngineHost
from models.store import ModelStore, StoredModel
from models.worker_process import board_memory_bytes, worker_environment
from tests.models.files import file_entry
from tests.models.tiny import TOKENS, TinyModel, write_tiny
from tests.models.waiting import until

ENDLESS = {"tokenizer.ggml.eos_token_id": None, "tokenizer.ggml.token_type": [1] * len(TOKENS)}  # no token ends it
CONTEXT_TOKENS = 32_768


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """An empty store."""
    return ModelStore(tmp_path / "models")


@pytest.fixture
async def model(store: ModelStore, tmp_path: Path) -> StoredModel:
    """A model whose answers go on until they are cut."""
    return await _stored(store, tmp_path, "endless", seed=1)


@pytest.fixture
async def host(store: ModelStore, tmp_path: Path) -> AsyncIterator[EngineHost]:
    """A host with nothing loaded."""
    host = EngineHost(
        store=store,
        cache_dir=tmp_path / "cache",
        threads=1,
        context_tokens=CONTEXT_TOKENS,
    )
    try:
        yield host
    finally:
        await host.aclose()


async def _stored(store: ModelStore, tmp_path: Path, name: str, *, seed: int) -> StoredModel:
    path = write_tiny(tmp_path / f"{name}.gguf", TinyModel(seed=seed, context_tokens=CONTEXT_TOKENS), ENDLESS)
    return await _pulled(store, tmp_path, name, path)


async def _pulled(store: ModelStore, tmp_path: Path, name: str, path: Path) -> StoredModel:
    return await pull(file_entry(name, path), store=store, cache_dir=tmp_path / "fetched", progress=lambda _: None)


def _ask(text: str = "Hello", *, max_tokens: int = 5) -> GenerationRequest:
    return GenerationRequest((Message("user", text),), SamplingParams(max_tokens=max_tokens))


async def _answer(host: EngineHost, model: StoredModel, request: GenerationRequest) -> list[GenerationEvent]:
    async with asyncio.timeout(60):
        return [event async for event in host.generate(model, request)]


def _told(events: list[GenerationEvent]) -> tuple[list[int], str]:
    """Give the tokens and the text of an answer, which come in more or fewer pieces."""
    tokens = [event for event in events if isinstance(event, TokensGenerated)]
    return [token for event in tokens for token in event.ids], "".join(event.text for event in tokens)


async def test_an_answer_streams_and_ends(host: EngineHost, model: StoredModel) -> None:
    """Tokens come as events, the last event counts them; the same question has the same answer."""
    events = await _answer(host, model, _ask(max_tokens=5))
    finished = events[-1]
    ids, _ = _told(events)
    assert len(ids) == 5
    assert isinstance(finished, GenerationFinished)
    assert (finished.reason, finished.completion_tokens) == ("length", 5)
    assert finished.prompt_tokens > 5
    assert host.loaded == model.digest
    assert not host.busy
    assert _told(await _answer(host, model, _ask(max_tokens=5))) == _told(events)


async def test_a_killed_worker_costs_one_answer(host: EngineHost, model: StoredModel) -> None:
    """Kill -9 in mid-answer: that answer ends with an error, the next question works."""
    events = host.generate(model, _ask(max_tokens=CONTEXT_TOKENS))
    assert isinstance(await anext(events), TokensGenerated)
    os.kill(_worker_pid(host), signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match="Killed"):
        async for _ in events:
            pass
    assert host.loaded is None
    assert isinstance((await _answer(host, model, _ask()))[-1], GenerationFinished)


async def test_a_worker_killed_while_idle_costs_nothing(host: EngineHost, model: StoredModel) -> None:
    """The next question finds a new worker."""
    await _answer(host, model, _ask())
    first = _worker_pid(host)
    os.kill(first, signal.SIGKILL)
    await until(lambda: host.loaded is None)
    assert isinstance((await _answer(host, model, _ask()))[-1], GenerationFinished)
    assert _worker_pid(host) != first


async def test_closing_an_answer_cancels_it(host: EngineHost, model: StoredModel) -> None:
    """Whoever stops listening frees the engine; the worker stays."""
    async with aclosing(host.generate(model, _ask(max_tokens=CONTEXT_TOKENS))) as events:
        await anext(events)
        first = _worker_pid(host)
    assert _told(await _answer(host, model, _ask(max_tokens=3)))[0]
    assert _worker_pid(host) == first


async def test_questions_wait_in_line(host: EngineHost, model: StoredModel) -> None:
    """They are answered in the order they came; beyond the bound they are refused at once."""
    running = host.generate(model, _ask(max_tokens=CONTEXT_TOKENS))
    await anext(running)
    order: list[int] = []

    async def wait(number: int) -> None:
        await _answer(host, model, _ask(max_tokens=1))
        order.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(MAX_WAITING):
            tasks.create_task(wait(number))
        await until(lambda: host.queue_length == MAX_WAITING)
        assert host.busy
        with pytest.raises(QueueFullError):
            await anext(host.generate(model, _ask()))
        await running.aclose()
    assert order == list(range(MAX_WAITING))
    assert host.queue_length == 0


@pytest.fixture
async def broad(store: ModelStore, tmp_path: Path) -> AsyncIterator[EngineHost]:
    """A host that answers three at a time."""
    host = EngineHost(
        store=store,
        cache_dir=tmp_path / "cache",
        threads=1,
        context_tokens=CONTEXT_TOKENS,
        slots=3,
        prefix_bytes=10**7,
    )
    try:
        yield host
    finally:
        await host.aclose()


async def test_answers_are_given_side_by_side(broad: EngineHost, model: StoredModel) -> None:
    """As many as there are slots; each is what it would be alone, and one more waits."""
    questions = [_ask(f"number {number}", max_tokens=40) for number in range(3)]
    alone = [await _answer(broad, model, question) for question in questions]
    together = await asyncio.gather(*(_answer(broad, model, question) for question in questions))
    assert list(map(_told, together)) == list(map(_told, alone))
    async with AsyncExitStack() as stack:
        for _ in range(3):
            running = broad.generate(model, _ask(max_tokens=CONTEXT_TOKENS))
            await stack.enter_async_context(aclosing(running))
            await anext(running)
        waiting = asyncio.create_task(_answer(broad, model, _ask()))
        await until(lambda: broad.queue_length == 1)
        await running.aclose()
        assert isinstance((await waiting)[-1], GenerationFinished)
    assert not broad.busy


async def test_what_was_read_before_is_not_read_again(broad: EngineHost, model: StoredModel) -> None:
    """In the same scope; another one learns nothing of it, not even that it was asked."""
    question = _ask("a long beginning " * 20, max_tokens=3)

    async def cached(scope: str) -> int:
        events = [event async for event in broad.generate(model, question, scope=scope)]
        assert isinstance(events[-1], GenerationFinished)
        assert events[-1].cached_tokens < events[-1].prompt_tokens
        return events[-1].cached_tokens

    assert await cached("anna") == 0
    assert await cached("ben") == 0
    assert await cached("anna") > 300


async def test_a_killed_worker_ends_all_its_answers(broad: EngineHost, model: StoredModel) -> None:
    """None hangs, and the next question gets a new worker."""
    running = [broad.generate(model, _ask(max_tokens=CONTEXT_TOKENS)) for _ in range(3)]
    for events in running:
        await anext(events)
    os.kill(_worker_pid(broad), signal.SIGKILL)
    for events in running:
        with pytest.raises(WorkerDiedError):
            async for _ in events:
                pass
    assert isinstance((await _answer(broad, model, _ask()))[-1], GenerationFinished)


async def test_whoever_waits_for_a_model_can_see_it_come(host: EngineHost, model: StoredModel) -> None:
    """Its first question converts and loads it."""
    asking = asyncio.create_task(_answer(host, model, _ask()))
    seen: list[tuple[str, float]] = []

    def converted() -> bool:
        seen.extend(filter(None, [host.loading]))
        return bool(seen) and host.loading is None

    await until(converted, within_s=60)
    await asking
    assert {digest for digest, _ in seen} == {model.digest}
    assert sorted(seen) == seen
    assert host.loaded == model.digest


async def test_an_idle_model_is_unloaded(store: ModelStore, model: StoredModel, tmp_path: Path) -> None:
    """Not while it answers, however long that takes; the next question loads it again."""
    host = EngineHost(store=store, cache_dir=tmp_path / "cache", threads=1, context_tokens=CONTEXT_TOKENS, idle_s=0.01)
    try:
        for _ in range(2):
            assert isinstance((await _answer(host, model, _ask(max_tokens=2000)))[-1], GenerationFinished)
            await until(lambda: host.loaded is None)
        async with aclosing(host.generate(model, _ask(max_tokens=CONTEXT_TOKENS))) as events:
            async with asyncio.timeout(30):
                [await anext(events) for _ in range(50)]
            assert host.loaded == model.digest
    finally:
        await host.aclose()
    assert host.loaded is None


async def test_another_model_waits_for_the_loaded_one(
    broad: EngineHost, store: ModelStore, model: StoredModel, tmp_path: Path
) -> None:
    """And who comes after it waits for it, though the loaded model would have a slot for them."""
    other = await _stored(store, tmp_path, "other", seed=2)
    running = broad.generate(model, _ask(max_tokens=CONTEXT_TOKENS))
    await anext(running)
    ended: list[str] = []

    async def ask(which: StoredModel) -> None:
        await _answer(broad, which, _ask(max_tokens=1))
        ended.append(which.name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask(other))
        await until(lambda: broad.queue_length == 1)
        tasks.create_task(ask(model))
        await until(lambda: broad.queue_length == 2)
        await running.aclose()
    assert ended == ["other", model.name]
    assert broad.loaded == model.digest


async def test_a_question_that_gives_up_waiting_leaves_the_line(host: EngineHost, model: StoredModel) -> None:
    """Cancelling a waiting question frees its place at once."""
    running = host.generate(model, _ask(max_tokens=CONTEXT_TOKENS))
    await anext(running)
    waiting = asyncio.create_task(_answer(host, model, _ask()))
    await until(lambda: host.queue_length == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert host.queue_length == 0
    await running.aclose()


async def test_another_model_replaces_the_loaded_one(
    host: EngineHost, store: ModelStore, model: StoredModel, tmp_path: Path
) -> None:
    """One model at a time is in memory."""
    other = await _stored(store, tmp_path, "other", seed=2)
    first = await _answer(host, model, _ask(max_tokens=9))
    second = await _answer(host, other, _ask(max_tokens=9))
    assert host.loaded == other.digest
    assert first[:-1] != second[:-1]


async def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(
    store: ModelStore, model: StoredModel, tmp_path: Path
) -> None:
    """The error crosses the process border as itself, and the worker goes on."""
    host = EngineHost(store=store, cache_dir=tmp_path / "cache", threads=1, context_tokens=64)
    try:
        with pytest.raises(PromptTooLongError) as caught:
            await _answer(host, model, _ask("x" * 1000))
        assert caught.value.prompt_tokens > 1000
        assert caught.value.context_tokens == 64
        assert isinstance((await _answer(host, model, _ask()))[-1], GenerationFinished)
    finally:
        await host.aclose()


async def test_a_broken_model_file_is_named_and_harms_nothing_else(
    host: EngineHost, store: ModelStore, model: StoredModel, tmp_path: Path
) -> None:
    """A file that is no GGUF fails with its own error; the others go on."""
    garbage = tmp_path / "garbage.gguf"
    garbage.write_bytes(b"GGUF" + bytes(CHUNK_BYTES))
    broken = await _pulled(store, tmp_path, "broken", garbage)
    with pytest.raises((CorruptModelError, UnsupportedModelError)):
        await _answer(host, broken, _ask())
    assert isinstance((await _answer(host, model, _ask()))[-1], GenerationFinished)


async def test_a_model_without_a_template_completes_texts(host: EngineHost, store: ModelStore, tmp_path: Path) -> None:
    """It is no chat model, and says so to whoever wants to talk."""
    base = write_tiny(tmp_path / "base.gguf", TinyModel(seed=3), {"tokenizer.chat_template": None})
    pulled = await _pulled(store, tmp_path, "base", base)
    with pytest.raises(NoTemplateError, match="chat template"):
        await _answer(host, pulled, _ask())
    raw = GenerationRequest((), SamplingParams(max_tokens=4), prompt="Once upon a time")
    assert isinstance((await _answer(host, pulled, raw))[-1], GenerationFinished)


async def test_a_graph_is_built_once_and_goes_with_its_model(
    host: EngineHost, store: ModelStore, model: StoredModel, tmp_path: Path
) -> None:
    """Preparing tells how far it is; what a power cut left and what nobody needs any more is collected."""
    heard: list[float] = []
    await host.prepare(model, heard.append)
    assert heard[-1] == 1.0
    graphs = tmp_path / "cache" / "graphs"
    [graph] = graphs.iterdir()
    built = (graph / "model.onnx").stat()
    await host.prepare(model, heard.append)
    assert built.st_mtime_ns == (graph / "model.onnx").stat().st_mtime_ns
    await _answer(host, model, _ask())
    (graphs / f".{graph.name}.partial").mkdir()
    (graphs / ".half.tmp").touch()
    await host.collect()
    assert list(graphs.iterdir()) == [graph]
    store.remove(model.name)
    await host.collect()
    assert list(graphs.iterdir()) == []
    assert host.loaded is None


async def test_the_worker_is_confined(host: EngineHost, model: StoredModel) -> None:
    """No core dump, no inherited environment, no open file of the daemon's, first to go when memory is short."""
    await _answer(host, model, _ask())
    proc, own = Path("/proc") / str(_worker_pid(host)), Path("/proc") / str(os.getpid())
    core = next(line for line in (proc / "limits").read_text().splitlines() if line.startswith("Max core file"))
    assert core.split()[4:6] == ["0", "0"]
    expected = {f"{name}={value}".encode() for name, value in worker_environment(board_memory_bytes()).items()}
    assert set((proc / "environ").read_bytes().strip(b"\0").split(b"\0")) == expected
    assert int((proc / "oom_score_adj").read_text()) > int((own / "oom_score_adj").read_text())
    assert (proc / "cwd").readlink() == Path("/")


DAEMON = """
import asyncio, sys
from pathlib import Path
from models.host import EngineHost
from models.store import ModelStore
from models.core.request import GenerationRequest, Message, SamplingParams

async def main():
    store = ModelStore(Path(sys.argv[1]))
    host = EngineHost(store=store, cache_dir=Path(sys.argv[2]), threads=1, context_tokens=32768)
    request = GenerationRequest((Message("user", "Hello"),), SamplingParams(max_tokens=32768))
    async for event in host.generate(store.find("endless"), request):
        print(host._worker.pid, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_the_worker_dies_with_the_daemon(store: ModelStore, model: StoredModel, tmp_path: Path) -> None:
    """Kill -9 of the daemon in mid-answer leaves no process behind."""
    command = [sys.executable, "-c", DAEMON, str(store.root), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={}) as daemon:  # noqa: ASYNC220  ends below
        assert daemon.stdout is not None
        worker = int(daemon.stdout.readline())
        assert _alive(worker)
        daemon.kill()
    assert model.name == "endless"
    await until(lambda: not _alive(worker))


def test_the_daemon_side_stays_light() -> None:
    """Neither numpy nor the runtime nor what only a pull needs is loaded."""
    code = (
        "import json, sys, models.host, models.fetch, models.catalogue\n"
        "models.catalogue.Catalogue.load()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    loaded = set(json.loads(output))
    assert not loaded & {"numpy", "onnx", "onnxruntime", "tokenizers", "jinja2", "httpx"}


@pytest.mark.slow
async def test_the_capital_of_france(smollm2_store: ModelStore, smollm2_model: StoredModel, tmp_path: Path) -> None:
    """The real model, pulled and converted, answers the question of the demo."""
    host = EngineHost(store=smollm2_store, cache_dir=tmp_path, threads=2, context_tokens=2048)
    try:
        events = await _answer(host, smollm2_model, _ask("What is the capital of France?", max_tokens=40))
    finally:
        await host.aclose()
    assert "Paris" in "".join(event.text for event in events if isinstance(event, TokensGenerated))


def _worker_pid(host: EngineHost) -> int:
    assert host._worker is not None
    return host._worker.pid


def _alive(pid: int) -> bool:
    try:
        return "Z" not in (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
