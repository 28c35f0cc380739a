"""A model is carried from one hearth to another in a file, without any network, by somebody who is neither's daemon."""

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.hearths import Hearth

MODEL = "smollm2-135m"
QUESTION = "What is the capital of France?"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hearth, Hearth]]:
    """Two hearths that know nothing of each other; only the first holds the model, and the second has no internet."""
    folder = tmp_path_factory.mktemp("bundles")
    alone = {"XDG_CACHE_HOME": str(folder / "cache"), "PIP_NO_INDEX": "1", "HEARTH_MODELS_QUOTA_GB": "1"}
    with (
        Hearth(folder / "ember", name="ember") as ember,
        Hearth(folder / "spark", name="spark", env=alone) as spark,
    ):
        ember.run("models", "pull", MODEL)
        yield ember, spark


def test_carried_on_a_stick_it_answers_the_same(pair: tuple[Hearth, Hearth], tmp_path: Path) -> None:
    """With the same digest, and with the same words; what is on the stick is any tar program's to read."""
    ember, spark = pair
    done = ember.run("models", "export", MODEL, str(tmp_path))
    bundle = tmp_path / f"{MODEL}.hearth.tar"
    assert f"is in {bundle}" in done.stdout
    with tarfile.open(bundle) as archive:
        assert archive.getnames()[0] == "hearthmesh-bundle.json"
    assert list(tmp_path.iterdir()) == [bundle]
    steps = [json.loads(line) for line in spark.run("models", "import", str(bundle), "--json").stdout.splitlines()]
    assert [steps[0]["stage"], steps[-2]["stage"], steps[-1]["stage"]] == ["import", "convert", "done"]
    assert steps[-1]["model"]["digest"] == ember.json("models", "show", MODEL)["digest"]
    assert spark.json("ask", QUESTION)["answer"] == ember.json("ask", QUESTION)["answer"]
    spark.run("models", "export", MODEL, str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == bundle.read_bytes()


def test_a_stick_that_was_pulled_out_too_early_installs_nothing(pair: tuple[Hearth, Hearth], tmp_path: Path) -> None:
    """Neither a cut bundle nor one whose bits have flipped; the daemon goes on."""
    ember, spark = pair
    ember.run("models", "export", MODEL, str(tmp_path / "it"))
    with (tmp_path / "it").open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"flipped")
    flipped = spark.run("models", "import", str(tmp_path / "it"), "--as", "flipped", check=False)
    os.truncate(tmp_path / "it", 70_000_000)
    cut = spark.run("models", "import", str(tmp_path / "it"), "--as", "cut", check=False)
    for done, said in ((flipped, "altered"), (cut, "should have")):
        assert done.returncode == 1
        assert said in done.stderr
        assert "hint:" in done.stderr
        assert "Traceback" not in done.stderr
    assert not {"flipped", "cut"} & {model["name"] for model in spark.json("models")["models"]}


def test_a_flipped_byte_in_the_store_is_found(pair: tuple[Hearth, Hearth]) -> None:
    """The model is set aside and answers nobody, also after a restart; pulled again it is whole."""
    ember, _ = pair
    (blob,) = [path for path in (ember.data_dir / "models" / "blobs").iterdir() if path.stat().st_size > 1_000_000]
    with blob.open("r+b") as file:
        file.seek(60_000_000)
        byte = file.read(1)
        file.seek(60_000_000)
        file.write(bytes([byte[0] ^ 1]))
    done = ember.run("models", "verify", check=False)
    assert done.returncode == 1
    assert f"hearth models pull {MODEL}" in done.stdout
    ember.stop()
    ember.start()
    assert ember.json("models", "show", MODEL)["damaged"]
    assert ember.run("ask", QUESTION, check=False).returncode == 1
    ember.run("models", "pull", MODEL)
    assert ember.run("models", "verify", MODEL).stdout == f"{MODEL} is sound.\n"
    assert "Paris" in ember.json("ask", QUESTION)["answer"]
    assert ember.json("models", "show", MODEL)["used_ago_s"] is not None
