"""Two hearths: how soon a neighbour is there, and what asking through one costs beside asking it at home."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from device.client import AnswerFinished, ChatMessage, DaemonClient, Sampling
from mesh.ports import free_port
from tests.bench.rows import Row
from tests.e2e.hearths import Hearth

LINKS = 5
ROUNDS = 9
TOKENS = 64
QUIET_S = 1.2  # RFC 6762, 6: nobody repeats a record within a second, and no board is back sooner
MODEL = "smollm2-135m"
QUESTION = "Tell me the story of the town of {}, its river and its bridges."
TOWNS = ("Avignon", "Bamberg", "Coimbra", "Dresden", "Evora", "Firenze", "Girona", "Hamelin", "Ivrea", "Jena")


def rows() -> list[Row]:
    """Measure two paired daemons, one of which has the model."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as folder:
        return _between(Path(folder))


def _between(folder: Path) -> list[Row]:
    # A board keeps its ports: others at each start would be news to its neighbour, who takes little of that at once.
    kept = {"HEARTH_MQTT_PORT": str(free_port("127.0.0.1")), "HEARTH_DOOR_PORT": str(free_port("127.0.0.1"))}
    with Hearth(folder / "ember", name="ember") as ember, Hearth(folder / "spark", name="spark", env=kept) as spark:
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
    time.sleep(QUIET_S)
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
