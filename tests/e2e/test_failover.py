"""Three hearths, two of which hold the model: the one that answers fails, and the other goes on."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing

import pytest

from device.client import AnswerFinished, AnswerPiece, ChatMessage, DaemonClient, RequestRefusedError, Sampling
from tests.e2e.hearths import Hearth, street

MODEL = "smollm2-135m"
QUESTION = ChatMessage(role="user", content="Tell me a long story about a lighthouse keeper and her dog.")
TOKENS = 400
CHARACTERS = 100  # of the answer, then it happens
WITHIN_S = 120.0
HOLDERS = {"ember", "attic"}
Hearths = dict[str, Hearth]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearths]:
    """`spark`, which asks, and two that hold the model, by name."""
    with street(tmp_path_factory.mktemp("failover"), MODEL) as hearths:
        yield hearths


@pytest.fixture
def hearths(running: Hearths) -> Iterator[Hearths]:
    """All of them as if nothing had happened, before and after."""
    yield running
    for name in HOLDERS:
        if not running[name].running:
            running[name].start()
    running["spark"].wait_for(*HOLDERS, model=MODEL)


async def hear(hearths: Hearths, happens: Callable[[str], None]) -> tuple[str, str, AnswerFinished, float]:
    """Ask at `spark`; call `happens` with the name of who answers once.

    Returns that name, the whole text, its end, and the longest time between two pieces afterwards.
    """
    text, by, last_at, gap_s = "", "", time.monotonic(), 0.0
    client = DaemonClient(hearths["spark"].data_dir / "api.sock")
    answer = client.ask([QUESTION], sampling=Sampling(max_tokens=TOKENS, repetition_penalty=1.2))
    async with asyncio.timeout(WITHIN_S), aclosing(answer):
        async for item in answer:
            if isinstance(item, AnswerFinished):
                return by, text, item, gap_s
            assert isinstance(item, AnswerPiece)
            text += item.text
            gap_s = max(gap_s, time.monotonic() - last_at) if by else 0.0
            if not by and len(text) > CHARACTERS:
                by = item.answerer.node_name
                happens(by)
            last_at = time.monotonic()
    raise AssertionError("an answer ends with AnswerFinished")


def assert_both_gave(first: str, text: str, end: AnswerFinished) -> None:
    """One whole answer, the first part by `first`, the rest by the other holder."""
    assert [part.node_name for part in end.parts] == [first, *(HOLDERS - {first})]
    one, other = end.parts
    assert (one.from_token, other.from_token) == (0, one.tokens)
    assert one.tokens + other.tokens == end.completion_tokens
    assert end.answerer.node_name == first
    assert end.finish_reason in {"stop", "length"}
    assert "\ufffd" not in text


async def test_a_daemon_killed_in_mid_answer(hearths: Hearths) -> None:
    """After kill -9 the answer goes on and ends, with both nodes named; the next question is answered as ever."""
    first, text, end, gap_s = await hear(hearths, lambda name: hearths[name].kill())
    assert_both_gave(first, text, end)
    assert gap_s < 10, "what a person notices is measured by the benchmark"
    again = hearths["spark"].json("ask", "What is the capital of France?")
    assert "Paris" in again["answer"]
    assert again["parts"] == []


async def test_a_daemon_that_hangs_in_mid_answer(hearths: Hearths) -> None:
    """It keeps its connections and says nothing: within seconds the other goes on."""
    frozen: list[int] = []

    def freeze(name: str) -> None:
        frozen.append(hearths[name].pid)
        os.kill(frozen[0], signal.SIGSTOP)

    try:
        first, text, end, gap_s = await hear(hearths, freeze)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert_both_gave(first, text, end)
    assert gap_s < 15


async def test_all_holders_killed_in_mid_answer(hearths: Hearths) -> None:
    """The asker is told so at once, with what to do; nothing hangs."""

    def kill(_: str) -> None:
        for name in HOLDERS:
            hearths[name].kill()

    with pytest.raises(RequestRefusedError, match=rf"broke off after \d+ tokens .* nobody else .* {MODEL}") as raised:
        await hear(hearths, kill)
    assert (raised.value.code, raised.value.hint) == ("answer_lost", "ask again")
