"""The daemon's engine: takes questions in turn, keeps one model loaded in a worker process, streams its answers."""

import asyncio
import re
import shutil
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

from models.core.manifest import TEMPLATE
from models.core.request import GenerationEvent, GenerationFinished, GenerationRequest, TokensGenerated
from models.core.worker_protocol import Convert, Generate, GraphMissing, KvCache, Load, Progressed
from models.errors import QueueFullError, WorkerDiedError, WorkerProtocolError
from models.store import ModelStore, StoredModel
from models.worker_process import WorkerProcess

MAX_WAITING: Final = 32
_GRAPH: Final = re.compile(r"\.?sha256-(?P<gguf>[0-9a-f]{64})\..*", re.ASCII)


class EngineHost:
    """Answers `slots` questions at a time, first come first served; the rest wait, MAX_WAITING of them at most.

    The worker is started for the first question and kept for the next; a question for another model waits for the
    answers of the loaded one, and those that come after it wait for it.  One that nobody asks is ended after `idle_s`
    seconds (0 = never): the next question loads the model again.  Graphs are built once, in a process of their
    own, into `cache_dir`/graphs.  `aclose` ends everything.
    """

    def __init__(
        self,
        *,
        store: ModelStore,
        cache_dir: Path,
        threads: int,
        context_tokens: int,
        slots: int = 1,
        prefix_bytes: int = 0,
        idle_s: float = 0,
        kv_cache: KvCache = "int8",
    ) -> None:
        """context_tokens: of each answer with its prompt; prefix_bytes: kept of what was computed, see `generate`."""
        self._store = store
        self._graphs = cache_dir / "graphs"
        self._threads = threads
        self._context_tokens = context_tokens
        self._prefix_bytes = prefix_bytes
        self._kv_cache: KvCache = kv_cache
        self._line = _Line(slots)
        self._coming: tuple[str, float] | None = None
        self._idle_s = idle_s
        self._idle: asyncio.TimerHandle | None = None
        self._resting: asyncio.Task[None] | None = None
        self._loading = asyncio.Lock()
        self._converting = asyncio.Lock()  # taken after a place in the line, never before
        self._worker: WorkerProcess | None = None
        self._loaded: str | None = None
        self._closing = False

    @property
    def loaded(self) -> str | None:
        """Digest of the model that is ready to answer."""
        return self._loaded if self._worker is not None and self._worker.running else None

    @property
    def loading(self) -> tuple[str, float] | None:
        """Digest of the model that is being made ready for a question, and how far its conversion is, 0 to 1."""
        return self._coming

    @property
    def slots(self) -> int:
        """How many questions are answered at a time."""
        return self._line.places

    @property
    def pid(self) -> int | None:
        """The process that has it loaded; None while there is none."""
        return None if self._worker is None or not self._worker.running else self._worker.pid

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return self._line.taken > 0

    @property
    def queue_length(self) -> int:
        """How many questions wait for their turn."""
        return len(self._line.waiting)

    async def generate(
        self, model: StoredModel, request: GenerationRequest, *, scope: str = ""
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Yield the answer's events, GenerationFinished last; closing the generator cancels.

        Whoever asks reads the events as they come: too many that are not read end the worker.  A model without a graph
        is converted first.  scope: questions of the same one share what was computed for their beginnings.
        Raises QueueFullError, PromptTooLongError, WorkerDiedError and whatever of ModelsError the model deserves.
        """
        with self._in_use():
            async with self._line.place(model.digest):
                worker = await self._worker_with(model)
                try:
                    async with aclosing(worker.ask(Generate(request, scope))) as events:
                        async for event in events:
                            if isinstance(event, TokensGenerated | GenerationFinished):
                                yield event
                except (WorkerDiedError, WorkerProtocolError):
                    await self._unload(worker)
                    raise
                finally:
                    if worker.spent:
                        self._line.close_to(model.digest)

    async def prepare(self, model: StoredModel, progress: Callable[[float], None]) -> None:
        """Convert a model unless that has been done; `progress` hears the done part, 0 to 1.

        Raises CorruptModelError, UnsupportedModelError, NotEnoughSpaceError, DiskFullError, WorkerDiedError;
        NotEnoughMemoryError where the graph is built, but no memory is free to measure it.
        """
        async with self._converting, _process() as worker:  # a process of its own: its memory goes with it
            gguf = await asyncio.to_thread(self._store.path, model.manifest.gguf)
            async with aclosing(worker.ask(Convert(str(gguf), str(self._graphs), self._threads))) as events:
                async for event in events:
                    if isinstance(event, Progressed):
                        progress(event.fraction)

    async def collect(self) -> None:
        """Delete the graphs of models that have left the store; unload such a model, and one that was set aside."""
        async with self._line.place(None), self._converting:
            models = await asyncio.to_thread(self._store.models)
            if self._loaded not in {model.digest for model in models if self._store.is_whole(model)}:
                await self._unload(self._worker)
            keep = {model.manifest.gguf.sha256 for model in models}
            await asyncio.to_thread(_remove_graphs, self._graphs, keep)

    def graph_bytes(self) -> dict[str, int]:
        """What the graphs take on the disk, by the SHA-256 of the GGUF that they were made of.  Blocks."""
        return _graph_bytes(self._graphs)

    async def aclose(self) -> None:
        """End the worker, and with it every answer; no other is started."""
        self._closing = True
        self._stay()
        async with self._loading:
            await self._unload(self._worker)
        if self._resting is not None:
            await self._resting

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep what is loaded for the time of a question, and for a while after the last one."""
        self._stay()
        try:
            yield
        finally:
            if self._idle_s and not (self._line.taken or self._line.waiting or self._closing):
                self._stay()
                self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._begin_to_rest)

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()

    def _begin_to_rest(self) -> None:
        self._resting = asyncio.create_task(self._rest(), name="unloading an idle model")

    async def _rest(self) -> None:
        """Unload what nobody asks for; somebody who asks in the same moment waits for that."""
        if not (self._line.taken or self._line.waiting):
            async with self._line.place(None):
                await self._unload(self._worker)

    async def _worker_with(self, model: StoredModel) -> WorkerProcess:
        """Return a worker that has the model loaded; the caller has a place for it."""
        async with self._loading:
            if self._worker is not None and self.loaded == model.digest and not self._worker.spent:
                return self._worker
            await self._unload(self._worker)
            if self._closing:
                raise WorkerDiedError("the engine is being stopped")
            self._come(model, 0.0)
            try:
                worker = await self._load(model)
            finally:
                self._coming = None
            self._worker, self._loaded = worker, model.digest
            return worker

    async def _load(self, model: StoredModel) -> WorkerProcess:
        """Start a worker that has the model loaded, converted first where it must be."""
        load = await asyncio.to_thread(self._load_order, model)
        worker = await WorkerProcess.start()
        try:
            if isinstance(await worker.last(load), GraphMissing):
                await self.prepare(model, lambda fraction: self._come(model, fraction))
                await worker.last(load)
        except BaseException:
            await worker.close()
            raise
        return worker

    def _come(self, model: StoredModel, converted: float) -> None:
        self._coming = (model.digest, converted)

    def _load_order(self, model: StoredModel) -> Load:
        template = model.manifest.blob(TEMPLATE)
        return Load(
            gguf=str(self._store.path(model.manifest.gguf)),
            graphs=str(self._graphs),
            template=None if template is None else self._store.read(template).decode(errors="replace"),
            threads=self._threads,
            context_tokens=self._context_tokens,
            slots=self._line.places,
            prefix_bytes=self._prefix_bytes,
            kv_cache=self._kv_cache,
        )

    async def _unload(self, worker: WorkerProcess | None) -> None:
        """End a worker, which may have been ended already; the answers it still gives end with it."""
        if worker is not None:
            if worker is self._worker:
                self._worker, self._loaded = None, None
            await worker.close()


