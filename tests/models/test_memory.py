"""How much memory an engine's process has for itself once a model is loaded."""

import re
from pathlib import Path

import pytest

from models.catalogue import CatalogueEntry
from models.core.worker_protocol import Convert, Load, Ready
from models.worker_process import WorkerProcess


@pytest.mark.slow
async def test_a_loaded_model_takes_less_memory_than_its_file(
    smollm2_entry: CatalogueEntry, smollm2_gguf: Path, tmp_path: Path
) -> None:
    """Weights stay in the file; what is left is the interpreter, the libraries and the vocabulary."""
    load = Load(
        gguf=str(smollm2_gguf),
        graphs=str(tmp_path),
        template=None,
        threads=2,
        context_tokens=2048,
        slots=1,
        prefix_bytes=0,
    )
    converter = await WorkerProcess.start()
    try:
        assert await converter.last(Convert(str(smollm2_gguf), str(tmp_path))) == Ready()
    finally:
        await converter.close()
    worker = await WorkerProcess.start()
    try:
        assert await worker.last(load) == Ready()
        own = _anonymous_bytes(worker.pid)
    finally:
        await worker.close()
    assert own < 0.6 * smollm2_entry.size_bytes


def _anonymous_bytes(pid: int) -> int:
    status = (Path("/proc") / str(pid) / "status").read_text(encoding="ascii")
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024
