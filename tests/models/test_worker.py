"""The worker over a socket, as the daemon sees it; here in a thread, so that every line of it can be watched."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from models.batch import Batch
from models.core.graph_info import DATA_FILE, MODEL_FILE, SCALES_FILE
from models.core.request import GenerationFinished, GenerationRequest, Message, SamplingParams, TokensGenerated
from models.core.worker_protocol import (
    MAX_REPORT_BYTES,
    Cancel,
    Command,
    Convert,
    Event,
    Failed,
    Generate,
    GraphMissing,
    Load,
    Order,
    Progressed,
    Ready,
    Report,
    encode_order,
    parse_report,
)
from models.engine import Engine
from models.errors import (
    CorruptModelError,
    EngineError,
    NotEnoughMemoryError,
    NotEnoughSpaceError,
    PromptTooLongError,
    StoreWriteError,
    UnforeseenError,
)
from models.generation import Generator
from models.gguf import GgufFile
from models.graph import convert
from models.tokenizer import Tokenizer
from models.worker import Worker, tell_unforeseen
from tests.models.tiny import TOKENS, TinyModel, write_tiny

CONTEXT_TOKENS = 32_768
LONG = GenerationRequest((Message("user", "Hello"),), SamplingParams(max_tokens=CONTEXT_TOKENS))


class Daemon:
    """The other end of a worker's socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lines = channel.makefile("rb")

    def send(self, number: int, command: Command) -> None:
        """Send an order."""
        self._channel.sendall(encode_order(Order(number, command)))

    def send_line(self, line: bytes) -> None:
        """Send what may be no order."""
        self._channel.sendall(line)

    def report(self) -> Report:
        """Read the next report."""
        return parse_report(self._lines.readline(MAX_REPORT_BYTES))

    def ask(self, number: int, command: Command) -> list[Event]:
        """Send an order and read up to its end."""
        self.send(number, command)
        events = [self.report().event]
        while not isinstance(events[-1], Ready | GraphMissing | GenerationFinished | Failed):
            events.append(self.report().event)
        return events

    def hung_up(self) -> bool:
        """Whether the worker has closed its end; waits for it or for a report."""
        return self._lines.readline() == b""

    def hang_up(self) -> None:
        """Close this end."""
        with suppress(OSError):  # it may have hung up first
            self._channel.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._channel.close()


@contextmanager
def _working(batch: Batch | None = None, free_memory: Callable[[], int | None] = lambda: None) -> Iterator[Daemon]:
    """Run a worker until the daemon hangs up; it must end by itself then."""
    ours, theirs = socket.socketpair()
    alone = threading.Event()
    failures: list[OSError] = []

    def work() -> None:
        with theirs:
            try:
                worker = Worker(theirs, when_alone=alone.set, free_memory=free_memory)
                worker._batch = batch
                worker.run()
            except OSError as error:
                failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    daemon = Daemon(ours)
    try:
        yield daemon
    finally:
        daemon.hang_up()
        thread.join(30)
        assert not thread.is_alive()
        assert alone.wait(30)
        assert all(isinstance(error, BrokenPipeError | ConnectionResetError) for error in failures)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers go on until they are cut."""
    endless = {"tokenizer.ggml.eos_token_id": None, "tokenizer.ggml.token_type": [1] * len(TOKENS)}
    path = tmp_path_factory.mktemp("gguf") / "sha256-tiny"
    return write_tiny(path, TinyModel(context_tokens=CONTEXT_TOKENS), endless)


def _load(gguf: Path, graphs: Path, *, context_tokens: int = CONTEXT_TOKENS, template: str | None = None) -> Load:
    return Load(
        gguf=str(gguf),
        graphs=str(graphs),
        template=template,
        threads=1,
        context_tokens=context_tokens,
        slots=2,
        prefix_bytes=10**7,
    )


def test_convert_load_generate(gguf: Path, tmp_path: Path) -> None:
    """The way of a model: no graph, a graph built once, loaded, asked; an old converter's graph is deleted."""
    stale = tmp_path / f"{gguf.name}.v0"
    stale.mkdir()
    with _working() as daemon:
        assert daemon.ask(1, _load(gguf, tmp_path)) == [GraphMissing()]
        *_, progressed, ready = daemon.ask(2, Convert(str(gguf), str(tmp_path)))
        assert (progressed, ready) == (Progressed(1.0), Ready())
        assert not stale.exists()
        assert daemon.ask(3, Convert(str(gguf), str(tmp_path))) == [Progressed(1.0), Ready()]
        assert daemon.ask(4, _load(gguf, tmp_path)) == [Ready()]
        request = GenerationRequest((Message("user", "Hello"),), SamplingParams(max_tokens=3))
        *tokens, finished = daemon.ask(5, Generate(request))
        assert sum(len(event.ids) for event in tokens if isinstance(event, TokensGenerated)) == 3
        assert isinstance(finished, GenerationFinished)
        assert finished.reason == "length"


