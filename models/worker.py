"""The engine's process: `python -m models.worker --fd N`, started and watched by models.worker_process.

It carries out orders from the socket N and reports on them, one at a time, but answers side by side; orders and cancels
are heard between the engine's steps.  It dies with the daemon, leaves no core dump, and is the first that the kernel
ends when memory runs out, so that a crash or a poisoned model file costs an answer and never the node.
"""

import argparse
import contextlib
import ctypes
import os
import queue
import resource
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from models.board import board_profile
from models.core.board_profile import BoardProfile
from models.core.graph_info import DATA_FILE, PREFILL_DATA_FILE, PREFILL_FILE
from models.core.pacing import Pace
from models.core.request import GenerationEvent
from models.core.worker_protocol import (
    MAX_COMMAND_BYTES,
    MAX_SLOTS,
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
    encode_report,
    parse_order,
)
from models.errors import EngineError, ModelsError, NotEnoughSpaceError, OutOfMemoryError, UnforeseenError
from models.files import require_space, sync_directory, writing
from models.free_memory import free_bytes
from models.graph_cache import GraphCache

if TYPE_CHECKING:
    from models.batch import Batch

MAX_ORDERS: Final = 2 * MAX_SLOTS  # read ahead; the daemon sends no more than there are slots for
PROGRESS_INTERVAL_S: Final = 0.1
REST_AFTER_S: Final = 120.0  # without a question: between two of one person, mostly, nothing is let go of
MEMORY_PART: Final = 0.9  # of the machine's memory that this process may fill
OOM_SCORE: Final = 800  # of 1000: before anything else on the board
PR_SET_PDEATHSIG: Final = 1
FRAMES_LOGGED: Final = 6


