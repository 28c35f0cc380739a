"""Models on their way over links of 80 Mbit/s, in network namespaces: one source, two, and eight who want one model.

They need root; without it there are no such rows, and the table says so.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.store import ModelStore, StoredModel
from tests.bench.rows import Row
from tests.bench.sharing_process import SharingNode, hold
from tests.mesh_lab.net import Lab
from tests.mesh_lab.nodes import settle

MBIT = 80
CARRIED = 1448 / 1514  # of a full frame on such a link, what TCP carries for its user
SIZE = 96 * 1024 * 1024
MANY = 8
WORDS = 400  # in eight seconds; the model takes eleven
BROKER = "mosquitto"


@dataclass
class Member:
    """A node that is to be a member: what `settle` asks for."""

    data_dir: Path
    name: str


def rows() -> list[Row]:
    """Measure over shaped links."""
    if os.geteuid() != 0:
        sys.stderr.write("left out: shaped links are made in network namespaces, which needs root\n")
        return []
    one = _seconds(holders=1, fetchers=1)
    two = _seconds(holders=2, fetchers=1)
    many = _seconds(holders=1, fetchers=MANY)
    rate = SIZE * 8 / 1e6 / one
    late_ms = _words_beside_it()
    return [
        Row(
            name=f"one source, {MBIT} Mbit/s",
            value=rate,
            unit="Mbit/s",
            goal=">= 0.95x",
            peer="what TCP carries there",
            peer_value=MBIT * CARRIED,
            ratio=rate / (MBIT * CARRIED),
        ),
        Row(
            name=f"two sources of {MBIT} Mbit/s each",
            value=SIZE / 1e6 / two,
            unit="MB/s",
            goal=">= 1.9x",
            peer="one source",
            peer_value=SIZE / 1e6 / one,
            ratio=one / two,
        ),
        Row(
            name=f"{MANY} that want a model of one",
            value=many,
            unit="s",
            goal="<= 2.5x",
            peer="one that wants it",
            peer_value=one,
            ratio=many / one,
        ),
        Row(name="words of an answer beside it, p50", value=late_ms[len(late_ms) // 2], unit="ms"),
        Row(name="words of an answer beside it, p99", value=late_ms[len(late_ms) * 99 // 100], unit="ms", goal="<= 40"),
    ]


def _words_beside_it() -> list[float]:
    """How late words come that share the link with a model, sorted."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as name, _members(Path(name), 1, 1) as made:
        model, [holder, fetcher] = made
        fetcher.ask(do="find", digest=model.digest, holders=1)
        fetcher.begin(do="pull", digest=model.digest)
        holder.ask(do="tell", count=WORDS)
        fetcher.end()
        late_ms: list[float] = fetcher.ask(do="used")["late_ms"]
        if len(late_ms) != WORDS:
            raise AssertionError(f"{len(late_ms)} of {WORDS} words came")
        return sorted(late_ms)


def _seconds(*, holders: int, fetchers: int) -> float:
    """From the first request until the last of them has all of it."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as name, _members(Path(name), holders, fetchers) as made:
        model, nodes = made
        fetching = nodes[holders:]
        for node in fetching:  # each knows every holder before anything is measured
            node.ask(do="find", digest=model.digest, holders=holders)
        began = time.monotonic()
        for node in fetching:
            node.begin(do="pull", digest=model.digest)
        for node in fetching:
            node.end()
        return time.monotonic() - began


@contextmanager
def _members(folder: Path, holders: int, fetchers: int) -> Iterator[tuple[StoredModel, list[SharingNode]]]:
    """Nodes of one community on one switch, whatever they send limited; the first ones hold the model."""
    names = [f"n{number}" for number in range(holders + fetchers)]
    settle(*(Member(folder / name, name) for name in names))
    held = [hold(ModelStore(folder / name / "models"), SIZE) for name in names[:holders]]
    with Lab() as lab, ExitStack() as stack:
        machines = [lab.namespace(name) for name in names]
        for interface in lab.lan(*machines).interfaces.values():
            interface.shape(MBIT)
        nodes = []
        for machine, name in zip(machines, names, strict=True):
            with machine.entered():
                nodes.append(stack.enter_context(SharingNode(folder, name, BROKER, "auto")))
        yield held[0], nodes