def test_what_was_measured_and_is_lost_is_measured_again(gguf: Path, tmp_path: Path) -> None:
    """A cut file is as none: the graph is not built anew, and a float32 cache needs no scales."""
    with _working() as daemon:
        daemon.ask(1, Convert(str(gguf), str(tmp_path)))
        [graph] = tmp_path.iterdir()
        scales, built = graph / SCALES_FILE, (graph / MODEL_FILE).stat().st_mtime_ns
        whole = scales.read_bytes()
        scales.write_bytes(whole[:-1])
        assert daemon.ask(2, _load(gguf, tmp_path)) == [GraphMissing()]
        assert daemon.ask(3, replace(_load(gguf, tmp_path), kv_cache="float32")) == [Ready()]
        assert daemon.ask(4, Convert(str(gguf), str(tmp_path)))[-1] == Ready()
        assert daemon.ask(5, _load(gguf, tmp_path)) == [Ready()]
    assert whole == scales.read_bytes()
    assert built == (graph / MODEL_FILE).stat().st_mtime_ns


def test_what_there_is_no_memory_to_measure_is_measured_later(gguf: Path, tmp_path: Path) -> None:
    """The graph is kept, and it is told why it cannot be used yet: what is loaded beside it takes the memory."""
    free = [10_000_000]
    with _working(free_memory=lambda: free[-1]) as daemon:
        failed = daemon.ask(1, Convert(str(gguf), str(tmp_path)))[-1]
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, NotEnoughMemoryError)
        assert (failed.error.free_bytes, failed.error.fitting_tokens) == (10_000_000, 0)
        [graph] = tmp_path.iterdir()
        built = (graph / MODEL_FILE).stat().st_mtime_ns
        assert _error(daemon.ask(2, _load(gguf, tmp_path))) is NotEnoughMemoryError
        free.append(10**10)
        assert daemon.ask(3, _load(gguf, tmp_path)) == [GraphMissing()]
        assert daemon.ask(4, Convert(str(gguf), str(tmp_path)))[-1] == Ready()
        assert daemon.ask(5, _load(gguf, tmp_path)) == [Ready()]
    assert built == (graph / MODEL_FILE).stat().st_mtime_ns


def test_a_template_replaces_the_models_own(gguf: Path, tmp_path: Path) -> None:
    """What the manifest names decides how a conversation is written."""
    with _working() as daemon:
        daemon.ask(1, Convert(str(gguf), str(tmp_path)))
        lengths = []
        for number, template in enumerate((None, "{{ messages[0].content }}"), 2):
            daemon.ask(number, _load(gguf, tmp_path, template=template))
            finished = daemon.ask(number + 10, Generate(GenerationRequest(LONG.messages, SamplingParams(max_tokens=1))))
            assert isinstance(finished[-1], GenerationFinished)
            lengths.append(finished[-1].prompt_tokens)
    assert lengths[0] > lengths[1] == len("Hello")


def test_a_cancel_is_heard_between_tokens(gguf: Path, tmp_path: Path) -> None:
    """The answer ends early with its own event; a cancel that comes too late does nothing."""
    with _working() as daemon:
        daemon.ask(1, Convert(str(gguf), str(tmp_path)))
        daemon.ask(2, _load(gguf, tmp_path))
        daemon.send(3, Generate(LONG))
        assert isinstance(daemon.report().event, TokensGenerated)
        daemon.send(3, Cancel())
        while not isinstance(event := daemon.report().event, GenerationFinished):
            assert isinstance(event, TokensGenerated)
        assert event.reason == "cancelled"
        daemon.send(3, Cancel())
        assert isinstance(
            daemon.ask(4, Generate(GenerationRequest(LONG.messages, SamplingParams(max_tokens=1))))[-1],
            GenerationFinished,
        )


