"""Models travel between whole daemons on shaped links, while their holder and their fetcher are killed."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from gguf import GGMLQuantizationType as Type

from models.core.hash_tree import CHUNK_BYTES
from models.fetch import pull
from models.store import ModelStore
from tests.e2e.hearths import Hearth
from tests.mesh_lab.clocks import in_1970
from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab, Lan, Namespace
from tests.mesh_lab.nodes import settle
from tests.models.files import file_entry
from tests.models.large import write_large
from tests.models.tiny import TinyModel

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS), pytest.mark.timeout(300)]

MODEL = "barrel"
MBIT = 60
WITHIN_S = 200.0
LLAMA = TinyModel(
    width=512, heads=8, kv_heads=8, head_dim=64, feed_forward=8192, matrices=Type.Q8_0, embedding=Type.Q8_0
)
ENV = {"HEARTH_DISCOVERY_INTERFACES": "auto", "HEARTH_ENGINE_THREADS": "1", "HEARTH_ENGINE_CONTEXT_TOKENS": "128"}


class Row:
    """Three daemons on one switch; `ember` holds the model, and for `spark` it is 1970."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        names = ("ember", "attic", "spark")
        self.machines: dict[str, Namespace] = {name: lab.namespace(name) for name in names}
        self.lan: Lan = lab.lan(*self.machines.values())
        clocks = {"spark": in_1970()}
        self.hearths = {
            name: Hearth(
                folder / name,
                name=name,
                env={**ENV, "XDG_CACHE_HOME": str(folder / f"{name}-cache"), **clocks.get(name, {})},
            )
            for name in names
        }
        for interface in self.lan.interfaces.values():
            interface.shape(MBIT)
        settle(*self.hearths.values())

    def start(self, name: str) -> None:
        """Start a daemon in its namespace."""
        with self.machines[name].entered():
            self.hearths[name].start()

    def pulling(self, name: str) -> "Pull":
        """Have a daemon pull the model."""
        return Pull(self.hearths[name])


class Pull:
    """A `hearth models pull` that runs."""

    def __init__(self, hearth: Hearth) -> None:
        command = hearth.command("models", "pull", MODEL, "--json")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.last: dict[str, Any] = {}

    def reaches(self, share: float) -> int:
        """Read on until so much has come; return the bytes."""
        for line in self._process.stdout or ():
            self.last = json.loads(line)
            if self.last["stage"] == "fetch" and self.last["total"] and self.last["done"] / self.last["total"] >= share:
                return int(self.last["done"])
        raise AssertionError(f"the pull ended at {self.last}: {self._said()}")

    def ends(self) -> dict[str, Any]:
        """Read to the end; return the model."""
        for line in self._process.stdout or ():
            self.last = json.loads(line)
        assert self._process.wait(WITHIN_S) == 0, f"{self.last}: {self._said()}"
        model: dict[str, Any] = self.last["model"]
        return model

    def close(self) -> None:
        """Whatever becomes of it."""
        self._process.kill()
        self._process.communicate()

    def _said(self) -> str:
        return self._process.stderr.read() if self._process.stderr is not None else ""


@pytest.fixture
def row(lab: Lab, tmp_path: Path) -> Iterator[Row]:
    """Three daemons that see each other, and know who holds the model."""
    made = Row(lab, tmp_path)
    hold(made.hearths["ember"], tmp_path)
    with ExitStack() as stack:
        for name, hearth in made.hearths.items():
            made.start(name)
            stack.callback(hearth.stop, check=False)
        for name in ("attic", "spark"):
            made.hearths[name].wait_for("ember", model=MODEL)
        yield made


def hold(hearth: Hearth, folder: Path) -> None:
    """Put the model into a daemon's store before it starts."""
    path = write_large(folder / f"{MODEL}.gguf", LLAMA)
    store = ModelStore(hearth.data_dir / "models")
    asyncio.run(pull(file_entry(MODEL, path), store=store, cache_dir=folder, progress=lambda _: None))