class Worker:
    """Reads orders from a connected socket, carries them out, reports on the same socket."""

    def __init__(
        self,
        channel: socket.socket,
        *,
        when_alone: Callable[[], None],
        free_memory: Callable[[], int | None] = free_bytes,
    ) -> None:
        self._channel = channel
        self._free_memory = free_memory
        self._when_alone = when_alone  # called in the reading thread when the daemon has gone
        self._orders: queue.Queue[Order | None] = queue.Queue(MAX_ORDERS)
        self._batch: Batch | None = None
        self._pace = Pace()

    def run(self) -> None:
        """Work until the daemon closes its end.

        Raises OSError where that cannot be told anything more; the reading thread may still wait for orders then.
        """
        lines = self._channel.makefile("rb")
        reader = threading.Thread(target=self._read, args=(lines,), name="orders", daemon=True)
        reader.start()
        with contextlib.suppress(_Alone):
            while True:
                self._hear()
                self._step()
        reader.join()

    def _read(self, lines: IO[bytes]) -> None:
        try:
            with lines:  # closed here: anybody else who did that would wait for this thread
                while line := lines.readline(MAX_COMMAND_BYTES + 1):
                    self._orders.put(parse_order(line))
        except (OSError, ModelsError) as error:  # what is no order ends the connection: the daemon starts a new worker
            print(f"no order: {error}", file=sys.stderr)  # noqa: T201  the daemon logs it
        except Exception as error:  # noqa: BLE001  nobody would hear of it, and no order come through any more
            tell_unforeseen(error)
        self._when_alone()
        self._orders.put(None)

    def _hear(self) -> None:
        """Carry out what has been ordered; wait for an order where there is nothing else to do."""
        while not (self._batch is not None and self._batch.busy and self._orders.empty()):
            order = self._next_order()
            if order is None:
                raise _Alone
            self._obey(order.number, order.command)

    def _next_order(self) -> Order | None:
        """Wait for an order, at rest when none comes for a while."""
        with contextlib.suppress(queue.Empty):
            return self._orders.get(timeout=REST_AFTER_S)
        if self._batch is not None:
            self._batch.rest()
        return self._orders.get()

    def _step(self) -> None:
        """Have the answers go on, and report all that came of it at once."""
        batch = self._batch
        if batch is None:
            return
        try:
            self._report(*((number, _told(event)) for number, event in batch.step()))
        except (BrokenPipeError, ConnectionResetError):
            raise  # the daemon has gone
        except BaseException as error:  # noqa: BLE001  as below: whatever it is, who asked must hear an end
            self._batch = None  # in whatever state it is
            tell_unforeseen(error)
            failed = Failed(UnforeseenError("the engine failed in a way that nobody foresaw"))
            self._report(*((number, failed) for number in batch.abandon()))

    def _obey(self, number: int, command: Command) -> None:
        try:
            for event in self._events(number, command):
                self._report((number, event))
        except ModelsError as error:
            self._report((number, Failed(error)))
        except MemoryError:
            self._report((number, Failed(OutOfMemoryError("the model does not fit the memory of this board"))))
        except (BrokenPipeError, ConnectionResetError):
            raise  # the daemon has gone
        except BaseException as error:  # noqa: BLE001  a panic in a library is no Exception; whoever asked must hear an end
            tell_unforeseen(error)
            self._report((number, Failed(EngineError("the engine failed in a way that nobody foresaw"))))

    def _report(self, *events: tuple[int, Event]) -> None:
        flowing = self._batch is not None and not self._batch.reading
        told = self._pace.pass_on(events, now=time.monotonic(), gather=flowing)
        if lines := b"".join(encode_report(Report(number, event)) for number, event in told):
            self._channel.sendall(lines)

    def _events(self, number: int, command: Command) -> Iterator[Event]:
        match command:
            case Convert(gguf, graphs, threads):
                yield from self._convert(number, Path(gguf), Path(graphs), threads)
            case Load():
                yield self._load(command)
            case Generate(request, scope):
                if self._batch is None:
                    raise EngineError("no model is loaded")
                self._batch.join(number, request, scope=scope)
            case Cancel():
                if self._batch is not None:
                    yield from map(_told, self._batch.cancel(number))

    def _convert(self, number: int, gguf: Path, graphs: Path, threads: int) -> Iterator[Event]:
        from models.graph import convert  # noqa: PLC0415  an engine needs no converter
        from models.key_value_calibration import calibrate  # noqa: PLC0415
        from models.key_value_scales import KeyValueScales  # noqa: PLC0415

        profile = board_profile(os.environ)
        cache = _graph_cache(graphs, profile)
        target = cache.path(gguf)
        told = time.monotonic()

        def progress(fraction: float) -> None:
            nonlocal told
            if time.monotonic() - told >= PROGRESS_INTERVAL_S:
                told = time.monotonic()
                self._report((number, Progressed(min(max(fraction, 0.0), 1.0))))

        if not _sound(cache, target):
            require_space(graphs, 2 * gguf.stat().st_size)  # 1.2 times a 4-bit file, with its embedding at 8 bits
            unsealed = target.with_name(f".{target.name}.unsealed")
            with writing(target):
                convert(gguf, unsealed, profile=profile, progress=lambda done: progress(done / 3))
                _pack(unsealed, progress=lambda done: progress((1 + done) / 3))
                cache.seal(unsealed)
                shutil.rmtree(target, ignore_errors=True)
                unsealed.rename(target)
                sync_directory(graphs)
            for other in cache.others(gguf):
                shutil.rmtree(other, ignore_errors=True)
        if KeyValueScales.load(target) is None:
            calibrate(
                gguf,
                target,
                threads=threads,
                progress=lambda done: progress((2 + done) / 3),
                form=profile.decode,
                free_memory=self._free_memory,
            )
        yield Progressed(1.0)
        yield Ready()

    def _load(self, command: Load) -> Event:
        from models.batch import Batch  # noqa: PLC0415  an engine needs no converter
        from models.core.batching import MOST_TOKENS  # noqa: PLC0415
        from models.engine import Engine  # noqa: PLC0415
        from models.generation import Generator  # noqa: PLC0415
        from models.gguf import GgufFile  # noqa: PLC0415
        from models.key_value_scales import KeyValueScales  # noqa: PLC0415
        from models.memory import need_of  # noqa: PLC0415
        from models.templates import ChatTemplate  # noqa: PLC0415
        from models.tokenizer import Tokenizer  # noqa: PLC0415

        self._batch = None
        profile = board_profile(os.environ)
        cache = _graph_cache(Path(command.graphs), profile)
        graph = cache.path(Path(command.gguf))
        if not _sound(cache, graph):
            return GraphMissing()
        with GgufFile.open(Path(command.gguf)) as gguf:
            need = need_of(
                gguf,
                chunk_tokens=MOST_TOKENS,
                kv_cache=command.kv_cache,
                form=profile.decode,
                prompt_graph=(graph / PREFILL_FILE).exists(),
            )
            room = need.room(
                context_tokens=command.context_tokens,
                slots=command.slots,
                prefix_bytes=command.prefix_bytes,
                board_bytes=_board_bytes(),
                free_bytes=self._free_memory(),
            )
            scales = KeyValueScales.load(graph) if command.kv_cache == "int8" else None
            if command.kv_cache == "int8" and scales is None:
                return GraphMissing()
            tokenizer = Tokenizer.from_gguf(gguf)
            source = command.template
            if source is None:
                source = str(gguf.metadata.get("tokenizer.chat_template", ""))
        template = None  # of a model that only completes texts
        if source:
            template = ChatTemplate(source, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token)
        engine = Engine(
            graph,
            threads=command.threads,
            context_tokens=room.context_tokens,
            slots=room.slots,
            scales=scales,
        )
        generator = Generator(tokenizer, template, context_tokens=engine.context_tokens)
        self._batch = Batch(engine, generator, prefix_bytes=command.prefix_bytes, on_unforeseen=tell_unforeseen)
        ctypes.CDLL(None).malloc_trim(0)  # what was parsed and packed on the way goes back to the board
        return Ready()


