"""Schemathesis asks a whole node what its document allows, and what it does not: all checks, and nothing is found."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from device.node import HearthNode

pytestmark = pytest.mark.asyncio(loop_scope="module")
COMMAND = Path(sys.executable).with_name("schemathesis")
ROOT = Path(__file__).resolve().parents[3]
WITHIN_S = 600
FEW, MANY = 3, 100  # examples of each operation beside those that cover its schema


async def asked(node: HearthNode, folder: Path, *, examples: int) -> tuple[int, str]:
    """Exit code and summary of a run."""
    http = node.administration.http
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
