"""The profile comes from the processor's own description, unless the environment says otherwise."""

import os
from pathlib import Path

import pytest

from models.board import CPUINFO, OVERRIDE, board_profile
from models.core.graph_info import MODEL_FILE, PREFILL_FILE
from models.core.worker_protocol import Convert, Ready
from models.worker_process import WorkerProcess
from tests.models.tiny import TinyModel, write_tiny


def test_the_processor_decides(tmp_path: Path) -> None:
    """What stands in cpuinfo is what counts."""
    cpuinfo = tmp_path / CPUINFO
    cpuinfo.parent.mkdir()
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n", encoding="ascii")
    assert str(board_profile({}, root=tmp_path)) == "int8/int8"


def test_the_environment_overrules_it(tmp_path: Path) -> None:
    """Tests, and owners who know better, choose."""
    assert str(board_profile({OVERRIDE: "exact/int8"}, root=tmp_path)) == "exact/int8"


def test_without_a_description_the_form_that_runs_everywhere_is_taken(tmp_path: Path) -> None:
    """No /proc: four bits."""
    assert str(board_profile({}, root=tmp_path)) == "exact/exact"


def test_this_machine_has_a_profile() -> None:
    """The real file parses."""
    assert str(board_profile(dict(os.environ))) in {"exact/exact", "exact/int8", "int8/int8"}


async def test_an_owners_choice_reaches_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This much of the environment is passed on; whoever chooses other forms later does not get the old ones."""
    gguf = write_tiny(tmp_path / "tiny.gguf", TinyModel())
    for forms, operator in (("exact/exact", b"MatMulNBits"), ("int8/int8", b"MatMulIntegerToFloat")):
        monkeypatch.setenv(OVERRIDE, forms)
        worker = await WorkerProcess.start()
        try:
            assert await worker.last(Convert(str(gguf), str(tmp_path / "graphs"))) == Ready()
        finally:
            await worker.close()
        [graph] = (tmp_path / "graphs").iterdir()
        assert operator in (graph / MODEL_FILE).read_bytes()
        assert not (graph / PREFILL_FILE).exists()
