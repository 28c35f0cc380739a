"""Fuzz one target under atheris until the time is up: python -m tests.fuzz.guided ROOM NAME SECONDS ARTIFACTS.

The only module that imports atheris.  It must see the packages before anything else imports them, so each target has a
process of its own.
"""

import importlib
import sys
import tempfile
from pathlib import Path

import atheris

MAX_BYTES = 64 * 1024
MEMORY_MB = 1024
SLOWEST_S = 5  # one input that takes longer is a defect of its own


def main(room: str, name: str, seconds: str, artifacts: str) -> None:
    """Run; exits with libFuzzer's code."""
    with atheris.instrument_imports(include=["mesh", "device", "models"]):
        targets = importlib.import_module(room).TARGETS
    target = next(one for one in targets if one.name == name)
    corpus = Path(tempfile.mkdtemp(prefix="hearth-corpus-"))
    for number, seed in enumerate(target.corpus()):
        (corpus / f"{number:04}").write_bytes(seed)
    atheris.Setup(
        [
            name,
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={MAX_BYTES}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-timeout={SLOWEST_S}",
            f"-artifact_prefix={artifacts}/{name}-",
            "-print_final_stats=1",
            "-verbosity=0",
        ],
        target.parse,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
