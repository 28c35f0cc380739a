"""`hearth bench` as an owner types it: a running daemon, the real model."""

from pathlib import Path

import pytest

from tests.e2e.hearths import Hearth

MODEL = "smollm2-135m"

pytestmark = pytest.mark.slow


def test_a_board_is_measured(tmp_path: Path) -> None:
    """Without a model it says how to get one; with one every figure is there, and the daemon answers afterwards."""
    with Hearth(tmp_path / "ember", name="ember") as ember:
        refused = ember.run("bench", check=False)
        assert refused.returncode == 1
        assert "hint:" in refused.stderr
        ember.run("models", "pull", MODEL)
        report = ember.json("bench", "--at-once", "2")
        assert (report["node"], report["model"]) == ("ember", MODEL)
        assert report["model_digest"] == ember.json("models", "show", MODEL)["digest"]
        assert report["prefill"]["tokens"] > 300
        assert report["at_once"]["questions"] == 2
        for measure in ("decode", "prefill", "at_once"):
            assert report[measure]["tokens_per_s"] > 0
        assert 0 < report["memory"]["anonymous_bytes"] < report["board"]["memory_bytes"]
        assert "tokens/s" in ember.run("bench").stdout
        assert "Paris" in ember.json("ask", "What is the capital of France?")["answer"]