def test_a_failed_order_leaves_the_worker_working(gguf: Path, tmp_path: Path) -> None:
    """Each failure crosses as its own class."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"no model at all")
    graphs = tmp_path / "graphs"
    with _working() as daemon:
        assert _error(daemon.ask(1, Generate(LONG))) is EngineError
        assert _error(daemon.ask(2, Convert(str(broken), str(graphs)))) is CorruptModelError
        assert _error(daemon.ask(3, Convert(str(gguf), "/sys/hearth"))) is StoreWriteError
        daemon.ask(4, Convert(str(gguf), str(graphs)))
        daemon.ask(5, _load(gguf, graphs, context_tokens=8))
        assert _error(daemon.ask(6, Generate(LONG))) is PromptTooLongError


def test_a_damaged_graph_is_built_again(gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not loaded, the log says why, and a graph of an older converter goes in passing."""
    older = tmp_path / f"{gguf.name}.v1"
    older.mkdir()
    with _working() as daemon:
        daemon.ask(1, Convert(str(gguf), str(tmp_path)))
        assert not older.exists()
        [data] = tmp_path.glob(f"{gguf.name}.*/{DATA_FILE}")
        os.truncate(data, data.stat().st_size - 1)
        assert daemon.ask(2, _load(gguf, tmp_path)) == [GraphMissing()]
        assert daemon.ask(3, Convert(str(gguf), str(tmp_path)))[-1] == Ready()
        assert daemon.ask(4, _load(gguf, tmp_path)) == [Ready()]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert all(f"is built again: {DATA_FILE} is not what was written" in line for line in said)


def test_a_model_that_will_not_fit_the_memory_is_refused(gguf: Path, tmp_path: Path) -> None:
    """Before it is loaded, with the context that would fit; the model that was there is gone."""
    with _working(free_memory=lambda: 37_000_000) as daemon:
        daemon.ask(1, Convert(str(gguf), str(tmp_path)))
        [failed] = daemon.ask(2, _load(gguf, tmp_path))
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, NotEnoughMemoryError)
        assert failed.error.free_bytes == 37_000_000 < failed.error.needed_bytes
        assert 0 < failed.error.fitting_tokens < failed.error.context_tokens
        assert daemon.ask(3, _load(gguf, tmp_path, context_tokens=failed.error.fitting_tokens)) == [Ready()]


def test_a_context_that_nobody_chose_is_what_fits(gguf: Path, tmp_path: Path) -> None:
    """Where the largest is refused, the default is not; keys and values as int8 leave room for more."""
    endless = GenerationRequest((Message("user", "a b " * CONTEXT_TOKENS),), SamplingParams())
    contexts = {}
    with _working(free_memory=lambda: 50_000_000) as daemon:
        daemon.ask(1, Convert(str(gguf), str(tmp_path)))
        for kv_cache in ("float32", "int8"):
            load = replace(_load(gguf, tmp_path, context_tokens=0), kv_cache=kv_cache)
            assert daemon.ask(2, load) == [Ready()]
            [failed] = daemon.ask(3, Generate(endless))
            assert isinstance(failed, Failed)
            assert isinstance(failed.error, PromptTooLongError)
            contexts[kv_cache] = failed.error.context_tokens
    assert 0 < contexts["float32"] < contexts["int8"] <= CONTEXT_TOKENS


def test_a_conversion_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    """The file is sparse: it claims more than the disk has, and nothing is written."""
    gguf = tmp_path / "sha256-huge"
    with gguf.open("wb") as file:
        file.truncate(2**43)
    with _working() as daemon:
        assert _error(daemon.ask(1, Convert(str(gguf), str(tmp_path / "graphs")))) is NotEnoughSpaceError
    assert list((tmp_path / "graphs").iterdir()) == []


