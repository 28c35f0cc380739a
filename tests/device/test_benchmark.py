"""What is measured of a node, and what becomes of figures that others disturb."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from device.benchmark import ROUNDS, TRIES, Benchmark, BoardBusyError
from device.client import DaemonClient, RequestRefusedError
from device.node import HearthNode
from tests.sim.daemon import SimulatedDaemon
from tests.sim.hearth import hearth_config, living

QUESTIONS = 3
HEARD = [
    ("loading the model", 1, 1),
    *(("decode", number + 1, ROUNDS) for number in range(ROUNDS)),
    *(("prefill", number + 1, ROUNDS) for number in range(ROUNDS)),
    *((f"{QUESTIONS} at once", number + 1, ROUNDS) for number in range(ROUNDS)),
]


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[HearthNode]:
    """A real node with a tiny model, whose context holds no long prompt."""
    async with living(hearth_config(tmp_path, context_tokens=512), holds="tiny") as node:
        yield node


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SimulatedDaemon]:
    """A simulated daemon."""
    with SimulatedDaemon(tmp_path) as daemon:
        yield daemon


async def test_a_real_node(node: HearthNode) -> None:
    """Every figure is there; the prompt is as long as the context allows; the queue is empty afterwards."""
    heard: list[tuple[str, int, int]] = []
    client = DaemonClient(node.config.socket_path)
    bench = Benchmark(client, model="tiny", questions=QUESTIONS, progress=lambda *step: heard.append(step))
    figures = await bench.run()
    (model,) = (await client.models()).models
    assert (figures.model, figures.model_digest, figures.questions) == ("tiny", model.digest, QUESTIONS)
    assert figures.decode.tokens == 64
    assert 50 < figures.prefill.tokens < 512
    assert figures.at_once.tokens == QUESTIONS * 32
    assert min(speed.tokens_per_s for speed in (figures.decode, figures.prefill, figures.at_once)) > 0
    assert figures.anonymous_bytes > 10_000_000
    assert figures.file_bytes > 1_000_000
    assert heard == HEARD
    queries = (await client.status()).queries
    assert (queries.running, queries.waiting) == (0, 0)
    assert queries.asked == 3 + ROUNDS * (2 + QUESTIONS)  # three to load: two prompts were too long


async def test_a_model_that_is_not_here(node: HearthNode) -> None:
    """The daemon says so, and how to see what there is."""
    bench = _bench(DaemonClient(node.config.socket_path), model="absent")
    with pytest.raises(RequestRefusedError, match="absent") as raised:
        await bench.run()
    assert "hearth models ls" in raised.value.hint


async def test_a_node_that_answers_others_is_left_alone(daemon: SimulatedDaemon) -> None:
    """Nothing is asked of it; who wants figures is told to come again."""
    daemon.status["queries"]["running"] = 1
    with pytest.raises(BoardBusyError, match="answering others") as raised:
        await _bench(DaemonClient(daemon.socket_path), free_within_s=0).run()
    assert "try again" in raised.value.hint
    assert {path for _, path, _ in daemon.asked} == {"/api/status"}


async def test_figures_that_others_disturb_are_none(daemon: SimulatedDaemon) -> None:
    """Somebody came with every question: after some tries there is an error instead of a wrong figure."""
    daemon.others = 1
    with pytest.raises(BoardBusyError, match="others keep asking"):
        await _bench(DaemonClient(daemon.socket_path)).run()
    assert sum(path == "/v1/chat/completions" for _, path, _ in daemon.asked) == 1 + TRIES


async def test_a_refusal_that_is_not_of_the_length_ends_it(daemon: SimulatedDaemon) -> None:
    """Only a prompt that is too long is tried again, shorter; the shortest is not."""
    daemon.longest = 50
    figures = await _bench(DaemonClient(daemon.socket_path)).run()
    assert figures.prefill.tokens == 37
    daemon.longest = 10
    with pytest.raises(RequestRefusedError, match="the context holds"):
        await _bench(DaemonClient(daemon.socket_path)).run()


def _bench(client: DaemonClient, *, model: str = "default", free_within_s: float = 60.0) -> Benchmark:
    return Benchmark(client, model=model, questions=QUESTIONS, progress=lambda *_: None, free_within_s=free_within_s)
