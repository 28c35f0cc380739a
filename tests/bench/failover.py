"""The answering node is killed in mid-answer: how long nothing comes until another goes on."""

import asyncio
import statistics
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from device.client import AnswerFinished, AnswerPiece, ChatMessage, DaemonClient, Sampling
from tests.bench.rows import Row
from tests.e2e.hearths import Hearth, street

ROUNDS = 5
TOKENS = 200
KILLED_AFTER_CHARACTERS = 100
MODEL = "smollm2-135m"
QUESTION = ChatMessage(role="user", content="Tell me the story of a lighthouse keeper, her dog and their island.")


def rows() -> list[Row]:
    """Measure three paired daemons, two of which have the model."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as folder, street(Path(folder), MODEL) as hearths:
        loaded, fresh = [], []
        for _ in range(ROUNDS):
            fresh.append(_gap_s(hearths))
            _again(hearths)
            loaded.append(_gap_s(hearths))
            _again(hearths, *hearths)
    return [
        Row(name="failover in mid-answer, gap", value=statistics.median(loaded), unit="s", goal="<= 1.5"),
        Row(
            name="failover in mid-answer, gap, the other's engine not started yet",
            value=statistics.median(fresh),
            unit="s",
            goal="<= 1.5",
        ),
    ]


def _again(hearths: dict[str, Hearth], *stopped: str) -> None:
    """Start who was killed, and stop and start these."""
    for name, hearth in hearths.items():
        if name in stopped and name != "spark" and hearth.running:
            hearth.stop()
        if not hearth.running:
            hearth.start()
    hearths["spark"].wait_for("ember", "attic", model=MODEL)


def _gap_s(hearths: dict[str, Hearth]) -> float:
    """Ask, kill who answers; the longest time between two pieces from then on."""
    return asyncio.run(_longest_gap_s(DaemonClient(hearths["spark"].data_dir / "api.sock"), hearths))


async def _longest_gap_s(client: DaemonClient, hearths: dict[str, Hearth]) -> float:
    sampling = Sampling(max_tokens=TOKENS, repetition_penalty=1.2)
    last_at, gap_s, characters, killed = 0.0, 0.0, 0, False
    async with aclosing(client.ask([QUESTION], sampling=sampling)) as items:
        async for item in items:
            now = time.perf_counter()
            if killed:
                gap_s = max(gap_s, now - last_at)
            last_at = now
            if isinstance(item, AnswerPiece):
                characters += len(item.text)
                if not killed and characters > KILLED_AFTER_CHARACTERS:
                    killed = True
                    hearths[item.answerer.node_name].kill()
    if not isinstance(item, AnswerFinished) or len(item.parts) != 2:
        raise ValueError("the answer was not gone on with")
    return gap_s
