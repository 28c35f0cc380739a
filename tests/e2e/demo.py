"""`make demo`: two hearths on this machine; the one without a model asks, the other answers."""

import os
import shutil
import sys
import time
from pathlib import Path

from tests.e2e.hearths import Hearth, HearthFailedError

QUESTION = "What is the capital of France?"
MODEL = "smollm2-135m"
FOLDER = Path(__file__).resolve().parents[2] / "build" / "demo"


def main() -> int:
    """Run the demo and return the exit code."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        with Hearth(FOLDER / "ember", name="ember") as ember, Hearth(FOLDER / "spark", name="spark") as spark:
            _say("two hearths are running, ember and spark; only ember gets a model")
            ember.show("models", "pull", MODEL)
            words = ember.json("pair")["words"]
            _say(f"ember offers to pair: {words}")
            spark.show("join", *words.split())
            _say(f"spark, which has no model, asks: {QUESTION}")
            spark.show("ask", QUESTION)
    except HearthFailedError as error:
        sys.stderr.write(f"error: {error}\nhint: the logs are in {os.path.relpath(FOLDER)}\n")
        return 1
    _say(f"both stopped; it took {time.monotonic() - started:.0f} s")
    return 0


def _say(line: str) -> None:
    """Print a step at once, between the outputs of the commands."""
    sys.stdout.write(f"\n== {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
