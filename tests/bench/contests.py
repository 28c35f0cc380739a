"""What is measured of an engine, side by side: each family gives its rows of one file."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.bench.bandwidth import Bandwidth
from tests.bench.contestants import Contestant
from tests.bench.processes import anonymous_mb
from tests.bench.prompts import Prompt, Prompts, paragraphs
from tests.bench.rows import Row
from tests.bench.shelf import File

ROUNDS = 5
FEW_ROUNDS = 3
PREFILL_TOKENS = 512
DECODE_PROMPT_TOKENS = 64
USERS = 8
USER_PROMPT_TOKENS = 16
TAIL_TOKENS = 16  # behind a shared prefix
LOOKUP_TOKENS = 96
STORY = "Tell me a story about a fisherman and the sea."
COPY = "Repeat the following text exactly, word for word:\n\n{}"
ABOUT_DOCUMENT = "{}\n\nAnswer with sentences from the text above: how does a cloud form?"
# Of the peer's speed, by the file; none where a figure is only looked at.
DECODE_GOALS = {"135M Q4_1": 1.25, "135M Q4_0": 1.15, "1B Q4_1": 1.6, "1B Q4_0": 1.1}
PREFILL_GOALS = {"135M Q4_1": 3, "135M Q4_0": 1.4, "1B Q4_1": 3, "1B Q4_0": 1.3}
TOGETHER_GOALS = {"135M Q4_1": 1.8, "135M Q4_0": 1.15}
LOOKUP_GOALS = {"135M Q4_1": 2.5}

Work = Callable[[Contestant], Awaitable[float]]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The engines that have one file loaded.

    rivals: the peers that goals speak of, asked everything; others are printed beside them; bytes: of the weights, all
    of which a step of decoding reads.
    """

    file: File
    bytes: int
    prompts: Prompts
    bandwidth: Bandwidth
    ours: Contestant
    rivals: Sequence[Contestant]
    others: Sequence[Contestant]

    async def warm_up(self) -> None:
        """Have everybody load, and answer shortly."""
        for contestant in (self.ours, *self.rivals, *self.others):
            await contestant.answer([self.prompts.words(DECODE_PROMPT_TOKENS)], tokens=4)

    async def memory(self) -> list[Row]:
        """Weigh everybody, in parts of the file."""
        return self._weighed("loaded", goal="<= 0.2x" if self.file.is_large else "<= 0.6x")

    async def memory_after(self) -> list[Row]:
        """Weigh them once more, with what they keep of all that they were asked."""
        return self._weighed("after all this")

    def _weighed(self, when: str, *, goal: str = "") -> list[Row]:
        name = f"{self.file.label}: anonymous memory, {when}"
        rows = [of_the_file(name, anonymous_mb(self.ours.pid), self.bytes, goal=goal)]
        return rows + [
            of_the_file(f"{name}, of {peer.name}", anonymous_mb(peer.pid), self.bytes)
            for peer in (*self.rivals, *self.others)
        ]

    async def decode(self) -> list[Row]:
        """One answer, also as a part of what memory would allow."""
        tokens = 24 if self.file.is_large else 64
        prompt = self._open_prompt()
        steps: list[float] = []
        reads: list[float] = []

        async def work(contestant: Contestant) -> float:
            timing = await contestant.answer([prompt], tokens=tokens)
            if contestant is self.ours:
                steps.append(timing.steps_per_s)
                reads.append(self.bandwidth.measure())
            return timing.tokens_per_s

        rows = await self._contest("decode, 1 user", "tokens/s", work, goals=DECODE_GOALS, others=self.others)
        limit = max(reads) / self.bytes
        share = Row(
            name=f"{self.file.label}: decode, of the {limit:.0f} steps/s that {max(reads) / 1e9:.0f} GB/s allow",
            value=round(100 * statistics.median(steps) / limit, 1),
            unit="%",
            goal=">= 65" if self.file.label == "1B Q4_0" else "",
        )
        return [*rows, share]

    async def prefill(self) -> list[Row]:
        """A long prompt, another each time."""

        async def work(contestant: Contestant) -> float:
            timing = await contestant.answer([self.prompts.words(PREFILL_TOKENS)], tokens=1)
            return PREFILL_TOKENS / timing.first_s

        name = f"prefill of {PREFILL_TOKENS}"
        return await self._contest(name, "tokens/s", work, goals=PREFILL_GOALS, others=self.others)

    async def together(self) -> list[Row]:
        """Short questions of several users at once."""
        tokens = 16 if self.file.is_large else 64

        async def work(contestant: Contestant) -> float:
            prompts = [self.prompts.words(USER_PROMPT_TOKENS) for _ in range(USERS)]
            return (await contestant.answer(prompts, tokens=tokens)).together_per_s

        rounds = FEW_ROUNDS if self.file.is_large else ROUNDS
        name = f"{USERS} users at once, together"
        return await self._contest(name, "tokens/s", work, goals=TOGETHER_GOALS, rounds=rounds)

    async def lookup(self) -> list[Row]:
        """Answers that repeat much of their prompt."""
        if self.file.is_large:
            return []  # it does not read
        text = list(paragraphs())
        return [
            *await self._lookup("copy a text", COPY.format(text[0])),
            *await self._lookup("ask about a document", ABOUT_DOCUMENT.format("\n\n".join(text[:2]))),
        ]

    async def _lookup(self, name: str, question: str) -> list[Row]:
        prompt = self.prompts.conversation(question)

        async def work(contestant: Contestant) -> float:
            return (await contestant.answer([prompt], tokens=LOOKUP_TOKENS)).tokens_per_s

        return await self._contest(name, "tokens/s", work, goals=LOOKUP_GOALS)

    async def prefix(self) -> list[Row]:
        """How soon an answer begins whose prompt begins as the last one did."""

        async def work(contestant: Contestant) -> float:
            shared = self.prompts.words(PREFILL_TOKENS)
            first, second = (self.prompts.words(TAIL_TOKENS, after=shared) for _ in range(2))
            cold = await contestant.answer([first], tokens=1)
            warm = await contestant.answer([second], tokens=1, keep=len(shared.ids))
            return 100 * warm.first_s / cold.first_s

        name = f"first token after {PREFILL_TOKENS} known ones, of cold"
        rounds = FEW_ROUNDS if self.file.is_large else ROUNDS
        rows = await self._contest(name, "%", work, rounds=rounds)
        return [replace(row, goal="<= 6", ratio=None) for row in rows]

    def _open_prompt(self) -> Prompt:
        """Ask for a text that repeats nothing; a model of noise has no use for a question."""
        return self.prompts.words(DECODE_PROMPT_TOKENS) if self.file.is_large else self.prompts.conversation(STORY)

    async def _contest(
        self,
        name: str,
        unit: str,
        work: Work,
        *,
        goals: Mapping[str, float] | None = None,
        others: Sequence[Contestant] = (),
        rounds: int = ROUNDS,
    ) -> list[Row]:
        """Have everybody do the work in turns; a row for each peer: medians, and the median of the rounds' ratios."""
        peers = (*self.rivals, *others)
        figures = [[await work(one) for one in (self.ours, *peers)] for _ in range(rounds)]
        ours, *theirs = zip(*figures, strict=True)
        factor = (goals or {}).get(self.file.label)
        row = Row(
            name=f"{self.file.label}: {name}",
            value=round(statistics.median(ours), 1),
            unit=unit,
            goal=f">= {factor:g}x" if factor else "",
        )
        if not peers:
            return [row]
        return [
            replace(
                row,
                goal=row.goal if peer in self.rivals else "",
                peer=peer.name,
                peer_value=round(statistics.median(its), 1),
                ratio=round(statistics.median(our / it for our, it in zip(ours, its, strict=True)), 2),
            )
            for peer, its in zip(peers, theirs, strict=True)
        ]


def of_the_file(name: str, megabytes: float, file_bytes: int, *, goal: str = "") -> Row:
    """Make a row that has the size of the model's file for a peer."""
    return Row(
        name=name,
        value=round(megabytes, 1),
        unit="MB",
        goal=goal,
        peer="the file",
        peer_value=round(file_bytes / 1e6, 1),
        ratio=round(megabytes / (file_bytes / 1e6), 2),
    )
