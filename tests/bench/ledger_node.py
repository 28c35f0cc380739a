"""A node that says when its ledger has grown: python -m tests.bench.ledger_node DIR NAME ENTRIES.

On stdout, one JSON object a line: {"ready"} once it runs, {"seconds"} from the moment a neighbour was linked until the
ledger had so many entries.  It runs until stdin ends.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from mesh.node import MeshConfig, MeshNode


async def _tell_growth(node: MeshNode, entries: int) -> None:
    """Tell how long it took from the link, or from the first that came if a link with a new key took longer."""
    began, first = 0.0, _held(node)
    while True:
        await asyncio.sleep(0.002)
        if not began and (_held(node) > first or any(one.reachable for one in node.neighbours())):
            began = time.perf_counter()
        if began and _held(node) >= entries:
            _say(seconds=time.perf_counter() - began)
            return


def _held(node: MeshNode) -> int:
    ledger = node._store.ledger
    return len(ledger) if ledger is not None else 0


def _say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def main(folder: str, name: str, entries: str) -> None:
    """Run until stdin ends."""
    config = MeshConfig(
        data_dir=Path(folder) / name, name=name, interfaces=("lo",), mqtt_port=0, door_port=0, broker="mosquitto"
    )
    node = MeshNode(config)
    ready = asyncio.Event()
    running = asyncio.create_task(node.run(ready))
    await ready.wait()
    _say(ready=node.node_id)
    growth = asyncio.create_task(_tell_growth(node, int(entries)))
    await asyncio.to_thread(sys.stdin.read)
    for task in (growth, running):
        task.cancel()
    await asyncio.wait((growth, running))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
