"""The daemon: how soon it is ready and what it weighs, how soon a neighbour is there, what asking through one costs."""

import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from device.client import AnswerFinished, ChatMessage, DaemonClient, Sampling
from tests.bench.rows import Row
from tests.e2e.hearths import COMMAND, Hearth

STARTS = 5
IDLE_S = 10.0
SETTLE_S = 2.0
LINKS = 5
ROUNDS = 9
TOKENS = 64
MODEL = "smollm2-135m"
QUESTION = "Tell me the story of the town of {}, its river and its bridges."
TOWNS = ("Avignon", "Bamberg", "Coimbra", "Dresden", "Evora", "Firenze", "Girona", "Hamelin", "Ivrea", "Jena")


def rows() -> list[Row]:
    """Measure everything of this area."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as folder:
        return [*_alone(Path(folder)), *_together(Path(folder))]


def _alone(folder: Path) -> list[Row]:
    """One daemon without a model."""
    help_s = [_seconds([str(COMMAND), "--help"]) for _ in range(STARTS)]
    ready_s = []
    for number in range(STARTS):
        started = time.perf_counter()
        with Hearth(folder / f"alone{number}", name="alone") as hearth:
            ready_s.append(time.perf_counter() - started)
            if number == STARTS - 1:
                time.sleep(SETTLE_S)
                resident_mb = _resident_mb(hearth.pid)
                idle_percent = _idle_percent(hearth.pid)
    return [
        Row(name="hearth --help", value=statistics.median(help_s), unit="s", goal="<= 0.25"),
        Row(name="daemon ready, empty directory", value=statistics.median(ready_s), unit="s", goal="<= 1.5"),
        Row(name="daemon resident, no model", value=resident_mb, unit="MB", goal="<= 75"),
        Row(name="daemon idle", value=idle_percent, unit="% of a core", goal="<= 2"),
    ]


def _together(folder: Path) -> list[Row]:
    """Two paired daemons, one of which has the model."""
    with Hearth(folder / "ember", name="ember") as ember, Hearth(folder / "spark", name="spark") as spark:
        ember.run("models", "pull", MODEL)
        spark.run("join", *ember.json("pair")["words"].split())
        linked_s = [_linked_again_s(spark) for _ in range(LINKS)]
        clients = [DaemonClient(hearth.data_dir / "api.sock") for hearth in (ember, spark)]
        asyncio.run(_answers(clients[1], 0))  # the engine is loaded, the link has carried an answer
        here, there = [], []
        for number in range(ROUNDS):
            here.append(asyncio.run(_answers(clients[0], number)))
            there.append(asyncio.run(_answers(clients[1], number)))
    first_ms = [statistics.median(end.ttft_ms for end in ends) for ends in (there, here)]
    rate = [statistics.median(end.tokens_per_s for end in ends) for ends in (there, here)]
    peer = "at that neighbour itself"
    return [
        Row(name="discovered and linked after start", value=statistics.median(linked_s), unit="s", goal="<= 2"),
        Row(
            name="first token through a neighbour, later by",
            value=first_ms[0] - first_ms[1],
            unit="ms",
            goal="<= 30",
            peer=peer,
            peer_value=first_ms[1],
        ),
        Row(
            name="streamed rate through a neighbour",
            value=rate[0],
            unit="tokens/s",
            goal=">= 0.95x",
            peer=peer,
            peer_value=rate[1],
            ratio=rate[0] / rate[1],
        ),
    ]


def _linked_again_s(hearth: Hearth) -> float:
    """From the start of a member's process until its link is up."""
    hearth.stop()
    started = time.perf_counter()
    hearth.start()
    asyncio.run(_linked(DaemonClient(hearth.data_dir / "api.sock")))
    return time.perf_counter() - started


async def _linked(client: DaemonClient) -> None:
    async with asyncio.timeout(30):
        while not any(one.state == "linked" for one in (await client.status()).neighbours):  # noqa: ASYNC110  asked over HTTP
            await asyncio.sleep(0.005)


async def _answers(client: DaemonClient, number: int) -> AnswerFinished:
    """Ask one of the questions; how it went."""
    question = ChatMessage(role="user", content=QUESTION.format(TOWNS[number % len(TOWNS)]))
    items = [item async for item in client.ask([question], sampling=Sampling(max_tokens=TOKENS))]
    end = items[-1]
    if not isinstance(end, AnswerFinished):
        raise TypeError("the answer has no end")
    return end


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _idle_percent(pid: int) -> float:
    before = _cpu_s(pid)
    time.sleep(IDLE_S)
    return 100 * (_cpu_s(pid) - before) / IDLE_S


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
