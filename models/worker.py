"""The engine's process: `python -m models.worker --fd N`, started and watched by models.worker_process.

It carries out one order at a time from the socket N and reports on it; a cancel is heard between tokens and
between chunks of a prompt.  It dies with the daemon, leaves no core dump, and is the first that the kernel
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

from models.core.request import GenerationRequest
from models.core.worker_protocol import (
    MAX_COMMAND_BYTES,
    Cancel,
    Convert,
    Event,
    Failed,
    Generate,
    GraphMissing,
    Load,
    Progressed,
    Ready,
    Report,
    encode_report,
    parse_order,
)
from models.errors import EngineError, ModelsError, OutOfMemoryError, UnforeseenError
from models.files import require_space, writing

if TYPE_CHECKING:
    from models.generation import Generator

Task = Convert | Load | Generate

MAX_ORDERS: Final = 16  # read ahead; the daemon sends the next one after the last is over
PROGRESS_INTERVAL_S: Final = 0.1
MEMORY_PART: Final = 0.9  # of the machine's memory that this process may fill
OOM_SCORE: Final = 800  # of 1000: before anything else on the board
PR_SET_PDEATHSIG: Final = 1
FRAMES_LOGGED: Final = 6


class Worker:
    """Reads orders from a connected socket, carries them out in turn, reports on the same socket."""

    def __init__(self, channel: socket.socket, *, when_alone: Callable[[], None]) -> None:
        self._channel = channel
        self._when_alone = when_alone  # called in the reading thread when the daemon has gone
        self._orders: queue.Queue[tuple[int, Task] | None] = queue.Queue(MAX_ORDERS)
        self._cancelled = -1  # the highest number that was cancelled
        self._generator: Generator | None = None

    def run(self) -> None:
        """Work until the daemon closes its end.

        Raises OSError where that cannot be told anything more; the reading thread may still wait for orders then.
        """
        lines = self._channel.makefile("rb")
        reader = threading.Thread(target=self._read, args=(lines,), name="orders", daemon=True)
        reader.start()
        while (order := self._orders.get()) is not None:
            self._obey(*order)
        reader.join()

    def _read(self, lines: IO[bytes]) -> None:
        try:
            with lines:  # closed here: anybody else who did that would wait for this thread
                while line := lines.readline(MAX_COMMAND_BYTES + 1):
                    order = parse_order(line)
                    if isinstance(order.command, Cancel):
                        self._cancelled = max(self._cancelled, order.number)
                    else:
                        self._orders.put((order.number, order.command))
        except (OSError, ModelsError) as error:  # what is no order ends the connection: the daemon starts a new worker
            print(f"no order: {error}", file=sys.stderr)  # noqa: T201  the daemon logs it
        except Exception as error:  # noqa: BLE001  nobody would hear of it, and no order come through any more
            print(_unforeseen(error), file=sys.stderr)  # noqa: T201  the daemon logs it
        self._when_alone()
        self._cancelled = sys.maxsize
        self._orders.put(None)

    def _obey(self, number: int, task: Task) -> None:
        try:
            for event in self._events(number, task):
                self._report(number, event)
        except ModelsError as error:
            self._report(number, Failed(error))
        except MemoryError:
            self._generator = None
            self._report(number, Failed(OutOfMemoryError("the model does not fit the memory of this board")))
        except (BrokenPipeError, ConnectionResetError):
            raise  # the daemon has gone
        except BaseException as error:  # noqa: BLE001  a panic in a library is no Exception; whoever asked must hear an end
            self._generator = None  # in whatever state it is
            print(_unforeseen(error), file=sys.stderr)  # noqa: T201  the daemon logs it
            kind = UnforeseenError if isinstance(task, Generate) else EngineError  # else it is the model's fault
            self._report(number, Failed(kind("the engine failed in a way that nobody foresaw")))

    def _report(self, number: int, event: Event) -> None:
        self._channel.sendall(encode_report(Report(number, event)))

    def _events(self, number: int, task: Task) -> Iterator[Event]:
        match task:
            case Convert(gguf, graphs):
                yield from self._convert(number, Path(gguf), Path(graphs))
            case Load():
                yield self._load(task)
            case Generate(request):
                yield from self._generate(number, request)

    def _convert(self, number: int, gguf: Path, graphs: Path) -> Iterator[Event]:
        from models.graph import convert  # noqa: PLC0415  a converter needs no runtime

        target = _graph_directory(gguf, graphs)
        if not target.is_dir():
            require_space(graphs, 2 * gguf.stat().st_size)  # 1.2 times a 4-bit file, with its embedding at 8 bits
            told = time.monotonic()

            def progress(fraction: float) -> None:
                nonlocal told
                if time.monotonic() - told >= PROGRESS_INTERVAL_S:
                    told = time.monotonic()
                    self._report(number, Progressed(min(max(fraction, 0.0), 1.0)))

            with writing(target):
                convert(gguf, target, progress=progress)
            for stale in graphs.glob(f"{gguf.name}.*"):
                if stale != target:  # an older converter's
                    shutil.rmtree(stale, ignore_errors=True)
        yield Progressed(1.0)
        yield Ready()

    def _load(self, command: Load) -> Event:
        from models.engine import Engine  # noqa: PLC0415  an engine needs no converter
        from models.generation import Generator  # noqa: PLC0415
        from models.gguf import GgufFile  # noqa: PLC0415
        from models.templates import ChatTemplate  # noqa: PLC0415
        from models.tokenizer import Tokenizer  # noqa: PLC0415

        self._generator = None
        graph = _graph_directory(Path(command.gguf), Path(command.graphs))
        if not graph.is_dir():
            return GraphMissing()
        with GgufFile.open(Path(command.gguf)) as gguf:
            tokenizer = Tokenizer.from_gguf(gguf)
            source = command.template
            if source is None:
                source = str(gguf.metadata.get("tokenizer.chat_template", ""))
        template = None  # of a model that only completes texts
        if source:
            template = ChatTemplate(source, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token)
        engine = Engine(graph, threads=command.threads, context_tokens=command.context_tokens)
        self._generator = Generator(engine, tokenizer, template)
        return Ready()

    def _generate(self, number: int, request: GenerationRequest) -> Iterator[Event]:
        if self._generator is None:
            raise EngineError("no model is loaded")
        yield from self._generator.generate(request, cancelled=lambda: self._cancelled >= number)


def _unforeseen(error: BaseException) -> str:
    """Say in one line where in the program it came from; its own text may quote the question, and is left out."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_LOGGED:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"unforeseen {type(error).__name__} at {places}"


def _graph_directory(gguf: Path, graphs: Path) -> Path:
    """Where the graph of a GGUF lies: it is there whole or not at all, and belongs to one converter."""
    from models.graph import CONVERTER_VERSION  # noqa: PLC0415  loaded with what needs it

    return graphs / f"{gguf.name}.v{CONVERTER_VERSION}"


def confine() -> None:
    """Bind this process to its parent and keep what goes wrong in it small."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon, which ends this process itself
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    bound = int(memory * MEMORY_PART)
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
            print(_unforeseen(error), file=sys.stderr, flush=True)  # noqa: T201  the daemon logs it
        os._exit(1)  # at once: an orderly end waits for threads, and one of them may wait for orders


if __name__ == "__main__":
    main()
