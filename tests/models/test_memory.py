"""How much memory an engine's process has for itself once a model is loaded."""

import re
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType as Type

from models.catalogue import CatalogueEntry
from models.core.worker_protocol import Convert, Load, Ready
from models.gguf import GgufFile
from models.memory import need_of
from models.worker_process import WorkerProcess
from tests.models.tiny import TinyLlama, write_tiny


def test_what_a_token_reads_counts(tmp_path: Path) -> None:
    """A head is read whole for every token, an embedding besides it by the row."""
    weights = {}
    for tied in (True, False):
        model = TinyLlama(matrices=Type.F32, embedding=Type.F32, tied=tied)
        with GgufFile.open(write_tiny(tmp_path / f"{tied}.gguf", model)) as file:
            need = need_of(file, chunk_tokens=512)
            weights[tied] = need.weights_bytes
            assert sum(info.nbytes for info in file.tensors.values()) >= need.weights_bytes
            assert need.most_tokens == model.context_tokens
    assert weights[True] == weights[False]


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
