"""The daemon's engine: takes questions in turn, keeps one model loaded in a worker process, streams its answers."""

import asyncio
import logging
import re
import shutil
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

from models.core.manifest import TEMPLATE
from models.core.request import GenerationEvent, GenerationFinished, GenerationRequest, TokensGenerated
from models.core.worker_protocol import Convert, Generate, GraphMissing, Load, Progressed
from models.errors import ModelsError, QueueFullError, WorkerDiedError, WorkerProtocolError
from models.store import ModelStore, StoredModel
from models.worker_process import WorkerProcess

MAX_WAITING: Final = 16
MAX_UNREAD_EVENTS: Final = 256
READER_PATIENCE_S: Final = 30.0  # how long the engine waits for one that has stopped reading its answer
_GRAPH: Final = re.compile(r"\.?sha256-(?P<gguf>[0-9a-f]{64})\..*", re.ASCII)
_log = logging.getLogger(__name__)


class EngineHost:
    """Answers one question at a time, first come first served; the rest wait, MAX_WAITING of them at most.

    The worker is started for the first question and kept for the next; a question for another model replaces
    it.  Graphs are built once, in a process of their own, into `cache_dir`/graphs.  `aclose` ends everything.
    """

    def __init__(
        self,
        *,
        store: ModelStore,
        cache_dir: Path,
        threads: int,
        context_tokens: int,
        reader_patience_s: float = READER_PATIENCE_S,
    ) -> None:
        self._store = store
        self._graphs = cache_dir / "graphs"
        self._threads = threads
        self._context_tokens = context_tokens
        self._reader_patience_s = reader_patience_s
        self._turn = asyncio.Lock()  # who may use the worker
        self._converting = asyncio.Lock()  # taken after the turn, never before
        self._worker: WorkerProcess | None = None
        self._loaded: str | None = None
        self._waiting: set[_Answer] = set()
        self._answers: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> str | None:
        """Digest of the model that is ready to answer."""
        return self._loaded if self._worker is not None and self._worker.running else None

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return self._turn.locked()

    @property
    def queue_length(self) -> int:
        """How many questions wait for their turn."""
        return len(self._waiting)

    async def generate(self, model: StoredModel, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Yield the answer's events, GenerationFinished last; closing the generator cancels.

        A model without a graph is converted first.  Raises QueueFullError, PromptTooLongError, WorkerDiedError and
        whatever of ModelsError the model deserves.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFullError(f"{len(self._waiting)} questions are waiting already")
        answer = _Answer(self._reader_patience_s)
        self._waiting.add(answer)
        task = asyncio.create_task(self._answer(model, request, answer), name=f"answer of {model.name}")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
        try:
            async for event in answer.events():
                yield event
        finally:
            self._waiting.discard(answer)
            task.cancel()  # the turn passes on once the worker is idle again; nobody need wait for that here

    async def prepare(self, model: StoredModel, progress: Callable[[float], None]) -> None:
        """Convert a model unless that has been done; `progress` hears the done part, 0 to 1.

        Raises CorruptModelError, UnsupportedModelError, NotEnoughSpaceError, DiskFullError, WorkerDiedError.
        """
        async with self._converting, _process() as worker:  # a process of its own: its memory goes with it
            gguf = await asyncio.to_thread(self._store.path, model.manifest.gguf)
            async with aclosing(worker.ask(Convert(str(gguf), str(self._graphs)))) as events:
                async for event in events:
                    if isinstance(event, Progressed):
                        progress(event.fraction)

    async def collect(self) -> None:
        """Delete the graphs of models that have left the store, and unload such a model."""
        async with self._turn, self._converting:
            models = await asyncio.to_thread(self._store.models)
            if self._loaded not in {model.digest for model in models}:
                await self._unload()
            keep = {model.manifest.gguf.sha256 for model in models}
            await asyncio.to_thread(_remove_graphs, self._graphs, keep)

    async def aclose(self) -> None:
        """Break off every answer and end the worker."""
        answers = list(self._answers)
        for answer in answers:
            answer.cancel()
        if self._worker is not None:
            await self._worker.close()  # first, so that no answer waits for it to notice
        await asyncio.gather(*answers, return_exceptions=True)
        await self._unload()

    async def _answer(self, model: StoredModel, request: GenerationRequest, answer: "_Answer") -> None:
        """Wait for the turn and hand the worker's events over; errors go the same way."""
        try:
            async with self._turn:
                self._waiting.discard(answer)
                await self._stream(model, request, answer)
            answer.end(None)
        except ModelsError as error:
            answer.end(error)
        except TimeoutError:
            _log.warning("an answer was broken off: nobody has read it for %.0f s", self._reader_patience_s)
        finally:
            answer.end(WorkerDiedError("the answer was broken off"))

    async def _stream(self, model: StoredModel, request: GenerationRequest, answer: "_Answer") -> None:
        try:
            worker = await self._worker_with(model)
            async with aclosing(worker.ask(Generate(request))) as events:
                async for event in events:
                    if isinstance(event, TokensGenerated | GenerationFinished):
                        await answer.put(event)
        except (WorkerDiedError, WorkerProtocolError):
            await self._unload()
            raise

    async def _worker_with(self, model: StoredModel) -> WorkerProcess:
        """Return a worker that has the model loaded; the caller has the turn."""
        if self._worker is not None and self.loaded == model.digest:
            return self._worker
        await self._unload()
        load = await asyncio.to_thread(self._load_order, model)
        worker = await WorkerProcess.start()
        try:
            if isinstance(await worker.last(load), GraphMissing):
                await self.prepare(model, lambda _: None)
                await worker.last(load)
        except BaseException:
            await worker.close()
            raise
        self._worker, self._loaded = worker, model.digest
        return worker

    def _load_order(self, model: StoredModel) -> Load:
        template = model.manifest.blob(TEMPLATE)
        return Load(
            gguf=str(self._store.path(model.manifest.gguf)),
            graphs=str(self._graphs),
            template=None if template is None else self._store.read(template).decode(errors="replace"),
            threads=self._threads,
            context_tokens=self._context_tokens,
        )

    async def _unload(self) -> None:
        worker, self._worker, self._loaded = self._worker, None, None
        if worker is not None:
            await worker.close()


class _Answer:
    """Hands events from the engine to a reader: bounded, with an end that always arrives."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._events: deque[GenerationEvent] = deque()
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._over = False
        self._error: ModelsError | None = None

    async def put(self, event: GenerationEvent) -> None:
        """Add an event.  Raises TimeoutError when the reader leaves no room for too long."""
        while len(self._events) >= MAX_UNREAD_EVENTS:
            self._room.clear()
            async with asyncio.timeout(self._patience_s):
                await self._room.wait()
        self._events.append(event)
        self._news.set()

    def end(self, error: ModelsError | None) -> None:
        """Close the answer; the first end counts."""
        if not self._over:
            self._over, self._error = True, error
            self._news.set()

    async def events(self) -> AsyncIterator[GenerationEvent]:
        """Yield what was put, then raise the error if there was one."""
        while True:
            while self._events:
                event = self._events.popleft()
                self._room.set()
                yield event
            if self._over:
                break
            self._news.clear()
            await self._news.wait()
        if self._error is not None:
            raise self._error


@asynccontextmanager
async def _process() -> AsyncIterator[WorkerProcess]:
    worker = await WorkerProcess.start()
    try:
        yield worker
    finally:
        await worker.close()


def _remove_graphs(graphs: Path, keep: set[str]) -> None:
    if not graphs.is_dir():
        return
    for path in graphs.iterdir():
        found = _GRAPH.fullmatch(path.name)
        if found is None or found["gguf"] not in keep or path.name.startswith("."):
            shutil.rmtree(path, ignore_errors=True)
