"""Measures how fast a node answers, by asking it as its owner does: through the same queue, with the same worker.

It asks only while nobody else does, and lets whoever comes go first with all that is waiting: others wait for one of
its questions at most.  A figure taken while somebody else was answered is thrown away and taken again.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from device.api import AnswerFinished, ChatMessage, Sampling, Status
from device.client import DaemonClient, RequestRefusedError
from device.errors import DeviceError

ROUNDS: Final = 3
TRIES: Final = 4  # of a figure that others disturb
DECODE_TOKENS: Final = 64
TOGETHER_TOKENS: Final = 32  # of each answer
READ_WORDS: Final = (400, 100, 25)  # of a long prompt; fewer where the context is small
FREE_WITHIN_S: Final = 60.0
LOOK_EVERY_S: Final = 0.2
TOO_LONG: Final = "context_length_exceeded"
STORY: Final = "Tell me a long story about {}."
HEROES: Final = ("a lighthouse", "an old bridge", "two brothers", "the last tram", "a beekeeper", "the well", "a map")
WORDS: Final = (
    *("apple", "boat", "cloud", "door", "evening", "farm", "garden", "hill", "island", "journey", "king", "letter"),
    *("mountain", "night", "ocean", "path", "queen", "river", "stone", "tree", "umbrella", "village", "winter", "yard"),
)


class BoardBusyError(DeviceError):
    """The node answers others all the time; nothing was measured, and their answers went on."""

    hint = "try again when fewer ask, or close the network for a while: hearth guests close"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Tokens a second, the median of several times; tokens: how many each time."""

    tokens_per_s: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured.

    decode: writing one answer; prefill: reading a prompt; at_once: writing `questions` answers together, from asking to
    the last one's end; anonymous_bytes, file_bytes: memory of the engine's process once it has answered a prompt, its
    own and what it shares with the kernel's cache of files.
    """

    model: str
    model_digest: str
    decode: Speed
    prefill: Speed
    questions: int
    at_once: Speed
    anonymous_bytes: int
    file_bytes: int


Progress = Callable[[str, int, int], None]


class Benchmark:
    """One run against one daemon.

    questions: how many at once, where it is about that; progress: hears what is being done, which time, of how many.
    """

    def __init__(
        self,
        client: DaemonClient,
        *,
        model: str,
        questions: int,
        progress: Progress,
        free_within_s: float = FREE_WITHIN_S,
    ) -> None:
        self._client = client
        self._free_within_s = free_within_s
        self._model = model
        self._questions = questions
        self._progress = progress
        self._random = random.Random()  # noqa: S311  no secret: prompts that were never asked before

    async def run(self) -> Figures:
        """Measure everything.

        Raises BoardBusyError, and what the client raises: RequestRefusedError where there is no such model here.
        """
        self._progress("loading the model", 1, 1)
        words, first = await self._load()
        memory = (await self._free()).memory
        decode = await self._median("decode", self._decode)
        prefill = await self._median("prefill", lambda: self._prefill(words))
        at_once = await self._median(f"{self._questions} at once", self._together, questions=self._questions)
        return Figures(
            model=first.answerer.model,
            model_digest=first.answerer.model_digest,
            decode=decode,
            prefill=prefill,
            questions=self._questions,
            at_once=at_once,
            anonymous_bytes=memory.engine_anonymous_bytes,
            file_bytes=memory.engine_file_bytes,
        )

    async def _load(self) -> tuple[int, AnswerFinished]:
        """Have the model loaded; find out how many words of a prompt it takes."""
        await self._free()
        for words in READ_WORDS[:-1]:
            try:
                return words, await self._ask(self._words(words), tokens=1)
            except RequestRefusedError as error:
                if error.code != TOO_LONG:
                    raise
        return READ_WORDS[-1], await self._ask(self._words(READ_WORDS[-1]), tokens=1)

    async def _decode(self) -> Speed:
        end = await self._ask(STORY.format(self._random.choice(HEROES)), tokens=DECODE_TOKENS)
        return Speed(tokens_per_s=end.tokens_per_s, tokens=end.completion_tokens)

    async def _prefill(self, words: int) -> Speed:
        end = await self._ask(self._words(words), tokens=1)
        read = end.prompt_tokens - end.cached_tokens  # what the template says first is known by then
        return Speed(tokens_per_s=1000 * read / end.ttft_ms, tokens=read)

    async def _together(self) -> Speed:
        began = time.monotonic()
        heroes = self._random.choices(HEROES, k=self._questions)
        asked = [self._ask(STORY.format(hero), tokens=TOGETHER_TOKENS) for hero in heroes]
        tokens = sum(end.completion_tokens for end in await asyncio.gather(*asked))
        return Speed(tokens_per_s=tokens / (time.monotonic() - began), tokens=tokens)

    async def _median(self, name: str, measure: Callable[[], Awaitable[Speed]], *, questions: int = 1) -> Speed:
        taken = []
        for number in range(ROUNDS):
            self._progress(name, number + 1, ROUNDS)
            taken.append(await self._undisturbed(measure, questions))
        return _median(taken)

    async def _undisturbed(self, measure: Callable[[], Awaitable[Speed]], questions: int) -> Speed:
        """Take a figure during which nobody else was answered."""
        before = await self._free()
        for _ in range(TRIES):
            figure = await measure()
            after = await self._free()
            others = after.queries.asked - before.queries.asked - questions
            if others == 0 and after.queries.answered == before.queries.answered:
                return figure
            before = after
        raise BoardBusyError("others keep asking this node: no figure would say what it can do alone")

    async def _free(self) -> Status:
        """Wait until nobody is being answered or waits."""
        give_up_at = time.monotonic() + self._free_within_s
        while (status := await self._client.status()).queries.running or status.queries.waiting:
            if time.monotonic() > give_up_at:
                raise BoardBusyError(f"this node has been answering others for {self._free_within_s:.0f} s")
            await asyncio.sleep(LOOK_EVERY_S)
        return status

    async def _ask(self, question: str, *, tokens: int) -> AnswerFinished:
        answer = self._client.ask(
            [ChatMessage(role="user", content=question)],
            model=self._model,
            node="local",
            sampling=Sampling(temperature=0, max_tokens=tokens),
        )
        async with aclosing(answer):
            async for item in answer:
                if isinstance(item, AnswerFinished):
                    return item
        raise AssertionError("an answer ends with AnswerFinished")

    def _words(self, count: int) -> str:
        """Say so many words in an order of their own, so that no beginning is one that the engine remembers."""
        return " ".join(self._random.choices(WORDS, k=count))


def _median(taken: Sequence[Speed]) -> Speed:
    return Speed(
        tokens_per_s=round(statistics.median(one.tokens_per_s for one in taken), 1),
        tokens=round(statistics.median(one.tokens for one in taken)),
    )
