"""A node on the simulated net: its questions and its engine are real, its mesh is not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from device.answering import STILL_AT_IT_S
from device.answers import Answer
from device.api import AnswerFinished, AnswerPiece
from device.asking import SILENCE_S
from device.core.access import OWNER, Caller
from device.core.chat_request import ChatRequest
from device.core.offering import EVERYTHING, Offering
from device.errands import Errands
from device.library import Library
from device.meter import Meter
from device.queries import Queries
from models.catalogue import Catalogue
from models.core.request import GenerationRequest, Message, SamplingParams
from models.host import EngineHost
from models.store import ModelStore
from tests.sim.mesh_net import SimulatedMesh, SimulatedNet
from tests.sim.tiny_model import CONTEXT_TOKENS, install_tiny

SOON_S = 30.0


class Home:
    """A node on the simulated net, with everything but HTTP."""

    def __init__(
        self,
        net: SimulatedNet,
        name: str,
        folder: Path,
        cache: Path,
        *,
        context_tokens: int = CONTEXT_TOKENS,
        slots: int = 1,
        silence_s: float = SILENCE_S,
        still_at_it_s: float = STILL_AT_IT_S,
        offering: Callable[[], Offering] = lambda: EVERYTHING,
    ) -> None:
        self.mesh: SimulatedMesh = net.node(name)
        self.store = ModelStore(folder / name / "models")
        self.folder = folder / name
        self.errands = Errands()
        self.engine = EngineHost(
            store=self.store, cache_dir=cache, threads=1, context_tokens=context_tokens, slots=slots
        )
        self.queries: Queries
        self.library: Library
        self._cache = cache
        self._offering = offering
        self._silence_s, self._still_at_it_s = silence_s, still_at_it_s

    @asynccontextmanager
    async def open(self, *, holds: str = "", seed: int = 1) -> AsyncIterator["Home"]:
        """Live, with a tiny model of that name if one is given; another seed makes another model."""
        if holds:
            await install_tiny(self.store, self.folder / "files", name=holds, seed=seed)
        self.library = Library(
            store=self.store,
            catalogue=Catalogue(()),
            engine=self.engine,
            cache_dir=self._cache,
            errands=self.errands,
        )
        self.queries = Queries(
            mesh=self.mesh,
            library=self.library,
            errands=self.errands,
            default_model="tiny",
            meter=Meter(),
            offering=self._offering,
            silence_s=self._silence_s,
            still_at_it_s=self._still_at_it_s,
        )
        self.library.on_change = self.queries.models_changed
        try:
            async with self.errands.open():
                self.queries.start()
                yield self
                await self.queries.stop(grace_s=0)
        finally:
            await self.engine.aclose()


def chat(text: str = "Hello", *, max_tokens: int = 5, model: str = "default", node: str = "auto") -> ChatRequest:
    """A question."""
    request = GenerationRequest((Message("user", text),), SamplingParams(max_tokens=max_tokens))
    return ChatRequest(model=model, node=node, generation=request, stream=True, include_usage=True)


@asynccontextmanager
async def asked(home: Home, question: ChatRequest, *, caller: Caller = OWNER) -> AsyncIterator[Answer]:
    """An answer, closed at the end of the block."""
    answer = await home.queries.ask(question, caller)
    try:
        async with asyncio.timeout(SOON_S):
            yield answer
    finally:
        await answer.aclose()


@asynccontextmanager
async def busy(queries: Queries, *, caller: Caller = OWNER) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Have somebody read an answer that does not end by itself; yields what ends it.

    Whoever only begins to read one loses the engine as soon as too much of it is unread.
    """
    answer = await queries.ask(chat(max_tokens=CONTEXT_TOKENS), caller)
    reading: asyncio.Task[None] | None = None

    async def end() -> None:
        if reading is not None:
            reading.cancel()
            await asyncio.wait((reading,))
        await answer.aclose()

    try:
        async with asyncio.timeout(SOON_S):
            await anext(answer)
            reading = asyncio.create_task(_read(answer), name="reading")
            yield end
    finally:
        await end()


async def _read(answer: Answer) -> None:
    async for _ in answer:
        pass


async def heard(home: Home, question: ChatRequest) -> tuple[str, AnswerFinished]:
    """The whole of an answer."""
    async with asked(home, question) as answer:
        items = [item async for item in answer]
    finished = items.pop()
    assert isinstance(finished, AnswerFinished)
    return "".join(item.text for item in items if isinstance(item, AnswerPiece)), finished
