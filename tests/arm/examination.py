"""What each board is asked, and what is made of its answers beside this machine's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from models.core.request import GenerationRequest, Message, SamplingParams
from models.errors import ModelsError
from models.store import ModelStore, StoredModel
from tests.arm.agreement import first_difference, widest_gap
from tests.arm.machines import Answer, Machine, company, int8_products_cpu_s, machine
from tests.bench.rows import Row

PROSE: Final = Path(__file__).parents[1] / "models" / "text" / "prose.txt"
ANSWER_TOKENS: Final = 12
LONG_CHARACTERS: Final = 800  # some 160 tokens
ALTERNATIVES: Final = 5  # beside each token: what a near tie is read from
ROUNDS: Final = 2  # of decode steps and of their products, in turns; the shortest of each count
MOST_PRODUCTS: Final = 5.0  # times a step may take what its products in 8 bits take: 3 with good kernels, 22 without

GREEDY: Final = SamplingParams(max_tokens=ANSWER_TOKENS)
QUESTIONS: Final = {
    "chat": GenerationRequest((Message("user", "What is the capital of France?"),), GREEDY, logprobs=ALTERNATIVES),
    "text": GenerationRequest((), GREEDY, prompt="The old lighthouse", logprobs=ALTERNATIVES),
}
LONG_QUESTIONS: Final = {  # of which a tiny model would make more tokens than it has room for
    "long text": GenerationRequest((), GREEDY, prompt=PROSE.read_text()[:LONG_CHARACTERS], logprobs=ALTERNATIVES)
}
YES_OR_NO: Final = GenerationRequest((Message("user", "Is ice cold?"),), GREEDY, schema='{"enum": ["yes", "no"]}')


@dataclass
class Findings:
    """Figures, and what is wrong."""

    rows: list[Row] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Examination:
    """The questions to tiny models and to a real one, and this machine's answers."""

    def __init__(
        self,
        store: ModelStore,
        *,
        tiny: Sequence[StoredModel],
        real: StoredModel,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        """folder: for graphs; say: hears what is seen, as it is seen."""
        self._store = store
        self._tiny, self._real = tiny, real
        self._folder = folder
        self._say = say
        self._expected: dict[tuple[str, str], Answer] = {}

    async def here(self, program: Path) -> Findings:
        """Ask this machine, whose interpreter `program` is, and keep the answers."""
        async with machine(self._store, self._folder / "here") as this:
            for model, what, request in self._questions():
                self._expected[model.name, what] = await this.answer(model, request)
            seen = await company(self._store.path(self._tiny[0].manifest.gguf), self._folder / "here", program)
            self._say(f"{self._tiny[0].name}, here: {seen}")
            return Findings([await self._cost("this machine", this, program)])

    async def board(self, name: str, program: Path) -> Findings:
        """Ask a board the same, after `here`; `program` is its interpreter, and it converts the models itself."""
        found = Findings()
        async with machine(self._store, self._folder / name, program) as board:
            try:
                await self._ask(board, found)
                await self._company(name, program, found)
                found.rows.append(await self._cost(name, board, program))
            except ModelsError as error:
                found.complaints.append(f"it failed: {error}")
        found.complaints += [
            f"a decode step takes {row.ratio} times what its products in 8 bits take: a kernel has no good path here"
            for row in found.rows
            if row.ratio is not None and row.ratio > MOST_PRODUCTS
        ]
        return found

    async def _company(self, name: str, program: Path, found: Findings) -> None:
        """See whether guesses are used; the model has been asked, and so is converted."""
        model = self._tiny[0]
        seen = await company(self._store.path(model.manifest.gguf), self._folder / name, program)
        self._say(f"{model.name}: {seen}")
        if len(set(seen.blocks)) > 1:
            found.complaints.append(f"what company changes depends on the place: {seen.blocks}")

    async def _ask(self, board: Machine, found: Findings) -> None:
        chosen = await board.answer(self._tiny[0], YES_OR_NO)
        if chosen.text not in ('"yes"', '"no"'):
            found.complaints.append(f"an answer that does not fit its schema: {chosen.text!r}")
        for model, what, request in self._questions():
            name, expected = f"{model.name}, {what}", self._expected[model.name, what]
            answer = await board.answer(model, request)
            difference = first_difference(expected.steps, answer.steps)
            same = len(expected.steps) if difference is None else difference.step
            gap = widest_gap(expected.steps, answer.steps)
            self._say(f"{name}: {answer.text!r}, {same} tokens as here and at most {gap:.3f} nats apart")
            if difference is not None and difference.near_tie:
                self._say(f"{name}: then a near tie, {difference}")
            elif difference is not None:
                found.complaints.append(f"{name}: another answer, {difference}")

    def _questions(self) -> Iterator[tuple[StoredModel, str, GenerationRequest]]:
        for model in (*self._tiny, self._real):
            for what, request in (QUESTIONS | (LONG_QUESTIONS if model is self._real else {})).items():
                yield model, what, request

    async def _cost(self, name: str, machine: Machine, program: Path) -> Row:
        """Time decode steps and their products in turns."""
        gguf = self._store.path(self._real.manifest.gguf)
        products_s, steps_s = [], []
        for _ in range(ROUNDS):
            products_s.append(await int8_products_cpu_s(gguf, program))
            steps_s.append(await machine.step_cpu_s(self._real))
        step_s, product_s = min(steps_s), min(products_s)
        return Row(
            name=f"{name}: decode step",
            value=round(step_s * 1000, 1),
            unit="ms",
            goal=f"<= {MOST_PRODUCTS:g}x",
            peer="its products in 8 bits",
            peer_value=round(product_s * 1000, 1),
            ratio=round(step_s / product_s, 2),
        )