def test_the_holder_is_killed_half_way_and_comes_back(row: Row, measured: Measured) -> None:
    """Both that pull get the whole model."""
    began = time.monotonic()
    with ExitStack() as stack:
        pulls = [row.pulling(name) for name in ("attic", "spark")]
        for one in pulls:
            stack.callback(one.close)
        for one in pulls:
            one.reaches(0.5)
        row.hearths["ember"].kill()
        time.sleep(1)
        row.start("ember")
        models = [one.ends() for one in pulls]
    measured("two pull at once, the holder killed half way", time.monotonic() - began)
    assert {model["digest"] for model in models} == {held(row, "ember")}


def test_the_fetcher_is_killed_and_goes_on(row: Row, measured: Measured) -> None:
    """At 60 %: what had come is not fetched again."""
    spark = row.hearths["spark"]
    pull = row.pulling("spark")
    before = pull.reaches(0.6)
    spark.kill()
    pull.close()
    row.start("spark")
    again = row.pulling("spark")
    with ExitStack() as stack:
        stack.callback(again.close)
        after = again.reaches(0.0)
        total = again.last["total"]
        model = again.ends()
    lost = max(0, before - after) / total
    measured("fetched again after kill -9 at 60 %", 100 * lost, unit="%", goal="<= 2")
    assert lost <= 0.02
    assert model["digest"] == held(row, "ember")


def test_a_flipped_byte_is_found_and_comes_anew_from_a_neighbour(row: Row, measured: Measured) -> None:
    """A flaw of the card: one chunk is fetched, and the model is whole; to be sure it is verified again."""
    spark = row.hearths["spark"]
    spark.run("models", "pull", MODEL)
    [blob] = (spark.data_dir / "models" / "blobs").iterdir()
    sound = blob.read_bytes()
    place = len(sound) // 2
    spark.stop()
    with blob.open("r+b") as file:
        file.seek(place)
        file.write(bytes([sound[place] ^ 1]))
    row.start("spark")
    spark.wait_for("ember", model=MODEL)
    done = spark.run("models", "verify", MODEL, timeout_s=WITHIN_S)
    assert f"{MODEL} was damaged, and is whole again." in done.stdout
    assert f"chunks {place // CHUNK_BYTES}\n" in done.stdout
    assert blob.read_bytes() == sound
    fetched = fetched_bytes(row, "spark")
    measured("a flipped byte repaired: fetched", fetched / CHUNK_BYTES, unit="chunks", goal="<= 1")
    assert fetched == CHUNK_BYTES
    assert spark.run("models", "verify", MODEL, timeout_s=WITHIN_S).stdout == f"{MODEL} is sound.\n"


def test_a_bundle_is_exported_and_imported_without_a_clock(row: Row, tmp_path: Path) -> None:
    """What a bundle says is checked, and no time is in it."""
    spark = row.hearths["spark"]
    ember = row.hearths["ember"]
    ember.run("models", "export", MODEL, str(tmp_path / "it"), timeout_s=WITHIN_S)
    spark.run("models", "import", str(tmp_path / "it"), "--as", "carried", timeout_s=WITHIN_S)
    spark.run("models", "export", "carried", str(tmp_path / "again"), timeout_s=WITHIN_S)
    assert spark.json("models", "show", "carried")["digest"] == held(row, "ember")


def fetched_bytes(row: Row, name: str) -> float:
    """What came of models since a daemon's start, as it counts it."""
    address = "http://{host}:{port}/metrics".format(**row.hearths[name].json("status")["http"])
    with row.machines[name].entered(), urlopen(address) as answer:  # noqa: S310  http, on loopback
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
    return float(lines["hearth_sharing_fetched_bytes_total"])


def held(row: Row, name: str) -> str:
    """The digest of the model at a daemon."""
    return str(row.hearths[name].json("models", "show", MODEL)["digest"])
