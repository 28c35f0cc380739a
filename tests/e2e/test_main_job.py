"""The main job as a person does it, with both brokers: pull, pair, join, ask the neighbour."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.hearths import Hearth

MODEL = "smollm2-135m"
QUESTION = "What is the capital of France?"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[pytest.param("mosquitto", marks=pytest.mark.program("mosquitto")), "amqtt"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hearth, Hearth]]:
    """Two paired hearths; only the first holds the model."""
    broker = str(request.param)
    folder = tmp_path_factory.mktemp(broker)
    env = {"HEARTH_MQTT_BROKER": broker}
    with (
        Hearth(folder / "ember", name="ember", env=env) as ember,
        Hearth(folder / "spark", name="spark", env=env) as spark,
    ):
        ember.run("models", "pull", MODEL)
        spark.run("join", *ember.json("pair")["words"].split())
        yield ember, spark


def test_the_neighbour_answers(pair: tuple[Hearth, Hearth]) -> None:
    """A question at the hearth without a model is answered by the other, and the answer says by whom and with what."""
    ember, spark = pair
    said = spark.json("ask", QUESTION)
    digest = ember.json("models", "show", MODEL)["digest"]
    assert "Paris" in said["answer"]
    assert (said["node_id"], said["model"], said["model_digest"]) == (ember.json("status")["node_id"], MODEL, digest)
    assert said["completion_tokens"] > 0
    assert said["ttft_ms"] > 0
    assert said["tokens_per_s"] > 0


def test_both_give_the_same_answer(pair: tuple[Hearth, Hearth]) -> None:
    """The default sampling is greedy: the asker hears what the answerer would say at home."""
    ember, spark = pair
    here, there = ember.json("ask", "--node", "local", QUESTION), spark.json("ask", QUESTION)
    assert here["answer"] == there["answer"]


def test_local_only_is_refused_without_a_model(pair: tuple[Hearth, Hearth]) -> None:
    """`--node local` never leaves the house: where no model is, that is said, with what to do."""
    done = pair[1].run("ask", "--node", "local", QUESTION, check=False)
    assert done.returncode == 1
    assert "error:" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_restarted_neighbour_answers_again(pair: tuple[Hearth, Hearth]) -> None:
    """After kill -9 of the answerer and a new start the link comes back by itself, nothing is paired again."""
    ember, spark = pair
    ember.kill()
    ember.start()
    _wait_linked(spark)
    assert "Paris" in spark.json("ask", QUESTION)["answer"]


def _wait_linked(hearth: Hearth) -> None:
    """Return once the neighbour is linked and has told which models it holds."""
    for _ in range(200):
        neighbours = hearth.json("status")["neighbours"]
        if any(n["state"] == "linked" and n["models"] for n in neighbours):
            return
    raise AssertionError(json.dumps(neighbours))


def test_no_file_of_a_hearth_is_readable_by_others(pair: tuple[Hearth, Hearth]) -> None:
    """Keys, the record and the socket belong to the owner alone."""
    folder: Path = pair[0].data_dir
    assert folder.stat().st_mode & 0o077 == 0