@pytest.mark.parametrize("line", [b"garbage\n", b'{"n":1,"op":"Launch"}\n'])
def test_what_is_no_order_ends_the_worker(line: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not guess; the daemon starts a new one."""
    with _working() as daemon:
        daemon.send_line(line)
        assert daemon.hung_up()
    assert capsys.readouterr().err.startswith("no order")


class PanicError(BaseException):
    """What a library in Rust raises where it should not come to."""


class Panicking(Generator):
    """A library that fails as none should."""

    def prompt(self, request: GenerationRequest) -> NoReturn:
        """Fail in the midst of an answer."""
        raise PanicError(f"secret: {request}")


def test_what_nobody_foresaw_is_an_answer_too(gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asked hears of it, nobody hears what was asked, and the log tells where it happened."""
    convert(gguf, tmp_path / "graph")
    with GgufFile.open(gguf) as file:
        generator = Panicking(Tokenizer.from_gguf(file), None, context_tokens=64)
    engine = Engine(tmp_path / "graph", threads=1, context_tokens=64)
    with _working(Batch(engine, generator, on_unforeseen=tell_unforeseen)) as daemon:
        for number, order, kind in (
            (1, Generate(LONG), UnforeseenError),
            (2, Convert(str(tmp_path / "secret"), str(tmp_path)), EngineError),  # a file that is not there
        ):
            failed = daemon.ask(number, order)[-1]
            assert isinstance(failed, Failed)
            assert type(failed.error) is kind
            assert "secret" not in str(failed.error)
        assert daemon.ask(3, Convert(str(gguf), str(tmp_path)))[-1] == Ready()
        assert daemon.ask(4, _load(gguf, tmp_path)) == [Ready()]
    logged = capsys.readouterr().err.splitlines()
    assert [line.partition(" at ")[0] for line in logged] == ["unforeseen PanicError", "unforeseen FileNotFoundError"]
    assert all(
        ("worker.py" in line or "batch.py" in line) and "secret" not in line and len(line) < 500 for line in logged
    )


def test_a_worker_that_nobody_hears_ends(tmp_path: Path) -> None:
    """The daemon's end takes nothing any more, but is not closed: the process does not wait for orders then."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "models.worker", "--fd", str(theirs.fileno())]
    with ours, subprocess.Popen(command, pass_fds=(theirs.fileno(),)) as process:
        theirs.close()
        ours.shutdown(socket.SHUT_RD)
        ours.sendall(encode_order(Order(1, _load(tmp_path / "none", tmp_path))))
        try:
            assert process.wait(60) == 1
        finally:
            process.kill()


def test_answers_are_given_side_by_side(gguf: Path, tmp_path: Path) -> None:
    """A short one ends while a long one goes on; the third begins when there is a slot, or ends before."""
    short = Generate(GenerationRequest(LONG.messages, SamplingParams(max_tokens=3)), "a")
    with _working() as daemon:
        daemon.ask(1, Convert(str(gguf), str(tmp_path)))
        daemon.ask(2, _load(gguf, tmp_path))
        for number in (3, 4, 5):
            daemon.send(number, Generate(LONG, "a"))
        seen = {daemon.report().number}
        while seen != {3, 4}:
            seen.add(daemon.report().number)
        daemon.send(6, short)
        daemon.send(5, Cancel())
        daemon.send(4, Cancel())
        ended: dict[int, GenerationFinished] = {}
        while 6 not in ended:
            report = daemon.report()
            if isinstance(report.event, GenerationFinished):
                ended[report.number] = report.event
        assert {number: end.reason for number, end in ended.items()} == {4: "cancelled", 5: "cancelled", 6: "length"}
        assert (ended[5].prompt_tokens, ended[6].completion_tokens) == (0, 3)


def test_it_stops_when_the_daemon_hangs_up_in_mid_answer(gguf: Path, tmp_path: Path) -> None:
    """Nobody is left to hear the rest."""
    with _working() as daemon:
        daemon.ask(1, Convert(str(gguf), str(tmp_path)))
        daemon.ask(2, _load(gguf, tmp_path))
        daemon.send(3, Generate(LONG))
        event = daemon.report().event
    assert isinstance(event, TokensGenerated)


def _error(events: list[Event]) -> type[Exception]:
    assert isinstance(events[-1], Failed)
    return type(events[-1].error)
