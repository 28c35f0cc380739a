"""Answers several questions at a time with one engine; each goes on where the others leave it room.

Sequences fill the slots from the first on without gaps, so that a round is one run over neighbouring slots; where one
leaves, the last takes its place.  What has been computed is kept for questions that begin alike.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from models.core.batching import FEWEST_TOKENS, Chunk, Round, Scheduler
from models.core.company import TRIED, Company, company_of
from models.core.prefixes import PrefixTree
from models.core.request import GenerationEvent, GenerationFinished, GenerationRequest
from models.engine import Engine, FloatArray
from models.errors import CorruptModelError, ModelsError, OutOfMemoryError, UnforeseenError
from models.generation import Answering, Compute, Generator
from models.kv_cache import KeyValues

LEFT_TO_COMPUTE = 2  # tokens of a question at least: a single one is rounded in another way than in a whole prompt

Event = GenerationEvent | ModelsError


@dataclass(frozen=True, eq=False)
class Stretch:
    """Keys and values of consecutive tokens: (arrays, kv heads, tokens, head size)."""

    values: KeyValues

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return self.values.nbytes

    def split(self, tokens: int) -> "tuple[Stretch, Stretch]":
        """Cut it after so many tokens; copies, so that each can go without the other."""
        return Stretch(self.values[:, :, :tokens].copy()), Stretch(self.values[:, :, tokens:].copy())


class Batch:
    """The answers that one engine makes now.

    prefix_bytes: how much is kept for questions to come.  on_unforeseen: hears of what no library should raise; it ends
    only the answer that it befell, but what runs here should not be trusted with new ones.
    """

    def __init__(
        self,
        engine: Engine,
        generator: Generator,
        *,
        prefix_bytes: int = 0,
        on_unforeseen: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        if generator.vocabulary != engine.info.vocabulary:
            raise CorruptModelError(
                f"the vocabulary has {generator.vocabulary} tokens, the embedding {engine.info.vocabulary} rows"
            )
        self._engine = engine
        self._generator = generator
        self._prefix_bytes = prefix_bytes
        self._on_unforeseen = on_unforeseen
        self._prefixes: PrefixTree[Stretch] = PrefixTree(prefix_bytes)
        self._scheduler = Scheduler()
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []  # by slot
        self._company: Company | None = None  # in which a token's logits are those that it has alone, once known

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._running or self._waiting)

    def join(self, number: int, request: GenerationRequest, *, scope: str = "") -> None:
        """Take a question; it begins once there is a slot.  scope: whose beginnings of questions it may share."""
        answering = self._generator.answer(request)
        self._waiting.append(_Sequence(number, scope, answering, len(request.answered)))

    def cancel(self, number: int) -> list[Event]:
        """End an answer early; return its last events, nothing where it is over."""
        for sequence in self._waiting:
            if sequence.number == number:
                self._waiting.remove(sequence)
                return [sequence.not_begun()]
        for sequence in self._running:
            if sequence.number == number and not sequence.over:
                self._scheduler.drop(number)
                return list(self._go_on(sequence, None))
        return []

    def step(self) -> Iterator[tuple[int, Event]]:
        """Begin what there is room for, compute once, and yield what came of it, by the questions' numbers."""
        self._settle()
        while self._waiting and len(self._running) < self._engine.slots:
            sequence = self._waiting.popleft()
            self._running.append(sequence)
            for event in self._go_on(sequence, None):
                yield sequence.number, event
        self._settle()
        match self._scheduler.next():
            case Chunk() as chunk:
                computed = self._read(chunk)
            case Round(sequences=numbers):
                computed = self._write(numbers)
            case None:
                return
        for sequence, news in computed:
            if isinstance(news, ModelsError):
                events: Iterator[Event] = iter((news,))
                self._leave(sequence)
            else:
                events = self._go_on(sequence, news)
            for event in events:
                yield sequence.number, event

    def rest(self) -> None:
        """Give back what only speeds up questions: none is expected soon."""
        self._engine.rest()

    def abandon(self) -> list[int]:
        """Forget all questions; return their numbers."""
        numbers = [sequence.number for sequence in (*self._running, *self._waiting) if not sequence.over]
        for number in numbers:
            self._scheduler.drop(number)
        self._running.clear()
        self._waiting.clear()
        return numbers

    def _read(self, chunk: Chunk) -> "list[tuple[_Sequence, FloatArray | ModelsError]]":
        """Compute some of what a sequence waits for; it goes on once that is all."""
        [(slot, sequence)] = self._placed({chunk.sequence})
        started = time.perf_counter()
        try:
            self._check_company(slot, sequence)
            tokens, sequence.pending = sequence.pending[: chunk.tokens], sequence.pending[chunk.tokens :]
            rows = 1 if sequence.pending else sequence.rows
            logits = self._engine.append(slot, len(sequence.held), tokens, rows=rows)
        except ModelsError as error:
            self._scheduler.drop(sequence.number)
            return [(sequence, error)]
        self._scheduler.took(chunk, time.perf_counter() - started)
        sequence.held += tokens
        if sequence.pending:
            return []
        sequence.unkept, sequence.read = sequence.unkept or not sequence.read, True
        return [(sequence, logits)]

    def _check_company(self, slot: int, sequence: "_Sequence") -> None:
        """Find out, before the first guesses are computed, in which company this engine gives a token its own logits.

        In any other, guessing would change answers.
        """
        if sequence.rows == 1 or self._company is not None:
            return
        held, guesses = len(sequence.held), sequence.rows - 1

        def compute(place: int, ids: Sequence[int]) -> list[bytes]:
            return [row.tobytes() for row in self._engine.append(slot, place, ids, rows=len(ids))]

        most = 1  # where hardly room for an answer is left, nothing is found out
        if held + TRIED <= self._engine.context_tokens:
            known = [*sequence.pending, *sequence.held]
            self._company = company_of(compute, held, (known * TRIED)[:TRIED], machine=os.uname().machine)
            most = self._company.most(held)
        kept = min(guesses, max(0, most - (len(sequence.pending) - guesses)))
        sequence.pending = sequence.pending[: len(sequence.pending) - guesses + kept]
        sequence.rows = 1 + kept

    def _write(self, numbers: tuple[int, ...]) -> "list[tuple[_Sequence, FloatArray | ModelsError]]":
        """Compute one token of each; who reads a prompt between them gets one that its next chunk writes over."""
        placed = self._placed(set(numbers))
        first, last = placed[0][0], placed[-1][0]
        present = self._running[first : last + 1]
        held = [len(sequence.held) for sequence in present]
        try:
            logits = self._engine.advance(first, [sequence.pending[0] for sequence in present], held)
        except ModelsError as error:
            return [(sequence, error) for _, sequence in placed]
        for _, sequence in placed:
            sequence.held += sequence.pending
            sequence.pending = []
        return [(sequence, logits[slot - first : slot - first + 1]) for slot, sequence in placed]

    def _placed(self, numbers: set[int]) -> "list[tuple[int, _Sequence]]":
        """List sequences with their slots."""
        return [(slot, one) for slot, one in enumerate(self._running) if one.number in numbers]

    def _go_on(self, sequence: "_Sequence", logits: FloatArray | None) -> Iterator[Event]:
        """Have a sequence go on with what it waited for, up to the next time that it waits."""
        try:
            item = sequence.answering.send(logits)
            while not isinstance(item, Compute):
                yield replace(item, cached_tokens=sequence.cached) if isinstance(item, GenerationFinished) else item
                item = next(sequence.answering)
        except StopIteration:
            sequence.over = True
        except ModelsError as error:
            self._leave(sequence)
            yield error
        except MemoryError:
            self._leave(sequence)
            self._prefixes.clear()
            yield OutOfMemoryError("the board has no memory left for this answer")
        except BaseException as error:  # noqa: BLE001  a panic in a library is no Exception; whoever asked must hear an end
            self._leave(sequence)
            self._on_unforeseen(error)
            yield UnforeseenError("the engine failed in a way that nobody foresaw")
        else:
            self._await(sequence, item)

    def _await(self, sequence: "_Sequence", wanted: Compute) -> None:
        del sequence.held[len(sequence.held) - wanted.forget :]
        alone = len(self._running) == 1 and not self._waiting
        most = FEWEST_TOKENS if self._company is None else self._company.most(len(sequence.held))
        room = min(FEWEST_TOKENS, most) - len(wanted.tokens) if alone else 0
        draft = wanted.draft[: max(0, room)]  # all in one chunk, however slow the board
        sequence.pending, sequence.rows = [*wanted.tokens, *draft], 1 + len(draft)
        if not sequence.held:
            self._recall(sequence)
        self._scheduler.put(sequence.number, len(sequence.pending))

    def _recall(self, sequence: "_Sequence") -> None:
        """Begin with what has been computed for questions that began alike."""
        ids = sequence.pending
        [(slot, _)] = self._placed({sequence.number})
        start = 0
        for stretch, tokens in self._prefixes.find(sequence.scope, ids, most=len(ids) - LEFT_TO_COMPUTE):
            self._engine.cache.restore(slot, start, stretch.values[:, :, :tokens])
            start += tokens
        sequence.held, sequence.pending, sequence.cached = ids[:start], ids[start:], start

    def _settle(self) -> None:
        """Keep what was computed and free the slots of answers that are over, now that their words are on their way."""
        for sequence in tuple(self._running):
            if sequence.over:
                self._leave(sequence, keep=True)
            elif sequence.unkept:
                self._keep(self._running.index(sequence), sequence)

    def _keep(self, slot: int, sequence: "_Sequence") -> None:
        """Keep what has been computed for questions to come."""
        sequence.unkept = False
        cache = self._engine.cache
        if len(sequence.held) * cache.token_bytes <= self._prefix_bytes:
            self._prefixes.add(
                sequence.scope, sequence.held, lambda start, stop: Stretch(cache.saved(slot, start, stop))
            )

    def _leave(self, sequence: "_Sequence", *, keep: bool = False) -> None:
        """Free the slot; the last sequence moves there."""
        slot = self._running.index(sequence)
        if keep:
            self._keep(slot, sequence)
        last = self._running.pop()
        if last is not sequence:
            self._engine.cache.move(len(self._running), slot, len(last.held))
            self._running[slot] = last


@dataclass(eq=False)
class _Sequence:
    """A question, its answer, and what the slot holds of both.

    answered: how many of its tokens another engine has given; held: the tokens whose keys and values are there;
    pending: those it waits for; rows: of how many of these, the last ones, it wants the logits;
    read: whether the question has been computed; unkept: that is to be kept yet; cached: how many were there before;
    over: its answer has ended, and the slot is still to be freed.
    """

    number: int
    scope: str
    answering: Answering
    answered: int
    held: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    rows: int = 1
    read: bool = False
    unkept: bool = False
    over: bool = False
    cached: int = 0

    def not_begun(self) -> GenerationFinished:
        """The end of an answer that was cancelled before its turn."""
        return GenerationFinished(
            reason="cancelled", prompt_tokens=0, completion_tokens=self.answered, prefill_s=0.0, decode_s=0.0
        )
