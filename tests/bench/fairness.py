"""A crowd at one node: who is served, who is refused, and how evenly; in virtual time, and over HTTP on loopback."""

import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from device.client import DaemonClient
from device.core.admission import Admission, Client, Standing
from device.node import HearthNode
from tests.bench.rows import Row
from tests.sim.crowd import Asker, jain, live
from tests.sim.hearth import hearth_config, living

HOURS = 20
PROGRAMS = 8
AT_ONCE = (2, 16)  # questions that a modest and a greedy program keep in hand: more together than there are places
LOAD_S = 10.0
TOKENS = 16
OK, BUSY = 200, 503
MANY_WAITING = 32


def rows() -> list[Row]:
    """Measure everything of this area."""
    return [*_simulated(), _cost(), *asyncio.run(_loaded())]


def _simulated() -> list[Row]:
    """Phones that ask very different amounts, for virtual hours."""
    askers = [
        Asker(client=Client(str(number), Standing.GUEST), at_once=1 + number % 8, tokens=30 * (1 + number))
        for number in range(PROGRAMS)
    ]
    crowd = live(askers, for_s=HOURS * 3600.0)
    name = f"{crowd.answers.total()} simulated questions of {PROGRAMS} unequal phones: Jain's index"
    return [Row(name=name, value=jain(crowd.served[asker.client] for asker in askers), unit="", goal=">= 0.99")]


def _cost() -> Row:
    """What one question costs the queue while it is full: taken, given a turn, its end, and everybody's place."""
    admission = Admission()
    for number in range(MANY_WAITING):
        admission.enter(Client(str(number), Standing.NEIGHBOUR), TOKENS)
    spans = []
    for _ in range(200):
        began = time.perf_counter()
        for ticket in admission.start(now=0.0):
            admission.end(ticket, tokens=TOKENS, now=0.0)
            admission.order()
            admission.enter(ticket.client, TOKENS)
        spans.append(time.perf_counter() - began)
    return Row(name=f"a turn with {MANY_WAITING} waiting", value=statistics.median(spans) * 1e6, unit="us")


async def _loaded() -> list[Row]:
    """Programs with a key each, together at far more than one node can do."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as folder:
        os.environ.setdefault("XDG_CACHE_HOME", f"{folder}/cache")
        config = hearth_config(Path(folder) / "crowd")
        async with living(config, holds="tiny") as node:
            owner = DaemonClient(config.socket_path)
            keys = [(await owner.add_key(f"program {number}")).secret for number in range(PROGRAMS)]
            seen: Counter[int] = Counter()
            served: Counter[str] = Counter()
            crowd = [
                _keep_asking(node, key, seen, served)
                for number, key in enumerate(keys)
                for _ in range(AT_ONCE[number % 2])
            ]
            await asyncio.gather(*crowd)
    others = seen.total() - seen[OK] - seen[BUSY]
    return [
        Row(name="load beyond capacity: questions answered", value=seen[OK], unit=""),
        Row(name="load beyond capacity: refused with 503 and Retry-After", value=seen[BUSY], unit=""),
        Row(name="load beyond capacity: anything else", value=others, unit="", goal="<= 0"),
        _fairness(served),
    ]


def _fairness(served: Counter[str]) -> Row:
    """How even the shares were, beside what they would be if whoever asks more had more."""
    name, asked = f"load beyond capacity: Jain's index of {PROGRAMS} programs", AT_ONCE * (PROGRAMS // 2)
    even, uneven = jain(served.values()), jain(asked)
    return Row(name=name, value=even, unit="", peer="first come", peer_value=uneven, ratio=even / uneven)


async def _keep_asking(node: HearthNode, key: str, seen: Counter[int], served: Counter[str]) -> None:
    """Ask again and again; after a refusal soon, for a crowd has no patience."""
    http, end = node.administration.http, time.monotonic() + LOAD_S
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": TOKENS}
    async with httpx.AsyncClient(
        base_url=f"http://{http.host}:{http.port}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
        trust_env=False,
    ) as client:
        while time.monotonic() < end:
            reply = await client.post("/v1/chat/completions", json=body)
            honest = reply.status_code != BUSY or int(reply.headers["retry-after"]) > 0
            seen[reply.status_code if honest else 0] += 1
            if reply.status_code == OK:
                served[key] += reply.json()["usage"]["total_tokens"]
            else:
                await asyncio.sleep(0.2)
