"""Schemathesis asks a whole node what its document allows, and what it does not: all checks, and nothing is found."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from device.node import HearthNode
from models.store import ModelStore
from tests.sim.hearth import hearth_config, living
from tests.sim.tiny_model import install_tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")
COMMAND = Path(sys.executable).with_name("schemathesis")
ROOT = Path(__file__).resolve().parents[3]
WITHIN_S = 600
# What the command takes for a refusal of itself, and 413: what does not fit the schema may be too large to be read.
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx"]
CONFIG = f"[checks]\nnegative_data_rejection.expected-statuses = {REFUSALS}\n"
FEW, MANY = 10, 100  # examples of each operation beside those that cover its schema


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> AsyncIterator[HearthNode]:
    """A node with a tiny model whose answers may end, so that they can be given a form."""
    config = hearth_config(tmp_path_factory.mktemp("s"), context_tokens=16_384)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        await install_tiny(ModelStore(config.data_dir / "models"), config.data_dir / "files", endless=False)
        async with living(config) as node:
            yield node


async def asked(node: HearthNode, folder: Path, *, examples: int) -> tuple[int, str]:
    """Exit code and summary of a run."""
    http = node.administration.http
    (folder / "schemathesis.toml").write_text(CONFIG)
    process = await asyncio.create_subprocess_exec(
        *(str(COMMAND), "run", f"http://{http.host}:{http.port}/openapi.json"),
        *("--checks", "all"),
        *("--max-examples", str(examples)),
        *("--request-timeout", "60"),
        "--continue-on-failure",
        "--no-color",
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.device.http.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.mark.timeout(WITHIN_S)
async def test_nothing_is_found_in_a_short_run(node: HearthNode, tmp_path: Path) -> None:
    """Every operation, every check; the examples, each bound of each field, a few questions beyond."""
    code, said = await asked(node, tmp_path, examples=FEW)
    assert (code, "No issues found" in said) == (0, True), said


@pytest.mark.slow
@pytest.mark.timeout(WITHIN_S)
async def test_nothing_is_found_in_a_long_run(node: HearthNode, tmp_path: Path) -> None:
    """The same with many questions."""
    code, said = await asked(node, tmp_path, examples=MANY)
    assert (code, "No issues found" in said) == (0, True), said
