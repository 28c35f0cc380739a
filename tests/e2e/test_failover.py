"""Three hearths, two of which hold the model: the one that answers is killed, and the other goes on."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from device.client import AnswerFinished, AnswerPiece, ChatMessage, DaemonClient, Sampling
from tests.e2e.hearths import Hearth, street

MODEL = "smollm2-135m"
QUESTION = ChatMessage(role="user", content="Tell me a long story about a lighthouse keeper and her dog.")
TOKENS = 400
WITHIN_S = 120.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hearths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Hearth]]:
    """`spark`, which asks, and two that hold the model, by name."""
    with street(tmp_path_factory.mktemp("failover"), MODEL) as hearths:
        yield hearths


async def test_killed_in_mid_answer(hearths: dict[str, Hearth]) -> None:
    """After kill -9 of the answering daemon the answer goes on and ends, and its parts name both nodes."""
    client = DaemonClient(hearths["spark"].data_dir / "api.sock")
    answer = client.ask([QUESTION], sampling=Sampling(max_tokens=TOKENS, repetition_penalty=1.2))
    text, killed, last_at, gap_s = "", "", time.monotonic(), 0.0
    async with asyncio.timeout(WITHIN_S), aclosing(answer):
        async for item in answer:
            if isinstance(item, AnswerFinished):
                end = item
                break
            assert isinstance(item, AnswerPiece)
            text += item.text
            if killed:
                gap_s = max(gap_s, time.monotonic() - last_at)
            last_at = time.monotonic()
            if not killed and len(text) > 100:
                killed = item.answerer.node_name
                hearths[killed].kill()
    first, second = end.parts
    assert {first.node_name, second.node_name} == {"ember", "attic"}
    assert (first.node_name, first.from_token, second.from_token) == (killed, 0, first.tokens)
    assert first.tokens + second.tokens == end.completion_tokens
    assert end.finish_reason in {"stop", "length"}
    assert "�" not in text
    assert gap_s < 10, "the gap that a person notices is measured by the benchmark"
    hearths[killed].start()
    hearths["spark"].wait_for("ember", "attic", model=MODEL)
    again = hearths["spark"].json("ask", "What is the capital of France?")
    assert "Paris" in again["answer"]
    assert again["parts"] == []
