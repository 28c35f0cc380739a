"""docs/threat-model.md claims nothing that no test shows, and docs/governance.md no rule."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
GOVERNANCE = (ROOT / "docs" / "governance.md").read_text(encoding="utf-8")
TEST_ID = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SECTIONS = {section.partition("\n")[0]: section for section in DOCUMENT.split("\n## ")[1:]}

# Where the wall clock may be read, and what for; anywhere else it would decide something.
MAY_READ_THE_CLOCK = {
    "device/http/ollama.py": "`created_at` of an answer, which Ollama's clients expect",
    "device/http/openai.py": "`created` of an answer, which OpenAI's clients expect",
    "device/logs.py": "the time of a line in the log",
    "mesh/certificates.py": "fixed dates from 1970 to 9999",
}
CLOCKS = re.compile(r"\btime\.(time|time_ns|gmtime|localtime|strftime|ctime)\(|\bdatetime\b|\bCLOCK_REALTIME\b")


def test_every_test_that_is_named_exists() -> None:
    """A renamed test takes its claim along."""
    named = TEST_ID.findall(DOCUMENT + GOVERNANCE)
    missing = [f"{path}::{name}" for path, name in named if name not in _tests_of(path)]
    assert missing == []


def _tests_of(path: str) -> set[str]:
    file = ROOT / path
    if not file.is_file():
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_attacker_has_a_test(section: str) -> None:
    """Each section names at least one, and so does the list of what is not defended."""
    assert TEST_ID.search(SECTIONS[section])


def test_nothing_that_looks_like_a_test_is_misspelt() -> None:
    """What stands in backticks and names a test is one."""
    assert len(re.findall(r"`tests/", DOCUMENT)) == len(TEST_ID.findall(DOCUMENT))


def test_wall_clock_time_decides_nothing() -> None:
    """A clock set to 1970, or by somebody else, changes a line in the log and no decision."""
    readers = {
        str(path.relative_to(ROOT))
        for package in ("device", "mesh", "models", "tui")
        for path in (ROOT / package).rglob("*.py")
        if CLOCKS.search(path.read_text(encoding="utf-8"))
    }
    assert readers == set(MAY_READ_THE_CLOCK)
