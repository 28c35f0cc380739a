"""Models on their way: on loopback with either broker beside plain HTTP, over shaped links, and 5 GB simulated."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from models.store import ModelStore, StoredModel
from tests.bench import shaped_sharing
from tests.bench.rows import Row
from tests.bench.sharing_process import MIB, SharingNode, hold
from tests.sim.swarm_net import SwarmNet

SIZE = 200 * MIB
ROUNDS = 5
LARGE = 5_000_000_000
LARGE_MBIT = 80


def rows() -> list[Row]:
    """Measure everything of this area."""
    near = [row for broker in ("mosquitto", "amqtt") for row in loopback(broker, rounds=ROUNDS)]
    return [*near, *shaped_sharing.rows(), *simulated()]


def simulated() -> list[Row]:
    """A model of 5 GB from one source and from two, in simulated time: what choosing takes, how well it fills links.

    Its tree stands in 19 pages under one more, which are fetched and checked first.
    """
    rows = []
    for names in (("ada",), ("ada", "ben")):
        net = SwarmNet(LARGE)
        fetcher = net.fetcher("cleo", LARGE_MBIT * len(names))
        for name in names:
            net.holder(name, LARGE_MBIT)
        net.introduce()
        began = time.process_time()
        net.run()
        took, carried = time.process_time() - began, LARGE * 8 / 1e6 / (fetcher.done_at or net.now)
        label = f"5 GB simulated, {len(names)} of {LARGE_MBIT} Mbit/s"
        links = LARGE_MBIT * len(names)
        rows += [
            Row(
                name=label,
                value=carried,
                unit="Mbit/s",
                goal=">= 0.95x",
                peer="the links",
                peer_value=links,
                ratio=carried / links,
            ),
            Row(name=f"{label}: choosing, and the simulation", value=took / (LARGE / 1e9), unit="CPU s/GB"),
        ]
    return rows


def loopback(broker: str, *, rounds: int, size: int = SIZE) -> list[Row]:
    """One source and one fetcher on this machine, and the same file by HTTP in between."""
    rates, plain, used = [], [], []
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as name:
        folder = Path(name)
        model = hold(ModelStore(folder / "holder" / "models"), size)
        with SharingNode(folder, "holder", broker) as holder:
            for number in range(rounds):
                os.sync()  # what others have yet to write is nobody's fault here
                plain.append(_http_mb_per_s(folder / "holder" / "models", model))
                with SharingNode(folder, f"fetcher{number}", broker) as fetcher:
                    fetcher.ask(do="join", words=holder.ask(do="offer")["words"])
                    before = holder.ask(do="used")
                    os.sync()
                    got = fetcher.ask(do="pull", digest=model.digest)
                    after = holder.ask(do="used")
                rates.append(size / 1e6 / got["seconds"])
                used.append((after["cpu_s"] - before["cpu_s"], got["cpu_s"], after["rss_mb"], got["rss_mb"]))
    middle = sorted(rates)[len(rates) // 2]
    http = sorted(plain)[len(plain) // 2]
    gigabytes = size / 1e9
    goal = ">= 0.4x" if broker == "mosquitto" else ">= 0.1x"
    return [
        Row(
            name=f"one source, loopback, {broker}",
            value=middle,
            unit="MB/s",
            goal=goal,
            peer="plain HTTP",
            peer_value=http,
            ratio=middle / http,
        ),
        Row(name=f"{broker}: giving", value=min(one[0] for one in used) / gigabytes, unit="CPU s/GB"),
        Row(name=f"{broker}: fetching", value=min(one[1] for one in used) / gigabytes, unit="CPU s/GB"),
        Row(name=f"{broker}: giver's memory", value=max(one[2] for one in used), unit="MB", goal="<= 120"),
        Row(name=f"{broker}: fetcher's memory", value=max(one[3] for one in used), unit="MB", goal="<= 120"),
    ]


FETCH = """
import hashlib, http.client, sys, os
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("GET", "/" + sys.argv[2])
answer, view, digest = connection.getresponse(), memoryview(bytearray(262144)), hashlib.sha256()
with open(sys.argv[3], "wb") as file:
    while size := answer.readinto(view):
        digest.update(view[:size])
        file.write(view[:size])
    os.fsync(file.fileno())
assert digest.hexdigest() in sys.argv[2]
"""


def _http_mb_per_s(store: Path, model: StoredModel) -> float:
    """Fetch the same blob from Python's own server, hashed and forced to the disk as a pull would."""
    blob = model.manifest.gguf
    with _http_server(store / "blobs") as port, tempfile.TemporaryDirectory(dir=store) as folder:
        target = Path(folder) / "copy"
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", FETCH, str(port), f"sha256-{blob.sha256}", str(target)], check=True, env=os.environ
        )
        return blob.size / 1e6 / (time.perf_counter() - began)


@contextlib.contextmanager
def _http_server(folder: Path) -> Iterator[int]:
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            yield int(line.split(" port ")[1].split()[0])
        finally:
            process.terminate()
