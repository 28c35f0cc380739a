"""An engine that counts how often it computes."""

import onnxruntime as ort

from models.engine import Engine


class CountingEngine(Engine):
    """runs: how many there have been."""

    runs = 0

    def _run(self, binding: ort.IOBinding, what: str) -> None:
        """Count."""
        self.runs += 1
        super()._run(binding, what)