class _Line:
    """Places at the engine, for one model at a time, given in the order they were asked for."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.taken = 0
        self.waiting: deque[tuple[str | None, asyncio.Future[None]]] = deque()
        self._for: str | None = None  # the digest that those who have a place use; None: somebody wants none loaded
        self._closed = False

    @asynccontextmanager
    async def place(self, digest: str | None) -> AsyncIterator[None]:
        """Wait for a place beside others of the same digest; None: for the only one.  Raises QueueFullError."""
        if self.waiting or not self._fits(digest):
            await self._wait(digest)
        else:
            self._take(digest)
        try:
            yield
        finally:
            self.taken -= 1
            self._advance()

    def close_to(self, digest: str) -> None:
        """Give no place beside those taken: whoever comes waits until they are free."""
        self._closed = self._closed or self._for == digest

    def _fits(self, digest: str | None) -> bool:
        together = digest is not None and digest == self._for and not self._closed and self.taken < self.places
        return self.taken == 0 or together

    def _take(self, digest: str | None) -> None:
        self._closed = self._closed and self.taken > 0
        self.taken += 1
        self._for = digest

    async def _wait(self, digest: str | None) -> None:
        if len(self.waiting) >= MAX_WAITING:
            raise QueueFullError(f"{len(self.waiting)} questions are waiting already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((digest, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.taken -= 1  # it was given a place in the same moment
            else:
                self.waiting.remove((digest, turn))
            self._advance()
            raise

    def _advance(self) -> None:
        while self.waiting and self._fits(self.waiting[0][0]):
            digest, turn = self.waiting.popleft()
            self._take(digest)
            turn.set_result(None)


@asynccontextmanager
async def _process() -> AsyncIterator[WorkerProcess]:
    worker = await WorkerProcess.start()
    try:
        yield worker
    finally:
        await worker.close()


def _graph_bytes(graphs: Path) -> dict[str, int]:
    taken: dict[str, int] = {}
    for path in graphs.glob("*/*"):
        found = _GRAPH.fullmatch(path.parent.name)
        with suppress(FileNotFoundError):  # built or removed at this moment
            if found is not None:
                taken[found["gguf"]] = taken.get(found["gguf"], 0) + path.lstat().st_size
    return taken


def _remove_graphs(graphs: Path, keep: set[str]) -> None:
    if not graphs.is_dir():
        return
    for path in graphs.iterdir():
        found = _GRAPH.fullmatch(path.name)
        if found is None or found["gguf"] not in keep or path.name.startswith("."):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
