"""A node that only gives and fetches models: python -m tests.bench.sharing_node DIR NAME BROKER [INTERFACE…].

Commands come on stdin, a JSON object a line, and so do the answers on stdout: {"do": "offer"}, {"do": "join", "words"},
{"do": "find", "digest", "holders"}, {"do": "pull", "digest"} when a holder is known, {"do": "tell", "count"}: a word of
an answer every 20 ms to the only neighbour, {"do": "used"}: also how late such words came, in ms.
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, Final, Literal, cast

from device.allocator import keep_buffers
from device.api_of_models import HeldModel
from device.core.query_messages import Status
from device.errands import Errands
from device.sharing.relatives import Relatives
from device.sharing.releases import Releases
from device.sharing.sharing import Sharing
from device.sharing.stock import Stock
from mesh.node import MeshConfig, MeshNode, Received
from mesh.publishing import verify
from models.arrivals import Arrivals
from models.blob_trees import BlobTrees
from models.cards import Cards
from models.store import ModelStore, StoredModel

WORD: Final = 200  # a kind that no device uses
WORD_BYTES: Final = 120  # and no longer than a report with some tokens
WORD_EVERY_S: Final = 0.02

Broker = Literal["auto", "mosquitto", "amqtt"]


class Node:
    """Mesh and sharing, and nothing else."""

    def __init__(self, folder: Path, name: str, broker: Broker, interfaces: tuple[str, ...]) -> None:
        self.mesh = MeshNode(
            MeshConfig(
                data_dir=folder / name, name=name, interfaces=interfaces, mqtt_port=0, door_port=0, broker=broker
            )
        )
        self.late_ms: list[float] = []
        self.mesh.on_message(self._heard)
        self.store = ModelStore(folder / name / "models")
        self.errands = Errands()
        trees = BlobTrees(self.store)
        releases = Releases(Cards(self.store, verify=verify), trees, self.mesh.publisher, verify=verify)
        stored = self.store.models()
        self.sharing = Sharing(
            mesh=self.mesh,
            arrivals=Arrivals(self.store, releases.promise),
            releases=releases,
            relatives=Relatives(trees, lambda: stored),
            stock=lambda arriving: Stock(
                store=self.store,
                stored=lambda: stored,
                arriving=arriving,
                releases=releases,
                trees=trees,
                errands=self.errands,
            ),
            models_of=self._models_of,
            on_arrived=lambda _: None,
        )
        held = tuple(HeldModel(name=one.name, digest=one.digest, size_bytes=one.size_bytes) for one in stored)
        self.mesh.announce(lambda: Status(name=name, models=held).to_body())

    def _models_of(self, node_id: str) -> tuple[HeldModel, ...]:
        body = self.mesh.announcements().get(node_id)
        return Status.parse(body).models if body else ()

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked and say what came of it."""
        match command["do"]:
            case "offer":
                return {"words": (await self.mesh.open_offer()).words}
            case "join":
                return {"name": (await self.mesh.join(command["words"])).name}
            case "find":
                return await self._find(command["digest"], command["holders"])
            case "pull":
                return await self._pull(command["digest"])
            case "tell":
                return await self._tell(command["count"])
        return {**_used(), "late_ms": self.late_ms}

    async def _tell(self, count: int) -> dict[str, Any]:
        [peer] = [one.node_id for one in self.mesh.neighbours()]
        due = time.monotonic()
        for _ in range(count):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += WORD_EVERY_S
            await self.mesh.send(peer, WORD, time.monotonic_ns().to_bytes(8) + bytes(WORD_BYTES))
        return {"told": count}

    def _heard(self, received: Received) -> None:
        if received.kind == WORD:
            self.late_ms.append((time.monotonic_ns() - int.from_bytes(received.body[:8])) / 1e6)

    async def _find(self, digest: str, holders: int) -> dict[str, Any]:
        while True:
            found = [one for one in self.mesh.neighbours() if one.reachable]
            if sum(any(held.digest == digest for held in self._models_of(one.node_id)) for one in found) >= holders:
                return {"neighbours": len(found)}
            await asyncio.sleep(0.05)

    async def _pull(self, digest: str) -> dict[str, Any]:
        while not self.sharing.offered(digest):  # noqa: ASYNC110  the benchmark's own patience
            await asyncio.sleep(0.05)
        before, began = _used(), time.perf_counter()
        async for step in self.sharing.pull(digest, "model"):
            if isinstance(step, StoredModel):
                break
        seconds, after = time.perf_counter() - began, _used()
        return {"seconds": seconds, "cpu_s": after["cpu_s"] - before["cpu_s"], "rss_mb": after["rss_mb"]}


def _used() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The most since it was asked last (proc(5)): pairing needs 64 MiB for a moment, and is no transfer.
    most = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return {"cpu_s": used.ru_utime + used.ru_stime, "rss_mb": int(most.split()[1]) / 1000}


async def main(folder: str, name: str, broker: str, *interfaces: str) -> None:
    """Run until stdin ends."""
    node = Node(Path(folder), name, cast("Broker", broker), interfaces or ("lo",))
    ready = asyncio.Event()
    running = asyncio.create_task(node.mesh.run(ready))
    await ready.wait()
    async with node.errands.open():
        sharing = asyncio.create_task(node.sharing.run())
        sys.stdout.write(json.dumps({"ready": node.mesh.node_id}) + "\n")
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(json.dumps(await node.do(json.loads(line))) + "\n")
            sys.stdout.flush()
        sharing.cancel()
        await asyncio.wait((sharing,))
    running.cancel()
    await asyncio.wait((running,))


if __name__ == "__main__":
    keep_buffers()
    asyncio.run(main(*sys.argv[1:]))
