"""Processes that only give and fetch models, driven by a benchmark, and the models they hold."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from models.core.manifest import GGUF, Blob, Manifest
from models.store import Details, ModelStore, StoredModel

MIB = 1024 * 1024


class SharingNode:
    """A process that gives and fetches models."""

    def __init__(self, folder: Path, name: str, broker: str, *interfaces: str) -> None:
        self._command = [sys.executable, "-m", "tests.bench.sharing_node", str(folder), name, broker, *interfaces]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid if self._process is not None else 0

    def ask(self, **command: object) -> dict[str, Any]:
        """Have it do something."""
        self.begin(**command)
        return self._answer()

    def begin(self, **command: object) -> None:
        """Tell it to do something."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process is not None and self._process.stdout else ""
        answer: dict[str, Any] = json.loads(line)
        return answer

    end = _answer


def hold(store: ModelStore, size: int) -> StoredModel:
    """Put a model of random bytes into a store."""
    store.root.mkdir(parents=True, exist_ok=True)
    path, digest = store.root / "random", hashlib.sha256()
    chance = random.Random(1)  # noqa: S311  the same each time
    with path.open("wb") as file:
        for _ in range(size // MIB):
            piece = chance.randbytes(MIB)
            digest.update(piece)
            file.write(piece)
    blob = Blob(GGUF, digest.hexdigest(), size)
    with path.open("rb") as file:
        store.add(file, blob)
    path.unlink()
    details = Details(licence="CC0-1.0", description="random bytes", source="here")
    return store.install("model", Manifest.of([blob]), details)
