"""The bus under the links: what a message costs on either broker, with TLS, and what the brokers weigh."""

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from mesh.core.topic_policy import CommonName, Role, inbox_topic
from tests.bench.rows import Row
from tests.mesh.running import ALICE, KINDS, Client, Kind, RunningBroker, running_broker

TOPIC = inbox_topic(CommonName(ALICE, Role.CTL))
TRIPS = 500
BLOCK_BYTES = 256 * 1024
BLOCKS = 100
WINDOW = 8  # blocks on their way: 2 MiB
IDLE_S = 3.0


def rows() -> list[Row]:
    """Measure both brokers."""
    return [row for kind in KINDS for row in asyncio.run(_measure(kind))]


async def _measure(kind: Kind) -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        async with running_broker(kind, Path(directory)) as running, _clients(running) as (owner, alice):
            pid = running.broker.pid
            if pid is None:
                raise RuntimeError("the broker ended")
            idle_percent = await _idle_percent(pid)
            resident_mb = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6  # noqa: ASYNC240  a procfs read does not block
            trip_ms = await _trip_ms(owner, alice)
            megabytes = await _megabytes_a_second(owner, alice)
    return [
        Row(name=f"{kind}: neighbour to owner, median", value=trip_ms, unit="ms"),
        Row(name=f"{kind}: 256 KiB messages", value=megabytes, unit="MB/s"),
        Row(name=f"{kind}: resident, one neighbour linked", value=resident_mb, unit="MB"),
        Row(name=f"{kind}: idle", value=idle_percent, unit="% of a core"),
    ]


@contextlib.asynccontextmanager
async def _clients(running: RunningBroker) -> AsyncIterator[tuple[Client, Client]]:
    async with running.owner() as owner, running.neighbour() as alice:
        yield owner, alice


async def _trip_ms(owner: Client, alice: Client) -> float:
    trips: list[float] = []
    for _ in range(TRIPS):
        owner.received.clear()
        began = time.perf_counter()
        alice.mqtt.publish(TOPIC, bytes(100))
        while not owner.received:  # noqa: ASYNC110  an event would add its own wake-up to the figure
            await asyncio.sleep(0)
        trips.append(1000 * (time.perf_counter() - began))
    return statistics.median(trips)


async def _megabytes_a_second(owner: Client, alice: Client) -> float:
    owner.received.clear()
    block = os.urandom(BLOCK_BYTES)
    began = time.perf_counter()
    sent = 0
    while len(owner.received) < BLOCKS:
        if sent < BLOCKS and sent - len(owner.received) < WINDOW:
            alice.mqtt.publish(TOPIC, block)
            sent += 1
        await asyncio.sleep(0)
    return BLOCKS * BLOCK_BYTES / 1e6 / (time.perf_counter() - began)


async def _idle_percent(pid: int) -> float:
    before = _cpu_s(pid)
    await asyncio.sleep(IDLE_S)
    return 100 * (_cpu_s(pid) - before) / IDLE_S


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