class _Alone(Exception):  # noqa: N818  no error: the end of the work
    """The daemon has gone."""


def _told(event: "GenerationEvent | ModelsError") -> Event:
    return Failed(event) if isinstance(event, ModelsError) else event


def tell_unforeseen(error: BaseException) -> None:
    """Have the daemon log what no library should raise."""
    print(_unforeseen(error), file=sys.stderr, flush=True)  # noqa: T201  the daemon logs it


def _unforeseen(error: BaseException) -> str:
    """Say in one line where in the program it came from; its own text may quote the question, and is left out."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_LOGGED:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"unforeseen {type(error).__name__} at {places}"


def _pack(graph: Path, *, progress: Callable[[float], None]) -> None:
    """Pack the graphs of a directory for this board; one that cannot be is left as it is, and that is said."""
    from models.packing import pack  # noqa: PLC0415  loaded with what needs it

    files = [data for data in (DATA_FILE, PREFILL_DATA_FILE) if (graph / data).exists()]
    for done, data in enumerate(files):

        def tell(part: float, done: int = done) -> None:
            progress((done + part) / len(files))

        try:
            pack(graph, data=data, progress=tell)
        except (NotEnoughSpaceError, EngineError) as error:
            print(f"{data} stays unpacked, and takes more memory: {error}", flush=True)  # noqa: T201  the daemon logs it


def _graph_cache(graphs: Path, profile: BoardProfile) -> GraphCache:
    from models.session import RUNTIME_VERSION  # noqa: PLC0415  loaded with what needs it

    return GraphCache(graphs, runtime=RUNTIME_VERSION, profile=profile)


def _sound(cache: GraphCache, graph: Path) -> bool:
    """Whether a graph is there to be loaded; says why one that is there is not."""
    if not graph.exists():
        return False
    flaw = cache.flaw(graph)
    if flaw is not None:
        print(f"the converted graph {graph.name} is built again: {flaw}", flush=True)  # noqa: T201  the daemon logs it
    return flaw is None


def _board_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def confine() -> None:
    """Bind this process to its parent and keep what goes wrong in it small."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon, which ends this process itself
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    bound = int(_board_bytes() * MEMORY_PART)
    if most == resource.RLIM_INFINITY or bound < most:
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    with contextlib.suppress(OSError):  # some containers mount /proc read-only
        Path("/proc/self/oom_score_adj").write_text(f"{OOM_SCORE}\n", encoding="ascii")


def main() -> None:
    """Run until the daemon is gone."""
    parser = argparse.ArgumentParser(prog="models.worker")
    parser.add_argument("--fd", type=int, required=True, help="the connected socket that orders come from")
    arguments = parser.parse_args()
    confine()
    try:
        with socket.socket(fileno=arguments.fd) as channel:
            # A computation in the runtime or the converter cannot be interrupted otherwise.
            Worker(channel, when_alone=lambda: os._exit(0)).run()
    except BaseException as error:  # noqa: BLE001  whatever it is, the process ends
        if not isinstance(error, BrokenPipeError | ConnectionResetError):
            tell_unforeseen(error)
        os._exit(1)  # at once: an orderly end waits for threads, and one of them may wait for orders


if __name__ == "__main__":
    main()
